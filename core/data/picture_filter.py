"""Filters pictures by what is known of them as numbers: 12 million in a moment, in pieces, so it can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.data.around import in_all
from core.data.columns import CAPTION_PROBLEM, HAS_ALPHA, HAS_NATURAL, HAS_TAGS
from core.data.duplicates import several
from core.errors import Stopped

if TYPE_CHECKING:
    from core.data.buckets import Fits
    from core.data.columns import Columns

#: Rows that are looked at without a pause: some milliseconds, so that a window beside it stays fluid.
_CHUNK = 1 << 17

#: A picture that loses more than these shares of its pixels is called cropped, and strongly cropped.
CROP, STRONG_CROP = 0.01, 0.15

#: Problems that a filter can ask for. Broken pictures are no rows of the columns; whoever asks shows them another way.
PROBLEMS = {
    "no caption": "No caption",
    "odd caption": "Odd caption file",
    "truncated": "Caption cut off",
    "cropped": "Cropped",
    "strongly cropped": "Strongly cropped",
    "enlarged": "Enlarged",
    "too small": "Too small, left out",
    "duplicate": "Duplicate",
    "transparent": "Transparent",
    "broken": "Broken",
}
#: Those that hang on the settings.
_FACT_PROBLEMS = ("truncated", "cropped", "strongly cropped", "enlarged", "too small", "duplicate")
PARTS = {"train": "Trained on", "validation": "Held out", "probe": "Measured beside them"}

Stop = Callable[[], bool]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PictureFilter:
    """What a picture must be to be shown; everything that is given must hold.

    Attributes:
        text: Stands in its path or captions.
        tags: Each is one of its tags.
        sides: (at least, at most) pixels of its shorter side; 0 for open.
        bucket: (width, height) of its bucket.
        problem: A key of PROBLEMS.
        part: A key of PARTS: its side of the split.
        folder: It lies there or deeper.
    """

    text: str = ""
    tags: tuple[str, ...] = ()
    sides: tuple[int, int] = (0, 0)
    bucket: tuple[int, int] | None = None
    problem: str = ""
    part: str = ""
    folder: str = ""

    @property
    def needs_texts(self) -> bool:
        """Whether captions must be read, which takes longer than comparing numbers."""
        return bool(self.text or self.tags)

    @property
    def needs_facts(self) -> bool:
        """Whether the settings must be applied to all pictures first, which takes seconds for millions."""
        return bool(self.bucket or self.part or self.problem in _FACT_PROBLEMS)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the settings make of the pictures, row for row as the columns; None where it is not known.

    Attributes:
        fits: How each gets into its bucket.
        groups: int32 (N,), equal for duplicates.
        part: int8 (N,), place in PARTS; -1 for pictures that are not used.
        limit: Tokens that are read of a caption.
        smallest: Pictures with a shorter side below this are left out.
        around: int32 (N,), tokens of the words that are put around each caption.
        counts: How many pictures are in each bucket of `fits`.
    """

    fits: Fits | None = None
    groups: NDArray[np.int32] | None = None
    part: NDArray[np.int8] | None = None
    limit: int = 75
    smallest: int = 0
    around: NDArray[np.int32] | None = None
    counts: tuple[int, ...] = ()

    def tokens(self, columns: Columns, rows: slice | NDArray[np.int64]) -> NDArray[np.int32]:
        """Tokens of some rows' captions as they are read, -1 where they were not counted."""
        return in_all(np.asarray(columns.tokens[rows]), None if self.around is None else self.around[rows])


def matching(columns: Columns, facts: Facts, wanted: PictureFilter, stop: Stop | None = None) -> NDArray[np.bool_]:
    """bool (N,): which rows hold all that is asked of numbers; `wanted.text` and `wanted.tags` are not looked at.

    Raises:
        Stopped: stop() said so.
        ValueError: a fact is needed that is None.
    """
    found = np.ones(len(columns.ids), dtype=bool)
    for test in _tests(columns, facts, wanted):
        for rows in _chunks(len(found), stop):
            found[rows] &= test(rows)
    return found


def in_order(columns: Columns, mask: NDArray[np.bool_], stop: Stop | None = None) -> NDArray[np.int32]:
    """The rows of a mask in order of path."""
    parts = [part[mask[part]] for rows in _chunks(len(mask), stop) for part in (np.asarray(columns.by_name[rows]),)]
    return np.concatenate(parts).astype(np.int32) if parts else np.empty(0, dtype=np.int32)


def _chunks(count: int, stop: Stop | None) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        if stop is not None and stop():
            raise Stopped
        yield slice(start, min(count, start + _CHUNK))


Test = Callable[[slice], NDArray[np.bool_]]


def _tests(columns: Columns, facts: Facts, wanted: PictureFilter) -> Iterator[Test]:
    """The conditions, each a function of some rows."""
    low, high = wanted.sides
    if low or high:
        yield lambda rows: _between(columns.sizes[rows].min(axis=1), low, high)
    if wanted.folder:
        inside = _inside(columns.directories, wanted.folder)
        yield lambda rows: inside[columns.directory[rows]]
    if wanted.bucket is not None:
        fits = _known(facts.fits)
        number = fits.buckets.index(wanted.bucket) if wanted.bucket in fits.buckets else -1
        yield lambda rows: fits.bucket[rows] == number
    if wanted.part:
        part, number = _known(facts.part), list(PARTS).index(wanted.part)
        probe = list(PARTS).index("probe") if wanted.part == "train" else number  # the probe is trained on too
        yield lambda rows: (part[rows] == number) | (part[rows] == probe)
    if wanted.problem:
        yield _problem(columns, facts, wanted.problem)


def _problem(columns: Columns, facts: Facts, problem: str) -> Test:
    flags = columns.flags
    if problem == "no caption":
        return lambda rows: (flags[rows] & (HAS_TAGS | HAS_NATURAL)) == 0
    if problem == "odd caption":
        return lambda rows: (flags[rows] & CAPTION_PROBLEM) != 0
    if problem == "transparent":
        return lambda rows: (flags[rows] & HAS_ALPHA) != 0
    if problem == "truncated":
        return lambda rows: facts.tokens(columns, rows) > facts.limit
    if problem in ("cropped", "strongly cropped"):
        share = CROP if problem == "cropped" else STRONG_CROP
        return lambda rows: _known(facts.fits).part(rows).cropped_share() > share
    if problem == "enlarged":
        return lambda rows: _known(facts.fits).part(rows).enlarged()
    if problem == "too small":
        return lambda rows: columns.sizes[rows].min(axis=1) < facts.smallest
    if problem == "duplicate":
        twice = several(_known(facts.groups))
        return lambda rows: twice[rows]
    raise ValueError(f"there is no problem called {problem}")


def _known(fact: T | None) -> T:
    if fact is None:
        raise ValueError("this fact is not known yet")
    return fact


def _between(values: NDArray[np.integer], low: int, high: int) -> NDArray[np.bool_]:
    return (values >= low) & (values <= high) if high else values >= low


def _inside(directories: list[str], folder: str) -> NDArray[np.bool_]:
    """bool (directories,): which of them are the folder or lie in it."""
    stem = folder.rstrip("/\\")
    below = (f"{stem}/", f"{stem}\\")
    return np.array([name == stem or name.startswith(below) for name in directories] or [False], dtype=bool)
