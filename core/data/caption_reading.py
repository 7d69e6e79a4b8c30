"""The captions of one picture from the files beside it, also while someone edits them."""

# Plain strings and os functions: at every use of every picture, Path objects would cost more than the calls.
# ruff: noqa: PTH116, PTH122

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from core.data.caption_files import MAX_BYTES, NATURAL_SUFFIX, TAGS_SUFFIX, UNREADABLE, Captions, decode, unreadable
from core.data.walk import caption_stamp

#: So long a file must have been left alone before it is taken for whole.
_SETTLED_SECONDS = 1.0

_SUFFIXES = (TAGS_SUFFIX, NATURAL_SUFFIX)
_ALL_SUFFIXES = (*_SUFFIXES, *map(str.upper, _SUFFIXES))


def read_captions(picture: Path) -> Captions:
    """Read NAME.txt and NAME.caption beside `picture`; never raises, `problem` says what went wrong."""
    tags, tags_problem = _read(picture.with_suffix(TAGS_SUFFIX))
    natural, natural_problem = _read(picture.with_suffix(NATURAL_SUFFIX))
    return Captions(tags, natural, " ".join(filter(None, (tags_problem, natural_problem))))


def _read(path: Path) -> tuple[str, str]:
    """(text, problem) of one caption file; ("", "") when it does not exist."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        capitals = path.with_suffix(path.suffix.upper())
        return ("", "") if capitals == path else _read(capitals)
    except (OSError, ValueError) as error:
        return "", unreadable(path.name, error)
    return decode(data, path.name)


def read_settled(picture: str, known_stamp: int, fallback: Captions) -> Captions:
    """The captions of a picture as they are now, or the former ones while a file is being written.

    A stat of each file where nothing changed. A changed file counts once nobody has touched it for a second and it is
    the same before and after it was read. A file that is gone, unreadable or empty leaves the former text: files that
    are rewritten in place are empty first, and Linux shows that for a moment with the time of the change before.

    Args:
        picture: Path of the picture; one inside an archive keeps the former captions for ever.
        known_stamp: caption_stamp() of core/data/walk.py when `fallback` was read, as the index keeps it.
        fallback: The former captions.
    """
    return read_settled_with_stamp(picture, known_stamp, fallback)[0]


def read_settled_with_stamp(picture: str, known_stamp: int, fallback: Captions) -> tuple[Captions, int]:
    """read_settled(), and the stamp to hand in next time, so that a file edited twice goes from edit to edit."""
    if caption_stamp(picture, _SUFFIXES) == known_stamp:
        return fallback, known_stamp
    stamp, times = caption_stamp(picture, _ALL_SUFFIXES), _times(picture)
    if stamp == known_stamp or not times or abs(time.time() - max(times)) <= _SETTLED_SECONDS:
        return fallback, known_stamp
    captions = read_captions(Path(picture))
    if caption_stamp(picture, _ALL_SUFFIXES) != stamp or UNREADABLE in captions.problem:
        return fallback, known_stamp
    found = Captions(captions.tags or fallback.tags, captions.natural or fallback.natural, captions.problem)
    return found, stamp


def _times(picture: str) -> list[float]:
    """When the caption files that are there were changed, in seconds."""
    stem = os.path.splitext(picture)[0]
    found = []
    for suffix in _ALL_SUFFIXES:
        with contextlib.suppress(OSError, ValueError):
            found.append(os.stat(stem + suffix).st_mtime)
    return found
