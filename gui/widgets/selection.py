"""Which of many rows are selected: ranges, so that all of 12 million cost as much as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator


class Selection:
    """Positions 0, 1, 2, ... kept as half-open ranges that neither touch nor overlap, in ascending order.

    Attributes:
        current: The position that has the keyboard, -1 for none.
        anchor: Where a range that is drawn with shift begins.
    """

    def __init__(self) -> None:
        self.current = -1
        self.anchor = -1
        self._ranges: list[tuple[int, int]] = []

    def __contains__(self, position: int) -> bool:
        place = bisect_right(self._ranges, (position, float("inf"))) - 1
        return place >= 0 and position < self._ranges[place][1]

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self._ranges)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges as they are now."""
        return tuple(self._ranges)

    def __iter__(self) -> Iterator[int]:
        for start, stop in self._ranges:
            yield from range(start, stop)

    def clear(self) -> None:
        """Nothing is selected, and nothing has the keyboard."""
        self.current = self.anchor = -1
        self._ranges = []

    def only(self, position: int) -> None:
        """Select one, and nothing else."""
        self.current = self.anchor = position
        self._ranges = [(position, position + 1)]

    def toggle(self, position: int) -> None:
        """Add one, or take it out."""
        if position in self:
            self._remove(position)
        else:
            self._add(position, position + 1)
        self.current = self.anchor = position

    def extend(self, position: int, add: bool = False) -> None:
        """Select from the anchor to `position`; `add` keeps what was selected beside it."""
        if self.anchor < 0:
            self.anchor = position
        if not add:
            self._ranges = []
        self._add(min(self.anchor, position), max(self.anchor, position) + 1)
        self.current = position

    def all(self, count: int) -> None:
        """Select everything."""
        self._ranges = [(0, count)] if count else []

    def _add(self, start: int, stop: int) -> None:
        kept = []
        for low, high in self._ranges:
            if high < start or low > stop:
                kept.append((low, high))
            else:
                start, stop = min(start, low), max(stop, high)
        self._ranges = sorted([*kept, (start, stop)])

    def _remove(self, position: int) -> None:
        parts = []
        for low, high in self._ranges:
            if low <= position < high:
                parts += [(low, position), (position + 1, high)]
            else:
                parts.append((low, high))
        self._ranges = [part for part in parts if part[0] < part[1]]
