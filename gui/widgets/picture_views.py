"""What the grid of pictures shows: a view is an order of pictures, a tile is one of them with what is remarkable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.data.duplicates import several
from core.data.picture_filter import STRONG_CROP, Facts, PictureFilter
from core.quantities import show_share

if TYPE_CHECKING:
    from core.data.columns import Columns
    from core.data.index import Picture


@dataclass(frozen=True, slots=True)
class View:
    """The pictures that pass a filter, by position. No object for each of them: arrays, or the columns themselves.

    Attributes:
        number: Another one for every filter; a view that only grew keeps its number.
        wanted: The filter.
        rows: Rows of the columns by position; None for all of them in order of path.
        ids: Where `rows` does not do: pictures that are in no column, since they are broken.
        complete: False while the search goes on.
    """

    number: int
    wanted: PictureFilter
    columns: Columns
    rows: NDArray[np.int32] | None = None
    ids: NDArray[np.int64] | None = None
    complete: bool = True

    @property
    def count(self) -> int:
        """How many pictures it has."""
        if self.ids is not None:
            return len(self.ids)
        return len(self.columns.ids) if self.rows is None else len(self.rows)

    def rows_at(self, start: int, stop: int) -> NDArray[np.int64]:
        """The rows of the pictures from a position on; empty for broken ones. Reads the disk, perhaps."""
        if self.ids is not None:
            return np.empty(0, dtype=np.int64)
        rows = self.columns.by_name if self.rows is None else self.rows
        return np.asarray(rows[start:stop], dtype=np.int64)

    def ids_at(self, start: int, stop: int) -> NDArray[np.int64]:
        """Their ids in the index."""
        if self.ids is not None:
            return self.ids[start:stop]
        return np.asarray(self.columns.ids[self.rows_at(start, stop)], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something remarkable about a picture: its badge, the badge's colour, and a sentence."""

    icon: str
    token: str
    text: str


NO_CAPTION = Mark("edit", "warn", "No caption")
DUPLICATE = Mark("twins", "warn", "There is another picture like this one")
ENLARGED = Mark("enlarge", "dim", "Smaller than its bucket, so it is enlarged")
NOT_USED = Mark("minus", "dim", "Not used: a rule of its folder, or its size, leaves it out")
HELD_OUT = Mark("ruler", "accent", "Held out: never trained on, measured instead")


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of the grid, with what is remarkable about it."""

    picture: Picture
    marks: tuple[Mark, ...]
    row: int = -1


class Marker:
    """Finds what is remarkable about pictures. Used in the thread that reads them."""

    def __init__(self, columns: Columns, facts: Facts) -> None:
        self._columns = columns
        self._facts = facts
        groups = facts.groups
        self._twins = None if groups is None else several(groups)

    def tiles(self, pictures: Sequence[Picture | None], rows: NDArray[np.int64]) -> list[Tile | None]:
        """The pictures with their marks, the weightiest first.

        Args:
            pictures: None for one that is gone since.
            rows: Their rows; empty for pictures that have none.
        """
        of_rows = self._of_rows(rows) if len(rows) else [[] for _ in pictures]
        numbers = rows.tolist() if len(rows) else [-1] * len(pictures)
        return [
            None if picture is None else Tile(picture, (*_of_texts(picture), *marks), row)
            for picture, marks, row in zip(pictures, of_rows, numbers, strict=True)
        ]

    def _of_rows(self, rows: NDArray[np.int64]) -> list[list[Mark]]:
        """The marks of numbers, row by row."""
        facts = self._facts
        marks: list[list[Mark]] = [[] for _ in rows]
        for found, tokens in zip(marks, facts.tokens(self._columns, rows).tolist(), strict=True):
            if tokens > facts.limit:
                found.append(Mark("scissors", "warn", f"Caption cut off: {tokens} tokens, {facts.limit} are read"))
        if self._twins is not None:
            for found, others in zip(marks, self._twins[rows].tolist(), strict=True):
                found += [DUPLICATE] if others else []
        if facts.fits is not None:
            fits = facts.fits.part(rows)
            for found, cropped, enlarged in zip(marks, fits.cropped_share(), fits.enlarged(), strict=True):
                if cropped > STRONG_CROP:
                    found.append(Mark("crop", "warn", f"{show_share(cropped)} of it is cropped"))
                found += [ENLARGED] if enlarged else []
        if facts.part is not None:
            for found, part in zip(marks, facts.part[rows].tolist(), strict=True):
                found += [HELD_OUT] if part == 1 else [NOT_USED] if part < 0 else []
        return marks


def _of_texts(picture: Picture) -> list[Mark]:
    if picture.reason:
        return [Mark("error", "bad", picture.reason[:1].upper() + picture.reason[1:])]
    found = [] if picture.tags or picture.natural else [NO_CAPTION]
    return [*found, Mark("warning", "warn", picture.caption_problem)] if picture.caption_problem else found
