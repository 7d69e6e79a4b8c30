"""Caption files: reads the text files beside a picture. Light, as the processes that read pictures load it."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

TAGS_SUFFIX = ".txt"
NATURAL_SUFFIX = ".caption"

#: Part of the problem of a file that may become readable without being changed.
UNREADABLE = "cannot be read"

#: A caption file larger than this is something else (a book, a log).
MAX_BYTES = 1_000_000

#: A longer piece of a caption is a sentence, no tag.
_LONGEST_TAG = 100


@dataclass(frozen=True, slots=True)
class Captions:
    """What stands in the files beside a picture.

    Attributes:
        tags: Text of NAME.txt; several lines are several captions. "" when there is none.
        natural: Text of NAME.caption, likewise.
        problem: What was wrong with the files, as sentences; "" when nothing was.
    """

    tags: str
    natural: str
    problem: str = ""


def decode(data: bytes, name: str) -> tuple[str, str]:
    """(text, problem) of a caption file's bytes; problem is a sentence with the file's name, "" for none.

    UTF-8, UTF-16 with a byte order mark, else Windows-1252, which older editors write. The text has one caption a line,
    without empty ones.
    """
    if len(data) > MAX_BYTES:
        return "", f"{name} is larger than 1 MB, so it is not taken for a caption."
    problem = ""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
        if "\ufffd" in text:
            problem = f"{name} is damaged UTF-16; save it as UTF-8."
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
            problem = f"{name} is not UTF-8; read as Windows-1252, save it as UTF-8."
    if "\0" in text:
        return "", f"{name} is not a text file (it holds NUL bytes); save it as UTF-8."
    return "\n".join(split_lines(text)), problem


def unreadable(name: str, error: Exception) -> str:
    """The problem of a caption file that could not be opened or read."""
    return f"{name} {UNREADABLE} ({getattr(error, 'strerror', None) or error})."


def split_lines(text: str) -> list[str]:
    """The captions of a text: its lines without the empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def split_tags(line: str) -> list[str]:
    """The tags of one caption, without the blanks around them."""
    return [tag.strip() for tag in line.split(",") if tag.strip()]


def distinct_tags(text: str) -> set[str]:
    """The tags in any line of a picture's tag captions; sentences, which some tools write there, are no tags."""
    tags = {tag.strip() for line in text.splitlines() for tag in line.split(",")}
    tags.discard("")
    return {tag for tag in tags if len(tag) <= _LONGEST_TAG}
