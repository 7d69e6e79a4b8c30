"""Fewer points that look the same: the least and the greatest value of every pixel column."""

from __future__ import annotations

import numpy as np

from core.run_data import Column, Floats

#: A curve of up to so many points a column is drawn as it is.
_FEW = 2
#: Points whose extremes are kept together, and from how many such blocks a column on they are used.
_BLOCK = 64
_BLOCKS_A_COLUMN = 4


class Blocks:
    """Extremes of every 64 points of a curve that grows at its end; only new points are looked at."""

    def __init__(self) -> None:
        self._lows, self._highs = Column(), Column()
        self._stamp: object = None

    def update(self, y: Floats, stamp: object = None) -> tuple[Floats, Floats]:
        """(least, greatest) of every whole block of `y`; another `stamp`: `y` did not only grow."""
        done = self._lows.length
        if stamp != self._stamp or len(y) < done * _BLOCK:
            self._stamp = stamp
            self._lows, self._highs, done = Column(), Column(), 0
        whole = len(y) // _BLOCK
        if whole > done:
            table = y[done * _BLOCK : whole * _BLOCK].reshape(-1, _BLOCK)
            self._lows.extend(np.fmin.reduce(table, axis=1))
            self._highs.extend(np.fmax.reduce(table, axis=1))
        return self._lows.array, self._highs.array


def decimate(x: Floats, y: Floats, low: float, high: float, pixels: int) -> tuple[Floats, Floats]:
    """The curve between `low` and `high` for `pixels` columns.

    `x` ascends (equal values may follow each other); `y` may hold nan, which makes a gap where a whole column has
    nothing else. One point on either side of the range is kept, so that lines run up to the edges. Every column's
    extremes survive. Takes 1 to 2 ms for a million points.
    """
    return decimate_columns(x, y, np.linspace(low, high, max(1, pixels) + 1))


def decimate_columns(
    x: Floats, y: Floats, edges: Floats, blocks: Blocks | None = None, stamp: object = None
) -> tuple[Floats, Floats]:
    """The same for columns whose ascending borders are given, as they are where the axis bends the steps.

    With `blocks` a curve that grows costs next to nothing; a column's border may then lie up to 63 points off, which
    is less than a quarter of a pixel.
    """
    first = max(0, int(np.searchsorted(x, edges[0], side="left")) - 1)
    last = min(len(x), int(np.searchsorted(x, edges[-1], side="right")) + 1)
    count, columns = last - first, len(edges) - 1
    if count <= _FEW * columns:
        return x[first:last], y[first:last]
    if blocks is not None and count >= _BLOCKS_A_COLUMN * _BLOCK * columns:
        lows, highs = blocks.update(y, stamp)
        return _extremes(*_whole_blocks(x, y, lows, highs, first, last), edges)
    x, y = x[first:last], y[first:last]
    return _extremes(x, y, y, edges)


def _whole_blocks(
    x: Floats, y: Floats, lows: Floats, highs: Floats, first: int, last: int
) -> tuple[Floats, Floats, Floats]:
    """(x, least, greatest) of the blocks between two points, the odd points at either end as blocks of their own."""
    begin, end = -(-first // _BLOCK), last // _BLOCK
    parts = [(x[begin * _BLOCK : end * _BLOCK : _BLOCK], lows[begin:end], highs[begin:end])]
    for start, stop in ((first, begin * _BLOCK), (end * _BLOCK, last)):
        if stop > start:
            odd = y[start:stop]
            piece = (x[start : start + 1], np.fmin.reduce(odd, keepdims=True), np.fmax.reduce(odd, keepdims=True))
            parts.insert(0 if start == first else len(parts), piece)
    xs, least, greatest = zip(*parts, strict=True)
    return np.concatenate(xs), np.concatenate(least), np.concatenate(greatest)


def _extremes(x: Floats, lows: Floats, highs: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Two points a column: the least of `lows` and the greatest of `highs`; the first and last stand for themselves."""
    starts = np.concatenate(([0, 1], np.searchsorted(x, edges, side="left"), [len(x) - 1]))
    starts = np.sort(starts[starts < len(x)])
    # Not np.unique: its first call imports numpy.ma, 50 ms on the window's thread.
    starts = starts[np.concatenate(([True], starts[1:] > starts[:-1]))]
    found = np.empty(2 * len(starts))
    found[0::2] = np.fmin.reduceat(lows, starts)
    found[1::2] = np.fmax.reduceat(highs, starts)
    return np.repeat(x[starts], 2), found


def thin(x: Floats, y: Floats, least: float) -> tuple[Floats, Floats]:
    """One point instead of two where a column's extremes lie closer than `least`; for what decimate() has halved.

    A smooth curve is then drawn with half the points, which is where its antialiased strokes spend their time.
    """
    if len(x) < 4 or len(x) % 2 or not (x[0::2] == x[1::2]).all():
        return x, y
    keep = np.ones(len(x), dtype=bool)
    keep[1::2] = ~(np.abs(y[1::2] - y[0::2]) < least)
    return x[keep], y[keep]


def inner_range(values: Floats, cut: float) -> tuple[float, float]:
    """(low, high) of what is left when the part `cut` is left out at either end; `values` holds numbers only.

    Not np.quantile: its first call imports numpy.ma, 50 ms on the window's thread.
    """
    least = round(cut * (len(values) - 1))
    most = len(values) - 1 - least
    ordered = np.partition(values, (least, most))
    return float(ordered[least]), float(ordered[most])
