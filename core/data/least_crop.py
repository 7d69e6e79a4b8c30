"""The least-crop plan: more shapes than kohya's, each picture in the one that cuts off least, and whole batches.

Pictures are lined up by the logarithm of their shape (width / height). There the share that a bucket cuts off is
1 - exp(-distance), so the best bucket is the nearest. To leave no short batch the line of the pictures in training is
cut into pieces whose uses in an epoch fill whole batches, and each piece goes, as one, to the bucket that cuts off
least from it. Nearly all pieces lie within one bucket and stay; those across a border take the better side. That is the
least added crop of all plans which keep the line in order. A bucket without a piece of its own is dissolved by the same
rule.

The pieces are counted from both ends towards the bucket with the most uses, and what is left over, less than a batch,
is the one short batch. A picture that is added to that bucket moves no other, and one that is added elsewhere about one
or two at each border on its way there, so that few latents of a cache become useless.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
Rows = NDArray[np.int64]

#: No picture is moved to a bucket that cuts off so much more of it: rather a short batch. With few pictures of many
#: shapes whole batches could cost a picture half of what it shows.
MOST_LOST = 0.15

#: Steps of the logarithm of a shape on the line: far below what a pixel changes.
_STEPS = 2**27
#: Added to a logarithm, so that places are positive: sides of up to 2**23 pixels have one.
_SHIFT = 16


class Pictures(Protocol):
    """What a plan needs to know: Columns have it, and so has Plain."""

    @property
    def sizes(self) -> NDArray[np.integer]:
        """Integers (N, 2), width and height as shown."""

    @property
    def signature(self) -> NDArray[np.uint64]:
        """uint64 (N, 2), a name by content."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Sizes and signatures without an index."""

    sizes: NDArray[np.integer]
    signature: NDArray[np.uint64]


def candidates(kohya: Sequence[Size], area: int, step: int, low: int, high: int) -> list[Size]:
    """The buckets to choose from, sorted: kohya's, and all with sides from `low` to `high` and nearly `area` pixels.

    Nearly: they would exceed it with a step more on both sides. With steps of 64 that is at least 0.75 of the pixels at
    512 and 0.875 at 1024 (and on the mean 0.9 and 0.95). Smaller buckets would cut off less still, but what is not
    computed is detail that is not learnt. Only a bucket with a side at the limit `high` may be smaller: there is no
    larger one of its shape. Of several with the same shape only the largest is given.
    """
    found = set(kohya)
    for width in range(low, high + 1, step):
        for height in range(low, min(high, area // width) + 1, step):
            if (width + step) * (height + step) > area or high in (width, height):
                found.add((width, height))
    largest: dict[tuple[int, int], Size] = {}
    for width, height in sorted(found):
        divisor = math.gcd(width, height)
        largest[width // divisor, height // divisor] = (width, height)
    return sorted(largest.values())


def least_crop(
    pictures: Pictures,
    choices: Sequence[Size],
    batch: int,
    rates: NDArray[np.floating] | None = None,
    own: NDArray[np.integer] | None = None,
) -> tuple[list[Size], NDArray[np.int32]]:
    """(buckets, number of each picture's bucket).

    Args:
        choices: Buckets as candidates() gives them.
        batch: Pictures in a global micro-batch; 1 leaves every picture in its best bucket, as does a picture's rate 0.
        rates: (N,) uses of each picture in an epoch, None for 1.
        own: (N, 2) each picture's bucket at its own size, which it gets where the best one would enlarge it; None where
            pictures may be enlarged.
    """
    line = _Line(choices)
    key = line.keys(pictures)
    place = line.nearest(key)
    sizes = list(line.sizes)
    if own is not None:
        small = np.flatnonzero((line.table[place] > pictures.sizes).any(axis=1))
        extra, number = unique_sizes(own[small])
        place[small] = len(sizes) + number
        sizes += extra
    if batch > 1:
        filling = _Filling(line, key, place, sizes, batch, None if own is None else pictures.sizes)
        for rows, rate in _classes(rates, len(place)):
            filling.fill(rows, rate)
        filling.fill_rest()
    return _in_order(sizes, place)


def _classes(rates: NDArray[np.floating] | None, count: int) -> Iterator[tuple[Rows, float]]:
    """(rows, rate) of the pictures that are used equally often."""
    if rates is None:
        yield np.arange(count), 1.0
        return
    used = np.flatnonzero(rates > 0)
    of_used = rates[used]
    if len(used) and of_used.min() == of_used.max():
        yield used, float(of_used[0])
        return
    for rate in np.unique(of_used).tolist():
        yield used[of_used == rate], rate


def _in_order(sizes: list[Size], place: NDArray[np.int32]) -> tuple[list[Size], NDArray[np.int32]]:
    """The sizes sorted, each once, and the places in them."""
    buckets, number = unique_sizes(np.array(sizes, dtype=np.int64).reshape(-1, 2))
    return buckets, number[place]


def unique_sizes(sizes: NDArray[np.integer]) -> tuple[list[Size], NDArray[np.int32]]:
    """(the different sizes of (N, 2), sorted; int32 (N,), number of each)."""
    codes, number = np.unique((sizes[:, 0].astype(np.int64) << 32) | sizes[:, 1], return_inverse=True)
    return [(code >> 32, code & 0xFFFFFFFF) for code in codes.tolist()], number.astype(np.int32)


class _Line:
    """The buckets in order of their shape, and where the borders between them lie."""

    def __init__(self, choices: Sequence[Size]) -> None:
        self.sizes = sorted(choices, key=lambda size: size[0] / size[1])
        self.table = np.array(self.sizes, dtype=np.int64).reshape(-1, 2)
        self._area = self.table.prod(axis=1)
        self._shape = np.log(self.table[:, 0] / self.table[:, 1])
        middle = (self._shape[1:] + self._shape[:-1]) / 2
        # A picture right between two buckets goes to the larger one.
        middle += np.where(self._area[1:] > self._area[:-1], -1e-7, 1e-7)
        self._borders = _placed(middle)

    def keys(self, pictures: Pictures) -> NDArray[np.uint64]:
        """(N,) a picture's place on the line above 32 bits of its signature, which settle ties alike everywhere."""
        key = _placed(np.log(pictures.sizes[:, 0] / pictures.sizes[:, 1]))
        key |= pictures.signature[:, 0] >> np.uint64(32)
        return key

    def nearest(self, key: NDArray[np.uint64]) -> NDArray[np.int32]:
        """(N,) number of the bucket that cuts off least."""
        return np.searchsorted(self._borders, key, side="right").astype(np.int32)

    def best(self, key: NDArray[np.uint64], possible: NDArray[np.int64]) -> int:
        """The bucket, of the possible ones, that cuts off least from all these pictures together."""
        shape = (key >> np.uint64(32)).astype(np.float64) / _STEPS - _SHIFT
        lost = (1 - np.exp(-np.abs(shape[:, None] - self._shape[None, possible]))).sum(axis=0)
        return int(possible[np.lexsort((-self._area[possible], np.round(lost, 9)))[0]])

    def most_lost(self, key: NDArray[np.uint64], place: NDArray[np.integer], bucket: int) -> float:
        """The largest share of one of these pictures that a bucket cuts off beyond what its present place does."""
        shape = (key >> np.uint64(32)).astype(np.float64) / _STEPS - _SHIFT
        now, then = (np.exp(-np.abs(shape - self._shape[which])) for which in (place, bucket))
        return float((now - then).max())


def _placed(shape: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Logarithms of shapes as places on the line, in the upper 32 bits."""
    return ((shape + _SHIFT) * _STEPS).astype(np.uint64) << np.uint64(32)


class _Rest:
    """Pictures of one rate that fill no batch, and how many of that rate do.

    With a fraction of a use the whole uses are spread evenly over a row of pictures. To agree with what pictures are
    promised, all of one rate stand in one row: first those that fill batches, then these.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.before = 0
        self.rows: list[Rows] = []
        self.count = 0

    def take(self, rows: Rows, of: int) -> None:
        """Keep these, out of so many pictures of which the others fill batches."""
        self.rows.append(rows)
        self.count += len(rows)
        self.before += of - len(rows)


class _Filling:
    """Moves pictures between buckets until batches are whole: changes `place`, and adds to `sizes` where it must."""

    def __init__(
        self,
        line: _Line,
        key: NDArray[np.uint64],
        place: NDArray[np.int32],
        sizes: list[Size],
        batch: int,
        limits: NDArray[np.integer] | None,
    ) -> None:
        """`limits`: (N, 2) what a picture's bucket may not exceed, None where pictures may be enlarged."""
        self._line, self._key, self._place, self._sizes = line, key, place, sizes
        self._batch, self._limits = batch, limits
        self._rests: list[_Rest] = []

    def fill(self, rows: Rows, rate: float) -> None:
        """Whole batches of pictures of one rate; what is over is kept for fill_rest()."""
        rest = _Rest(rate)
        own = self._place[rows] >= len(self._line.sizes)
        self._fill_line(rows[~own], rest)
        self._fill_own(rows[own], rest)
        self._rests.append(rest)

    def _fill_line(self, rows: Rows, rest: _Rest) -> None:
        """Pieces of the line; those that lie in one bucket stay there."""
        if not len(rows):
            return
        ordered = rows[np.argsort(self._key[rows])]
        place = self._place[ordered]
        fullest = int(np.bincount(place).argmax())
        left, right = np.searchsorted(place, [fullest, fullest + 1])
        starts, stops, over = _pieces(len(ordered), rest.rate, self._batch, int(left + right) // 2)
        rest.take(ordered[over], len(ordered))
        for piece in np.flatnonzero(place[starts] != place[stops - 1]).tolist():
            self._move(ordered[starts[piece] : stops[piece]])

    def _fill_own(self, rows: Rows, rest: _Rest) -> None:
        """Whole batches within each bucket of pictures that keep their size; none is moved yet."""
        ordered = rows[np.lexsort((self._key[rows], self._place[rows]))]
        _, first = np.unique(self._place[ordered], return_index=True)
        for start, stop in zip(first.tolist(), [*first[1:].tolist(), len(ordered)], strict=False):
            uses = _uses(rest.before + np.arange(stop - start + 1), rest.rate)
            filled = int(np.flatnonzero((uses - uses[0]) % self._batch == 0)[-1])
            rest.take(ordered[start + filled : stop], stop - start)

    def fill_rest(self) -> None:
        """Whole batches of what is over, of all rates together; the last one may be short."""
        if not self._rests:
            return
        rows = np.concatenate([part for rest in self._rests for part in rest.rows] or [np.empty(0, dtype=np.int64)])
        order = np.argsort(self._key[rows], kind="stable")
        if self._limits is not None and len(rows):
            order = self._by_shape_and_size(rows, order)
        uses = np.empty(len(rows), dtype=np.int64)
        number = np.repeat(np.arange(len(self._rests)), [rest.count for rest in self._rests])[order]
        for which, rest in enumerate(self._rests):
            uses[number == which] = np.diff(_uses(rest.before + np.arange(rest.count + 1), rest.rate))
        rows, total = rows[order], np.cumsum(uses)
        ends = np.flatnonzero((total % self._batch == 0) & (uses > 0)) + 1
        for piece in np.split(rows, ends):
            if len(piece):
                self._move(piece)

    def _by_shape_and_size(self, rows: Rows, order: Rows) -> Rows:
        """Pictures of many sizes so that neighbours are alike: strips of one shape, in each by area, there and back.

        The packing of Leutenegger, Lopez and Edgington 1997 ("STR").
        """
        table = np.array(self._sizes, dtype=np.int64)
        area = table[self._place[rows[order]]].prod(axis=1)
        width = math.ceil(math.sqrt(len(rows) / self._batch)) * self._batch
        strip = np.arange(len(rows)) // width
        return np.asarray(order[np.lexsort((np.where(strip % 2, -area, area), strip))])

    def _move(self, rows: Rows) -> None:
        """One bucket for all these pictures, unless one of them would lose too much there: then all stay."""
        place = self._place[rows]
        low, high = int(place.min()), int(place.max())
        if low == high:
            return
        table = np.array(self._sizes, dtype=np.int64)
        possible = np.arange(low, min(high, len(self._line.sizes) - 1) + 1)
        if self._limits is not None:
            possible = possible[(table[possible] <= self._limits[rows].min(axis=0)).all(axis=1)]
        if not len(possible) or high >= len(self._line.sizes):
            width, height = table[place].min(axis=0).tolist()
            self._place[rows] = len(self._sizes)
            self._sizes.append((width, height))
        else:
            best = self._line.best(self._key[rows], possible)
            if self._line.most_lost(self._key[rows], place, best) <= MOST_LOST:
                self._place[rows] = best


def _uses(places: NDArray[np.integer], rate: float) -> NDArray[np.int64]:
    """How often all pictures before these places of a line are used; the uses of a fraction are spread evenly."""
    return np.asarray(np.floor(places * rate + 1e-9).astype(np.int64))


def _pieces(count: int, rate: float, batch: int, middle: int) -> tuple[Rows, Rows, slice]:
    """(starts, stops, rest): a line of `count` pictures in pieces that fill whole batches, and what is over.

    With a whole number of uses the rest lies at `middle`, with a fraction at the end.
    """
    if rate.is_integer():
        step = batch // math.gcd(int(rate), batch)
        left = middle // step * step
        right = count - (count - middle) // step * step
        left += (right - left) // step * step
        starts = np.concatenate([np.arange(0, left, step), np.arange(right, count, step)])
        return starts, starts + step, slice(left, right)
    uses = _uses(np.arange(count + 1), rate)
    whole = uses % batch == 0
    whole[1:] &= uses[1:] > uses[:-1]
    cuts = np.flatnonzero(whole)
    return cuts[:-1], cuts[1:], slice(int(cuts[-1]), count)
