"""JSON as a stream: the entries of one big object, one after another, however large the file is."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

#: Bytes read at once. An entry is parsed by the standard library's scanner in C as soon as it is here whole.
_CHUNK = 1 << 20

#: Characters that one entry may have: more is no metadata, and would be held in memory.
_LIMIT = 64 << 20

#: Characters at the end of what was read in which an error may only mean that the rest is still to come.
_CUT = 16


class JsonError(ValueError):
    """A file that is no JSON: what is wrong and at which byte. `absent` when it is JSON, but of another kind."""

    def __init__(self, what: str, byte: int, absent: bool = False) -> None:
        super().__init__(f"{what} at byte {byte:,}")
        self.byte = byte
        self.absent = absent


def entries(file: BinaryIO, inside: str = "", beside: dict[str, Any] | None = None) -> Iterator[tuple[str, Any]]:
    """(key, value) of a JSON object's entries in the order of the file, in the memory that one of them takes.

    A list instead of an object gives its elements with the key "". A key that comes twice is given twice.

    Args:
        file: Open for reading bytes; UTF-8, with or without a byte order mark.
        inside: Key of the outer object whose value is the object to go through; "" for the outer object itself.
        beside: Gets the other entries of the outer object, those before `inside` before the first one is given.

    Raises:
        JsonError: at the first byte that is no JSON; `absent` when there is no object or list where it should be.
    """
    scanner = _Scanner(file)
    if not inside:
        yield from scanner.collection()
    else:
        found = False
        for key in scanner.keyed():
            if key == inside and not found:
                found = True
                yield from scanner.collection()
            elif beside is not None:
                beside[key] = scanner.value()
            else:
                scanner.value()
        if not found:
            raise JsonError(f"there is no '{inside}'", scanner.byte(), absent=True)
    if scanner.peek():
        raise JsonError("something follows the end of the JSON", scanner.byte())


class _Scanner:
    """Reads a file piece by piece; what was parsed is forgotten."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._letters = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._place = 0
        self._before = 0  # bytes of the file before the text
        self._ended = False
        if self.peek() == "\ufeff":
            self._place += 1

    def byte(self, place: int | None = None) -> int:
        """The byte of the file at a place in the text, by default where the scanner stands."""
        return self._before + len(self._text[: self._place if place is None else place].encode("utf-8"))

    def _more(self, least: int = 0) -> bool:
        """Read on; False at the end of the file. Places in the text change."""
        if self._ended:
            return False
        self._before = self.byte()
        data = self._file.read(max(least, _CHUNK))
        self._ended = not data
        try:
            letters = self._letters.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            start = self._before + len(self._text[self._place :].encode("utf-8")) + error.start
            raise JsonError("the file is not UTF-8", start) from None
        self._text, self._place = self._text[self._place :] + letters, 0
        return not self._ended

    def peek(self) -> str:
        """The next character that is no blank, not taken; "" at the end of the file."""
        while True:
            text, place, end = self._text, self._place, len(self._text)
            while place < end and text[place] in " \t\n\r":
                place += 1
            self._place = place
            if place < end:
                return text[place]
            if not self._more():
                return ""

    def _take(self, wanted: str) -> str:
        """Take the next character, which must be one of `wanted`."""
        letter = self.peek()
        if not letter or letter not in wanted:
            names = " or ".join(f"'{one}'" for one in wanted)
            raise JsonError(f"{names} is missing" if letter else "the file ends too early", self.byte())
        self._place += 1
        return letter

    def value(self) -> Any:
        """Take the next value."""
        if not self.peek():
            raise JsonError("the file ends too early", self.byte())
        least = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                near_end = error.pos >= len(self._text) - _CUT or error.msg.startswith("Unterminated")
                if near_end and len(self._text) - self._place > _LIMIT:
                    raise JsonError(f"an entry is longer than {_LIMIT >> 20} MB", self.byte()) from None
                if not near_end or self._ended:
                    raise self._damage(error) from None
                self._more(least)
                least *= 2
                continue
            except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
                raise JsonError(f"an entry cannot be read ({error})", self.byte()) from None
            if len(self._text) - end < _CUT and self._text[end - 1] not in '"}]' and not self._ended:
                self._more()  # a number may go on in what was not read yet
                continue
            self._place = end
            return value

    def _damage(self, error: json.JSONDecodeError) -> JsonError:
        ended = self._ended and error.pos >= len(self._text.rstrip())
        unended = error.msg.startswith("Unterminated")
        what = "the file ends too early" if ended or unended else "this is no JSON"
        return JsonError(what, self.byte(error.pos))

    def collection(self) -> Iterator[tuple[str, Any]]:
        """The entries of the object, or the elements of the list, that comes next."""
        if self.peek() == "[":
            for _ in self._separated("[]"):
                yield "", self.value()
            return
        for key in self.keyed():
            yield key, self.value()

    def keyed(self) -> Iterator[str]:
        """The keys of the object that comes next; after each the caller takes its value."""
        if (letter := self.peek()) != "{":
            other = bool(letter) and letter in '["-0123456789tfn'
            raise JsonError("there is no object", self.byte(), absent=other)
        for _ in self._separated("{}"):
            if self.peek() != '"':
                raise JsonError("a key is missing" if self.peek() else "the file ends too early", self.byte())
            key = str(self.value())
            self._take(":")
            yield key

    def _separated(self, brackets: str) -> Iterator[None]:
        """Stop before each element between two brackets, which the caller then takes."""
        self._take(brackets[0])
        if self.peek() == brackets[1]:
            self._place += 1
            return
        while True:
            yield
            if self._take("," + brackets[1]) == brackets[1]:
                return
