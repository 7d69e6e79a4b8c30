"""Cuts a pasted shell text into commands and words: POSIX, Windows and PowerShell, as people really paste them.

A strict shell parser would refuse most of what stands in forums and notes: Windows paths in a .sh file, lines that go
on without a mark, marks in the middle of a line that was run together, typographic quotes. This one reads them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TYPOGRAPHIC = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u200b": None, "\t": " "}
)
_COMMENT = re.compile(r"^\s*(#|::|@?rem\b)", re.IGNORECASE)
_FLAG = re.compile(r"^\s*[\"']?(--|[—–-])[A-Za-z]")
_ASSIGNMENTS = (
    re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)$"),
    re.compile(r"^\s*@?set\s+\"?([A-Za-z_]\w*)=(.*?)\"?\s*$", re.IGNORECASE),
    re.compile(r"^\s*\$(?:env:)?([A-Za-z_]\w*)\s*=\s*(.*)$"),
)
_VARIABLE = re.compile(r"\$(?:env:)?(?:\{(?:env:)?([A-Za-z_]\w*)\}|([A-Za-z_]\w*))|%([A-Za-z_]\w*)%")
_DRIVE = re.compile(r"(^|=)([A-Za-z]:[\\/]|\\\\\w)")
_ARGUMENT = re.compile(r"^\s+[\"']?[a-z]\w*=")
_MARKS = ("\\", "^", "`")
#: Launchers that may stand alone on a line, the script following on the next.
_OPEN_LAUNCH = re.compile(r"\baccelerate(\.exe|\.commands\.launch)?[\"']?(\s+launch)?\b(?!.*\.py\b)")


@dataclass(slots=True)
class Command:
    """One command of a file: its words without their quotes, the line at which it begins, what is wrong with it."""

    words: list[str]
    line: int
    problem: str = ""


@dataclass(slots=True)
class Script:
    """A whole file: its commands, and the variables that were used without a value."""

    commands: list[Command] = field(default_factory=list)
    unset: set[str] = field(default_factory=set)


def read_script(text: str) -> Script:
    """Cut a text into commands. Whatever the text is, this succeeds; `Command.problem` tells of quotes left open."""
    found = Script()
    variables: dict[str, str] = {}
    for line, joined in _logical_lines(text.translate(_TYPOGRAPHIC)):
        assigned = _assignment(joined)
        commands, problem = _words(assigned[1] if assigned else joined, variables, found.unset)
        if assigned:
            variables[assigned[0]] = " ".join(commands[0]) if commands else ""
        else:
            found.commands += [Command(words, line, problem) for words in commands]
    return found


def split_words(text: str) -> list[str]:
    """The words of one line of arguments ("--a 1 --b='x y'")."""
    return [word for words in _words(text.translate(_TYPOGRAPHIC), {}, set())[0] for word in words]


def _assignment(line: str) -> tuple[str, str] | None:
    """(name, value) of a line that only sets a variable."""
    for pattern in _ASSIGNMENTS:
        match = pattern.match(line)
        if match and not re.search(r"\.py\b.*\s--", match[2]):
            return match[1], match[2]
    return None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines, those that go on joined; comments are left out, a fence ends what is before it."""
    buffer, start, marked = "", 0, False
    for number, line in enumerate(text.splitlines(), 1):
        fence = line.lstrip().startswith("```")
        if not fence and (not line.strip() or _COMMENT.match(line)):
            continue
        if buffer and (fence or not (marked or _continues(buffer, line))):
            yield start, buffer
            buffer = ""
        if fence:
            continue
        start = start if buffer else number
        stripped = line.rstrip()
        marked = stripped.endswith(_MARKS) and not _is_path_end(stripped)
        buffer = f"{buffer} {stripped[:-1] if marked else stripped}".rstrip()
    if buffer:
        yield start, buffer


def _is_path_end(line: str) -> bool:
    """Whether a backslash at the end belongs to a path (--output_dir C:\\out\\)."""
    return line.endswith("\\") and bool(re.search(r"(^|=)[A-Za-z]:\\", line.split(" ")[-1]))


def _continues(before: str, line: str) -> bool:
    """Whether a line belongs to the one before it although no mark says so."""
    if _FLAG.match(line):
        return True
    if _OPEN_LAUNCH.search(before):
        return True
    return " --" in before and bool(_ARGUMENT.match(line))


def _words(text: str, variables: dict[str, str], unset: set[str]) -> tuple[list[list[str]], str]:
    """(the commands of one logical line, each a list of words; what is wrong with the line)."""
    reader = _Reader(text, variables, unset)
    commands = [list(filter(None, map(_tidy, words))) for words in reader.commands()]
    return [words for words in commands if words], reader.problem


def _tidy(word: str) -> str:
    """A word without marks that were left over when lines were run together; "" when nothing is left."""
    if word in ("\\", "^", "`", "&"):
        return ""
    word = re.sub(r"^[\\^`]+(?=--)", "", word)
    return re.sub(r"^[—–](?=[A-Za-z])", "--", word)


class _Reader:
    """One pass over a line, letter by letter."""

    def __init__(self, text: str, variables: dict[str, str], unset: set[str]) -> None:
        self._text = text
        self._variables = variables
        self._unset = unset
        self.problem = ""
        self._place = 0
        self._word = ""
        self._open = False
        self._done: list[list[str]] = [[]]

    def commands(self) -> list[list[str]]:
        """Read to the end."""
        while self._place < len(self._text):
            self._step(self._text[self._place])
        self._end_word()
        return self._done

    def _step(self, letter: str) -> None:
        if letter == " ":
            self._end_word()
        elif letter == '"' or (letter == "'" and self._opens_single()):
            self._quoted(letter)
            return
        elif letter == "\\":
            self._backslash()
            return
        elif letter in "$%" and self._variable(split=True):
            return
        elif letter == "^" and self._text[self._place + 1 : self._place + 2] in ("&", "^", "|", "<", ">", "%", "!"):
            self._place += 1
            self._word += self._text[self._place]
        elif letter == "#" and not self._word and self._done[-1]:
            self._place = len(self._text)
        elif letter in ";|&" and self._separates(letter):
            self._end_word()
            self._done.append([])
        elif letter == ">" and self._done[-1] and re.fullmatch(r"\d?", self._word):
            self._redirect()
            return
        else:
            self._word += letter
        self._place += 1

    def _separates(self, letter: str) -> bool:
        """ ";", "|" and "&" end a command where blanks stand beside them or they come in pairs."""
        around = self._text[self._place - 1 : self._place] + self._text[self._place + 1 : self._place + 2]
        return letter == ";" or " " in around or letter in around or len(around) < 2

    def _redirect(self) -> None:
        """Output into a file is no argument."""
        self._word = ""
        match = re.compile(r">{1,2}\s*(&\d|\S+)?").match(self._text, self._place)
        self._place = match.end() if match else len(self._text)

    def _end_word(self) -> None:
        if self._word or self._open:
            self._done[-1].append(self._word)
        self._word, self._open = "", False

    def _opens_single(self) -> bool:
        """An apostrophe inside a word (C:\\Bob's) is no quote; one that is never closed neither."""
        before = self._word[-1:]
        return "'" in self._text[self._place + 1 :] and not before.isalnum()

    def _quoted(self, quote: str) -> None:
        self._open = True
        self._place += 1
        while self._place < len(self._text):
            letter = self._text[self._place]
            if letter == quote:
                self._place += 1
                return
            if quote == '"' and letter == "\\":
                self._backslash_in_quotes()
            elif quote == '"' and letter in "$%" and self._variable(split=False):
                pass
            else:
                self._word += letter
                self._place += 1
        self.problem = f"a quote is not closed after {self._word[:40]!r}; close it and try again"

    def _backslash_in_quotes(self) -> None:
        """\\" is a quote inside the text, but closes a Windows path; \\\\ is one backslash, but not at its start."""
        after = self._text[self._place + 1 : self._place + 2]
        beyond = self._text[self._place + 2 : self._place + 3]
        if after == '"' and not (_DRIVE.search(self._word) and beyond in ("", " ")):
            self._word += '"'
            self._place += 2
        elif after == "\\" and self._word and not self._word.endswith("="):
            self._word += "\\"
            self._place += 2
        else:
            self._word += "\\"
            self._place += 1

    def _backslash(self) -> None:
        """Outside quotes: an escape before signs and blanks, a letter of a Windows path before anything else."""
        after = self._text[self._place + 1 : self._place + 2]
        beyond = self._text[self._place + 2 :].lstrip()
        ends_path = after == " " and bool(_DRIVE.search(self._word)) and (not beyond or beyond.startswith("-"))
        if after and after in " '\"$&()[]#;|*?!`" and not ends_path and (self._word or after != " "):
            self._word += after
            self._place += 2
        else:
            self._word += "\\"
            self._place += 1

    def _variable(self, split: bool) -> bool:
        """Put a variable's value in place of its name; False where none stands here."""
        match = _VARIABLE.match(self._text, self._place)
        if match is None:
            return False
        name = match[1] or match[2] or match[3]
        self._place = match.end()
        if name not in self._variables:
            if self._done[-1] or self._word:
                self._unset.add(name)
            self._word += match[0]
            return True
        first, *rest = self._variables[name].split(" ") if split else [self._variables[name]]
        self._word += first
        for part in rest:
            self._end_word()
            self._word = part
        return True
