"""Export: copies pictures of an index into a folder as picture + .txt (+ .caption), as other trainers read them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from core import atomic
from core.data import source
from core.data.index import Picture
from core.data.subset import Names, files_of
from core.errors import UserError, disk_sentence

#: Files written at once: the disk is asked to keep each before it gets its name, and several wait together.
_THREADS = 8
_BATCH = 64

#: How many paths are named.
EXAMPLES = 10

#: Temporary files of core/atomic.py.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@dataclass(slots=True)
class ExportResult:
    """What an export did.

    Attributes:
        pictures, captions: Files that are there now as they should be, whether written now or before.
        written: How many of these were written now.
        others: Files that were left alone because another file of that name was there; the first of them in `examples`.
        broken: (path, reason) of pictures that could not be copied.
    """

    pictures: int = 0
    captions: int = 0
    written: int = 0
    others: int = 0
    examples: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Copy:
    """What became of a picture: for each of its files "new", "same" or "other", or a reason."""

    path: str
    files: list[tuple[str, str]]
    reason: str = ""


def export_folder(
    pictures: Iterator[Picture],
    names: Names,
    target: Path,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ExportResult:
    """Copy pictures with their captions into a folder.

    A file that is there already is passed over when it is the same, so that an export that was stopped or killed goes
    on where it was; another file of the same name is left alone unless `overwrite`.

    Args:
        progress: Called with the pictures done; may raise to stop.

    Raises:
        UserError: the folder is full or cannot be written.
    """
    result, seen = ExportResult(), set[Path]()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_THREADS) as pool:
            done = 0
            while batch := list(itertools.islice(pictures, _BATCH)):
                places = [target / names.of(picture.path) for picture in batch]
                for folder in {place.parent for place in places} - seen:
                    folder.mkdir(parents=True, exist_ok=True)
                    _remove_leftovers(folder)
                    seen.add(folder)
                alike = len(set(places)) < len(places)  # one after the other, or both would find the place free
                jobs = (map if alike else pool.map)(_copy, batch, places, itertools.repeat(overwrite))
                for copy in jobs:
                    _count(copy, result)
                done += len(batch)
                if progress is not None:
                    progress(done)
    except OSError as error:
        raise UserError(disk_sentence(error) or f"{target} cannot be written ({error}).") from error
    return result


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed export left half-written; hidden files of other shapes are not ours."""
    for entry in os.scandir(folder):
        if entry.name[0] == "." and _LEFTOVER.fullmatch(entry.name):
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()


def _count(copy: _Copy, result: ExportResult) -> None:
    if copy.reason:
        result.broken.append((copy.path, copy.reason))
    for number, (name, what) in enumerate(copy.files):
        result.written += what == "new"
        if what == "other":
            result.others += 1
            if len(result.examples) < EXAMPLES:
                result.examples.append(name)
        elif number == 0:
            result.pictures += 1
        else:
            result.captions += 1


def _copy(picture: Picture, place: Path, overwrite: bool) -> _Copy:
    """Copy one picture and write its captions; none of them where the picture's place is taken by another."""
    try:
        content, changed = source.read_bytes(picture.path), source.changed_ns(picture.path)
    except OSError as error:
        return _Copy(picture.path, [], f"it cannot be read ({error.strerror or error})")
    files = [(str(place), _put(place, content, overwrite, changed))]
    if files[0][1] != "other":
        for name, text in files_of(picture, place.name):
            files.append((str(place.with_name(name)), _put(place.with_name(name), text, overwrite)))
    return _Copy(picture.path, files)


def _put(path: Path, content: bytes, overwrite: bool, changed: int | None = None) -> str:
    """Write a file unless it is there; "new", "same", or "other" for one that was not touched."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return "same"
        if not overwrite:
            return "other"
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(content)
        if changed is not None:
            os.utime(temporary, ns=(changed, changed))
    return "new"
