"""Captions: reads the text files beside a picture and composes the text that the model reads at one use."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from core.settings.data import DataSettings

TAGS_SUFFIX = ".txt"
NATURAL_SUFFIX = ".caption"

#: Part of the problem of a file that may become readable without being changed.
UNREADABLE = "cannot be read"

#: A caption file larger than this is something else (a book, a log).
_MAX_BYTES = 1_000_000

#: The innermost {a|b|c}; braces without a bar are left alone, as they are part of some tags.
_WILDCARD = re.compile(r"\{([^{}]*\|[^{}]*)\}")

#: Draws one of the texts.
_Pick = Callable[[Sequence[str]], str]


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


def read_captions(picture: Path) -> Captions:
    """Read NAME.txt and NAME.caption beside `picture`; never raises, `problem` says what went wrong."""
    tags, tags_problem = _read(picture.with_suffix(TAGS_SUFFIX))
    natural, natural_problem = _read(picture.with_suffix(NATURAL_SUFFIX))
    return Captions(tags, natural, " ".join(filter(None, (tags_problem, natural_problem))))


def _read(path: Path) -> tuple[str, str]:
    """(text, problem) of one caption file; ("", "") when it does not exist."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        capitals = path.with_suffix(path.suffix.upper())
        return ("", "") if capitals == path else _read(capitals)
    except (OSError, ValueError) as error:
        return "", f"{path.name} {UNREADABLE} ({getattr(error, 'strerror', None) or error})."
    if len(data) > _MAX_BYTES:
        return "", f"{path.name} is larger than 1 MB, so it is not taken for a caption."
    return _decode(data, path.name)


def _decode(data: bytes, name: str) -> tuple[str, str]:
    """(text, problem): UTF-8, UTF-16 with a byte order mark, else Windows-1252, which older editors write."""
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
    return "\n".join(_lines(text)), problem


def _lines(text: str) -> list[str]:
    """The captions of a text: its lines without the empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def split_tags(line: str) -> list[str]:
    """The tags of one caption, without the blanks around them."""
    return [tag.strip() for tag in line.split(",") if tag.strip()]


def compose(captions: Captions, data: DataSettings, generator: np.random.Generator) -> str:
    """The text that the model reads at one use of a picture; all chance comes from `generator`.

    Draws, in this order: dropout of the whole caption, the kind of caption, the line, the wildcards, the
    order of tags.
    """
    if data.caption_dropout > 0 and generator.random() < data.caption_dropout:
        return ""

    def pick(texts: Sequence[str]) -> str:
        return texts[0] if len(texts) == 1 else texts[int(generator.integers(len(texts)))]

    kinds = _kinds(captions, data)
    if data.captions == "either" and len(kinds) > 1:
        kinds = [kinds[int(generator.integers(len(kinds)))]]
    parts = [_one(captions, kind, pick) for kind in kinds]
    if data.shuffle_tags and kinds and kinds[0] == "tags":
        parts[0] = _shuffled(parts[0], data.keep_tags, generator)
    return _joined([data.trigger.strip(), *parts])


def first(captions: Captions, data: DataSettings) -> str:
    """The text of a picture that evaluation uses: the first of every choice, no dropout, no shuffling."""
    kinds = _kinds(captions, data)
    if data.captions == "either":
        kinds = kinds[:1]
    return _joined([data.trigger.strip(), *(_one(captions, kind, lambda texts: texts[0]) for kind in kinds)])


def variants(captions: Captions, data: DataSettings) -> set[str] | None:
    """Every text that compose() can give; None where chance has too many (shuffled tags, wildcards) to name them."""
    kinds = _kinds(captions, data)
    lines = [_lines(captions.tags if kind == "tags" else captions.natural) for kind in kinds]
    if any(_WILDCARD.search(line) for several in lines for line in several):
        return None
    if data.shuffle_tags and "tags" in kinds:
        return None
    combined = [[line] for several in lines for line in several] if data.captions == "either" else product(*lines)
    texts = {_joined([data.trigger.strip(), *parts]) for parts in combined} or {data.trigger.strip()}
    return texts | {""} if data.caption_dropout > 0 else texts


def _kinds(captions: Captions, data: DataSettings) -> list[str]:
    """The kinds of caption wanted and present; the other kind where the wanted one is missing."""
    present = [kind for kind in ("tags", "natural") if getattr(captions, kind).strip()]
    wanted = [kind for kind in present if kind == str(data.captions)]
    return wanted or present


def _one(captions: Captions, kind: str, pick: _Pick) -> str:
    """One line of a kind of caption with its wildcards drawn, the inner ones first."""
    text = pick(_lines(captions.tags if kind == "tags" else captions.natural))
    while (found := _WILDCARD.search(text)) is not None:
        text = text[: found.start()] + pick(found[1].split("|")).strip() + text[found.end() :]
    return text


def _shuffled(text: str, keep: int, generator: np.random.Generator) -> str:
    """The tags in a new order, all but the first `keep`."""
    tags = split_tags(text)
    rest = tags[keep:]
    return ", ".join(tags[:keep] + [rest[place] for place in generator.permutation(len(rest))])


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(part for part in parts if part)
