"""Edits of many captions at once: find and replace, add, remove, rename a tag; what would change, before it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import regex

from core.data import source
from core.data.caption_files import NATURAL_SUFFIX, TAGS_SUFFIX, decode
from core.errors import UserError

Kind = Literal["replace", "add", "remove", "rename"]
#: Which of a picture's two caption files is meant.
Part = Literal["tags", "natural"]
#: (pictures done, pictures in all); may raise core.errors.Stopped.
Progress = Callable[[int, int], None]

SUFFIXES: dict[Part, str] = {"tags": TAGS_SUFFIX, "natural": NATURAL_SUFFIX}

#: Seconds that a pattern may take for one caption. Some patterns take for ever.
_PATIENCE = 1.0
_EXAMPLES = 50
#: Pictures between two calls of `progress`.
_TELL_EVERY = 50


@dataclass(frozen=True, slots=True)
class Edit:
    """One change that is made to many captions, line by line: each line is a caption of its own.

    Attributes:
        kind: "replace" puts `text` for `find` anywhere; "add" puts `text` in front or at the end, unless it
            is there; "remove" takes the tags of `find` away (from sentences: those words); "rename" makes the
            tag `find` the tag `text`, and one of both where the caption had both.
        parts: The files that are changed. "rename" knows tags only.
        pattern: "replace" reads `find` as a regular expression, `text` may hold \\1.
        any_case: Capital and small letters are alike when `find` is looked for.
        at_end: "add" puts `text` at the end.
        separator: What stands between tags: a comma, or " " for lists with blanks between.
    """

    kind: Kind
    parts: tuple[Part, ...] = ("tags",)
    find: str = ""
    text: str = ""
    pattern: bool = False
    any_case: bool = False
    at_end: bool = True
    separator: str = ","

    def words(self) -> str:
        """The edit in a few words, for the list of what can be undone."""
        find, text = self.find.strip(), self.text.strip()
        if self.kind == "add":
            return f"Add “{text}” {'at the end' if self.at_end else 'in front'}"
        if self.kind == "remove" or (self.kind == "replace" and not self.text):
            return f"Remove “{find}”"
        return f"{'Rename' if self.kind == 'rename' else 'Replace'} “{find}” by “{text}”"

    def split(self, line: str) -> list[str]:
        """The tags of a line."""
        return [tag.strip() for tag in line.split(self.separator.strip() or None) if tag.strip()]

    def join(self, tags: Sequence[str]) -> str:
        """The tags as a line."""
        mark = self.separator.strip()
        return (f"{mark} " if mark else " ").join(tags)


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit does to one file.

    Attributes:
        number: The picture's id in the index.
        picture: Its path.
        file: The caption file as it is on the disk.
        old, new: Its bytes before and after; None where there is no file.
        before, after: The same as captions, one a line.
    """

    number: int
    picture: str
    file: str
    old: bytes | None
    new: bytes | None
    before: str
    after: str


@dataclass(slots=True)
class Preview:
    """What an edit would do. `archived` pictures lie in archives, which are never changed; `skipped` says which files
    cannot be read and why, at most some of them."""

    pictures: int = 0
    files: int = 0
    archived: int = 0
    unreadable: int = 0
    examples: list[Change] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def changer(edit: Edit) -> Callable[[Part, str], str]:
    """The function that makes the new text of a caption file out of the old one.

    UserError: there is nothing to look for or to add, or the pattern is none.
    """
    if edit.kind == "add":
        if not edit.text.strip():
            raise UserError("There is nothing to add: type the words first.")
        return lambda part, text: _each_line(text or "", lambda line: _add(part, line, edit), empty=True)
    if not edit.find.strip():
        raise UserError("There is nothing to look for: type the words first.")
    if edit.kind == "replace":
        replace = _replacer(edit)
        return lambda part, text: _each_line(text, replace)
    if edit.kind == "rename":
        if not edit.split(edit.text):
            raise UserError("A tag needs a new name; to take it away choose Remove.")
        return lambda part, text: _each_line(text, lambda line: _rename(line, edit)) if part == "tags" else text
    erase = _replacer(Edit("replace", find=edit.find.strip(), any_case=edit.any_case))
    return lambda part, text: _each_line(
        text, (lambda line: _remove(line, edit)) if part == "tags" else (lambda line: _tidy(erase(line), line))
    )


def _each_line(text: str, change: Callable[[str], str], empty: bool = False) -> str:
    """Every caption changed; lines that become empty go. `empty`: a file without a caption gets one."""
    lines = text.splitlines() or ([""] if empty else [])
    return "\n".join(line for line in map(change, lines) if line.strip())


def _replacer(edit: Edit) -> Callable[[str], str]:
    flags = regex.IGNORECASE if edit.any_case else 0
    try:
        pattern = regex.compile(edit.find if edit.pattern else regex.escape(edit.find), flags)
        if edit.pattern:
            pattern.sub(edit.text, edit.find)  # a \1 without its group is told now, not at the first match
    except (regex.error, IndexError) as error:
        raise UserError(
            f"“{edit.find}” is no pattern that can be used ({error}). Mend it, or switch patterns off."
        ) from None

    def replace(line: str) -> str:
        try:
            put = edit.text if edit.pattern else edit.text.replace("\\", "\\\\")
            return str(pattern.sub(put, line, timeout=_PATIENCE, concurrent=True)).replace("\n", " ")
        except TimeoutError:
            raise UserError(f"The pattern “{edit.find}” takes too long on “{line[:60]}”. Use a simpler one.") from None

    return replace


def _same(tag: str, edit: Edit) -> str:
    return tag.casefold() if edit.any_case else tag


def _add(part: Part, line: str, edit: Edit) -> str:
    if part == "tags":
        tags = edit.split(line)
        new = [tag for tag in edit.split(edit.text) if tag not in tags]
        if not new:
            return line
        return edit.join([*tags, *new] if edit.at_end else [*new, *tags])
    words, line = edit.text.strip(), line.strip()
    if not line or (line.endswith(words) if edit.at_end else line.startswith(words)):
        return line or words
    if not edit.at_end:
        return f"{words} {line}"
    return f"{line}{'' if words[0] in ',.;:!?' else ' '}{words}"


def _remove(line: str, edit: Edit) -> str:
    unwanted = {_same(tag, edit) for tag in edit.split(edit.find)}
    tags = edit.split(line)
    kept = [tag for tag in tags if _same(tag, edit) not in unwanted]
    return edit.join(kept) if len(kept) < len(tags) else line


def _rename(line: str, edit: Edit) -> str:
    """The first tag so called gets the new name; where the line has the new one already, it is not said twice."""
    wanted, tags = _same(edit.find.strip(), edit), edit.split(line)
    if wanted not in (_same(tag, edit) for tag in tags):
        return line
    names, said = edit.split(edit.text), {tag for tag in tags if _same(tag, edit) != wanted}
    new: list[str] = []
    for tag in tags:
        if _same(tag, edit) != wanted:
            new.append(tag)
            continue
        fresh = [name for name in names if name not in said]
        new += fresh
        said.update(fresh)
    return edit.join(new)


def _tidy(line: str, old: str) -> str:
    """Without the double blanks that removed words leave behind."""
    return line if line == old else " ".join(line.split())


# -- the files ------------------------------------------------------------------------------------------------


def caption_file(picture: str, part: Part) -> Path:
    """The caption file of a picture: the one that is there (.txt or .TXT), else the one to make."""
    path = Path(picture).with_suffix(SUFFIXES[part])
    capitals = path.with_suffix(path.suffix.upper())
    found = capitals if not path.exists() and capitals.exists() else path
    return Path(os.path.realpath(found)) if found.is_symlink() else found


def text_change(number: int, picture: str, part: Part, after: str) -> Change:
    """The change that gives a caption file another text; "" takes the file away. Raises OSError."""
    file = caption_file(picture, part)
    return _change(number, picture, file, _bytes(file), after)


def _change(number: int, picture: str, file: Path, old: bytes | None, after: str) -> Change:
    before = decode(old, file.name)[0] if old is not None else ""
    new = (after.strip() + "\n").encode("utf-8", "surrogateescape") if after.strip() else None
    return Change(number, picture, str(file), old, new, before, after)


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def changes(
    edit: Edit, pictures: Iterable[tuple[int, str]], preview: Preview, progress: Progress | None = None, total: int = 0
) -> Iterator[Change]:
    """The files that `edit` changes, read from the disk one after the other; writes nothing.

    Args:
        pictures: (id, path) of the pictures in question.
        preview: Filled in on the way: what was looked at and what is left alone.
        progress: Called now and then with (pictures done, `total`).
    """
    change = changer(edit)
    for number, picture in pictures:
        preview.pictures += 1
        if progress is not None and preview.pictures % _TELL_EVERY == 0:
            progress(preview.pictures, total)
        if source.split(picture) is not None:
            preview.archived += 1
            continue
        yield from _of_picture(change, edit, (number, picture), preview)
    if progress is not None:
        progress(preview.pictures, max(total, preview.pictures))


def _of_picture(
    change: Callable[[Part, str], str], edit: Edit, of: tuple[int, str], preview: Preview
) -> Iterator[Change]:
    for part in edit.parts:
        file = caption_file(of[1], part)
        try:
            old = _bytes(file)
        except OSError as error:
            _skip(preview, f"{file} cannot be read ({error.strerror or error}).")
            continue
        before, problem = decode(old, file.name) if old is not None else ("", "")
        if old and old.strip() and not before:
            _skip(preview, problem or f"{file} cannot be read as text.")
            continue
        after = change(part, before)
        if after == before:
            continue
        made = _change(*of, file, old, after)
        preview.files += 1
        if len(preview.examples) < _EXAMPLES:
            preview.examples.append(made)
        yield made


def _skip(preview: Preview, sentence: str) -> None:
    preview.unreadable += 1
    if len(preview.skipped) < _EXAMPLES:
        preview.skipped.append(sentence)


def preview(
    edit: Edit, pictures: Iterable[tuple[int, str]], progress: Progress | None = None, total: int = 0
) -> Preview:
    """What `edit` would change; reads the caption files, writes nothing. UserError as changer() raises it."""
    found = Preview()
    for _ in changes(edit, pictures, found, progress, total):
        pass
    return found
