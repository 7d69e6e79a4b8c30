"""Where the tiles of a very long grid stand: positions are computed, and the scroll bar counts parts of rows."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_EDGE, GAP = 136, 8
#: Steps of the scroll bar in a row, where there is room for so many; a step is then some two pixels.
_FINE = 64
#: What a scroll bar may count to: it holds 32 bits, and 12 million rows of pixels have more.
_MOST = 1 << 30


@dataclass(frozen=True, slots=True)
class GridLayout:
    """A grid of `count` square tiles in a viewport of `width` x `height` pixels."""

    count: int
    width: int
    height: int

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return max(1, (self.width + GAP) // (LEAST_EDGE + GAP))

    @property
    def edge(self) -> int:
        """Side of a tile: as large as the columns allow."""
        return max(1, (self.width + GAP) // self.columns - GAP)

    @property
    def pitch(self) -> int:
        """From the top of a row to the top of the next."""
        return self.edge + GAP

    @property
    def rows(self) -> int:
        """Rows in all."""
        return -(-self.count // self.columns)

    @property
    def parts(self) -> int:
        """Steps of the scroll bar in a row."""
        return max(1, min(_FINE, _MOST // max(1, self.rows)))

    @property
    def maximum(self) -> int:
        """The scroll bar's last value, at which the last row stands at the bottom."""
        hidden = self.rows * self.pitch - GAP - self.height
        return max(0, -(-hidden * self.parts // self.pitch))

    @property
    def page(self) -> int:
        """The scroll bar's value for a viewport."""
        return max(1, self.height * self.parts // self.pitch)

    def top(self, position: int, value: int) -> int:
        """Where the top of a tile stands in the viewport when the scroll bar is at `value`."""
        row = position // self.columns
        return (row * self.parts - value) * self.pitch // self.parts

    def left(self, position: int) -> int:
        """Where its left side stands."""
        return position % self.columns * self.pitch

    def visible(self, value: int) -> range:
        """The positions that are in sight, some of them in part."""
        first = value // self.parts
        last = (value * self.pitch // self.parts + self.height) // self.pitch
        return range(first * self.columns, min((last + 1) * self.columns, self.count))

    def at(self, x: int, y: int, value: int) -> int:
        """The position at a point of the viewport, -1 between the tiles."""
        column, over = divmod(x, self.pitch)
        row, below = divmod(y + value * self.pitch // self.parts, self.pitch)
        position = row * self.columns + column
        inside = x >= 0 and over < self.edge and below < self.edge and column < self.columns
        return position if inside and 0 <= position < self.count else -1

    def value_for(self, position: int) -> int:
        """The scroll bar's value at which a tile's row is the first one."""
        return position // self.columns * self.parts

    def reveal(self, position: int, value: int) -> int:
        """The value nearest to `value` at which a tile is wholly in sight."""
        top = self.top(position, value)
        if top < 0:
            return self.value_for(position)
        below = top + self.edge - self.height
        return min(self.value_for(position), value - (-below * self.parts // self.pitch)) if below > 0 else value
