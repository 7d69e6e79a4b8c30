"""What captioners are asked and say, and how their words become the text of a caption file. Without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from PIL import Image

from core.data.captions import split_tags

#: Booru tags that are drawn faces: their underscore is a part of the face and is never turned into a space.
_FACES = "0_0 (o)_(o) +_+ +_- ._. <o>_<o> <|>_<|> =_= >_< 3_3 6_9 >_o @_@ ^_^ o_o u_u x_x |_| ||_||"
FACES = frozenset(_FACES.split())

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture as a captioner gets it.

    Attributes:
        pixels: What the captioner's own prepare() made of it.
        path: Its file.
        tags, natural: The captions that lie beside it now.
    """

    pixels: Any
    path: str = ""
    tags: str = ""
    natural: str = ""


#: A tagger says tags, the weightiest first; others say a text.
Words = list[str] | str


class Captioner(Protocol):
    """A loaded model.

    Attributes:
        notes: What the user should know about how it runs, as sentences.
    """

    notes: list[str]

    def prepare(self, image: Image.Image) -> Any:
        """What it needs of an upright RGB picture; called in several reading threads at once."""

    def caption(self, shots: Sequence[Shot]) -> list[Words]:
        """The words of each picture, in order."""


def spaced(tag: str) -> str:
    """A booru tag as people write it: spaces for underscores, but not in drawn faces."""
    return tag if tag in FACES else tag.replace("_", " ")


def as_tags(words: Words, leave_out: Sequence[str] = (), most: int = 0) -> str:
    """The text of a .txt file: each tag once, without those to leave out (* stands for any letters), at most `most`."""
    said = words if isinstance(words, list) else split_tags(" ".join(words.replace("\n", ", ").split()))
    unwanted = [_plain(pattern) for pattern in leave_out]
    kept: dict[str, str] = {}
    for tag in said:
        name = _plain(tag)
        if name and not any(fnmatchcase(name, pattern) for pattern in unwanted):
            kept.setdefault(name, tag.strip().rstrip("."))
    tags = list(kept.values())
    return ", ".join(tags[:most] if most else tags)


def _plain(tag: str) -> str:
    """A tag for comparisons: "Long_Hair" and "long hair" are the same."""
    return tag.strip().rstrip(".").replace("_", " ").casefold()


def as_sentence(words: Words) -> str:
    """The text of a .caption file: one line, for each line would be a caption of its own."""
    return ", ".join(words) if isinstance(words, list) else " ".join(words.split())


def whole_sentences(text: str) -> str:
    """A text that was cut off, up to its last whole sentence; as it is where there is none."""
    ends = list(_SENTENCE_END.finditer(text))
    return text[: ends[-1].end()] if ends else text


def added(old: str, new: str, kind: str) -> str:
    """`new` beside what is there: tags that are not there yet are added to each line, a sentence becomes a line."""
    lines = [line for line in old.splitlines() if line.strip()]
    if not lines:
        return new
    if kind == "natural":
        return "\n".join(lines if new in lines else [*lines, new])
    return "\n".join(", ".join([line, *_missing(line, new)]) for line in lines)


def _missing(line: str, new: str) -> list[str]:
    known = {_plain(tag) for tag in split_tags(line)}
    return [tag for tag in split_tags(new) if _plain(tag) not in known]
