"""Duplicates: which pictures are the same one, byte for byte or to the eye, for millions at once."""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.data.columns import PHASH_KNOWN

if TYPE_CHECKING:
    from core.data.columns import Columns

Rows = NDArray[np.int64]

#: (lowest bit, number of bits) of a part of a hash.
Block = tuple[int, int]

#: Bits in which perceptual hashes of the same picture may differ, where nothing else is said.
DISTANCE = 4

_BITS = 64

#: Hashes worked on at once: they stay in the processor's cache.
_CHUNK = 1 << 16

#: Sorts side by side, at most; each holds 100 MB for 12 million pictures. One core is left to the window.
_THREADS = 4

#: In a run of hashes that agree in the looked-at bits each is compared with so many that follow. Longer runs (blank
#: pictures, line art) would cost the square of their length; their members are sorted by the other bits, so that those
#: alike are close to each other, and chains join the rest.
_FOLLOWERS = 128

#: Nor are more than so many alike looked for: they are joined, and through them the others.
_ENOUGH = 16


def exact_groups(signature: NDArray[np.uint64]) -> NDArray[np.int32]:
    """int32 (N,), the lowest row with the same signature (N, 2)."""
    found = np.arange(len(signature), dtype=np.int32)
    first = np.ascontiguousarray(signature[:, 0])
    ordered = np.sort(first)
    rows = _rows_of(first, np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
    pairs = signature[rows]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (pairs[order[1:]] != pairs[order[:-1]]).any(axis=1)
    found[rows[order]] = rows[order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]]
    return found


def groups(columns: Columns, distance: int = DISTANCE, exact: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """int32 (N,), the lowest row of each picture's group of duplicates; its own number where it has none.

    Duplicates have the same signature, or known perceptual hashes that differ in at most `distance` of 64 bits, or are
    joined by a chain of such pictures, so that no two sides of a border hold two that are alike.

    Args:
        exact: What exact_groups() gave, where it is known already.
    """
    if exact is None:
        exact = exact_groups(columns.signature)
    known = np.flatnonzero(np.asarray(columns.flags) & PHASH_KNOWN)
    if not len(known):
        return exact
    hashed = np.asarray(columns.phash[known])
    ordered = np.sort(hashed)
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    left, right = near_pairs(ordered[new], distance)
    wanted = np.unique(np.concatenate([left, right, ordered[~new]]))
    rows = _rows_of(hashed, wanted)
    values, first = np.unique(hashed[rows], return_index=True)
    lowest = known[rows[first]]
    return _joined(
        exact,
        np.concatenate([known[rows], lowest[np.searchsorted(values, left)]]),
        np.concatenate([lowest[np.searchsorted(values, hashed[rows])], lowest[np.searchsorted(values, right)]]),
    )


def _rows_of(column: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> Rows:
    """Rows whose value is one of `wanted` (ascending)."""
    if not len(wanted):
        return np.empty(0, dtype=np.int64)
    places = np.minimum(np.searchsorted(wanted, column), len(wanted) - 1)
    return np.flatnonzero(wanted[places] == column)


def near_pairs(values: NDArray[np.uint64], distance: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Pairs of hashes that differ in at most `distance` bits, out of `values` (N,), none of which comes twice.

    By the pigeonhole: of distance + k blocks of bits at least k agree. For each choice of k blocks the hashes are
    sorted with these blocks in front, and those in one run are compared (Manku, Jain and Sarma 2007). k is chosen by
    the number of hashes: more blocks mean more sorting and fewer pairs that agree by chance. Sorts run side by side.
    """
    if distance < 1 or len(values) < 2:
        return values[:0], values[:0]
    with ThreadPoolExecutor(max(1, min(_THREADS, (os.cpu_count() or 1) - 1))) as pool:
        found = list(pool.map(lambda key: _near(values, key, distance), _keys(len(values), distance)))
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    return left, right


def _keys(count: int, distance: int) -> list[list[Block]]:
    """The blocks that are put in front in each sorting of so many hashes."""

    def cost(kept: int) -> float:
        pairs = count**2 / 2 / 2 ** (_BITS * kept / (distance + kept))
        return math.comb(distance + kept, kept) * (20 * count + pairs)

    return _blocks(distance, min(range(1, 5), key=cost))


def _blocks(distance: int, kept: int) -> list[list[Block]]:
    """All choices of `kept` blocks out of distance + kept."""
    edges = [round(_BITS * number / (distance + kept)) for number in range(distance + kept + 1)]
    blocks = [(low, high - low) for low, high in itertools.pairwise(edges)]
    return [list(chosen) for chosen in itertools.combinations(blocks, kept)]


def _near(values: NDArray[np.uint64], key: list[Block], distance: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Pairs of hashes that agree in the blocks of `key` and differ in at most `distance` other bits."""
    order = [*key, *_between(key)]
    turned = np.empty_like(values)
    for start in range(0, len(values), _CHUNK):
        turned[start : start + _CHUNK] = _turned(values[start : start + _CHUNK], order)
    turned.sort()
    one_run = np.uint64(1 << (_BITS - sum(width for _, width in key)))
    found = [_alike(turned, start, one_run, distance) for start in range(0, len(turned), _CHUNK)]
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    return _back(left, order), _back(right, order)


def _between(key: list[Block]) -> list[Block]:
    """What lies between the blocks."""
    edges = [0, *itertools.chain.from_iterable((low, low + width) for low, width in sorted(key)), _BITS]
    return [(low, high - low) for low, high in zip(edges[::2], edges[1::2], strict=True) if high > low]


def _turned(values: NDArray[np.uint64], order: list[Block]) -> NDArray[np.uint64]:
    """The same bits, the first block on top."""
    turned = np.zeros_like(values)
    place = _BITS
    for low, width in order:
        place -= width
        turned |= ((values >> np.uint64(low)) & np.uint64((1 << width) - 1)) << np.uint64(place)
    return turned


def _back(turned: NDArray[np.uint64], order: list[Block]) -> NDArray[np.uint64]:
    """What _turned() was given."""
    values = np.zeros_like(turned)
    place = _BITS
    for low, width in order:
        place -= width
        values |= ((turned >> np.uint64(place)) & np.uint64((1 << width) - 1)) << np.uint64(low)
    return values


def _alike(
    turned: NDArray[np.uint64], start: int, one_run: np.uint64, distance: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Near pairs of one run that begin in the _CHUNK hashes from `start`; those of a run differ by < `one_run`."""
    left, right = [turned[:0]], [turned[:0]]
    chunk = turned[start : start + _CHUNK]
    active = np.arange(len(chunk))
    alike = np.zeros(len(chunk), dtype=np.int8)
    for step in range(1, _FOLLOWERS + 1):
        active = active[: np.searchsorted(active, len(turned) - start - step)]
        if not len(active):
            break
        if len(active) > len(chunk) // 4:  # all at once is faster than a choice
            other = turned[start + step : start + step + len(chunk)]
            active = np.flatnonzero(((chunk[: len(other)] ^ other) < one_run) & (alike[: len(other)] < _ENOUGH))
        one, other = chunk[active], turned[start + step + active]
        run = (one ^ other) < one_run
        near = run & (np.bitwise_count(one ^ other) <= distance)
        left.append(one[near])
        right.append(other[near])
        alike[active[near]] += 1
        active = active[run & (alike[active] < _ENOUGH)]
    return np.concatenate(left), np.concatenate(right)


def _joined(groups_: NDArray[np.int32], left: Rows, right: Rows) -> NDArray[np.int32]:
    """Groups (numbered by their lowest row) joined where a pair of rows lies in two of them.

    Each round hangs every group that has a lower neighbour below the lowest one, so at least half of those that are to
    be joined vanish (Shiloach and Vishkin 1982).
    """
    joined = np.unique(np.concatenate([groups_[left], groups_[right]]))
    one, other = np.searchsorted(joined, groups_[left]), np.searchsorted(joined, groups_[right])
    label = np.arange(len(joined))
    while (differ := label[one] != label[other]).any():
        one, other = label[one[differ]], label[other[differ]]
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(label[label], label):
            label = label[label]
    renamed = np.arange(len(groups_), dtype=np.int32)
    renamed[joined] = joined[label]
    return np.asarray(renamed[groups_], dtype=np.int32)


def listed(groups_: NDArray[np.integer], most: int | None = None) -> list[Rows]:
    """The rows of each group of two or more, the largest group first; at most so many groups.

    Args:
        groups_: As groups() gives them.
    """
    rows = np.flatnonzero(several(groups_))
    rows = rows[np.argsort(groups_[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(groups_[rows], prepend=-1))
    found = np.split(rows, starts[1:]) if len(rows) else []
    return sorted(found, key=len, reverse=True)[:most]


def several(groups_: NDArray[np.integer]) -> NDArray[np.bool_]:
    """bool (N,): the rows whose group, as groups() gives it, has others too."""
    others = _others(groups_)
    found = np.zeros(len(groups_), dtype=bool)
    found[others] = True
    found[groups_[others]] = True
    return found


def _others(groups_: NDArray[np.integer]) -> Rows:
    """The rows that are not the first of their group, by whose number it goes."""
    return np.flatnonzero(groups_ != np.arange(len(groups_)))


def extra(groups_: NDArray[np.integer]) -> int:
    """How many pictures are too many: all of each group, as groups() gives it, but one."""
    return len(_others(groups_))
