"""The split: which pictures are held out for validation, decided by their content, by folder or by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.rules import BY_CHANCE, CHOSEN, LEFT_OUT, REGULARISATION, TRAIN, VALIDATION
from core.data.shuffle import key_of, mix
from core.data.tally import tally
from core.settings.validation import ValidationSettings

Rows = NDArray[np.int64]

#: From so many pictures on at least one is held out.
_ENOUGH = 5

#: More rows are looked at than are needed, as some may be duplicates of each other.
_MORE = 64


@dataclass(frozen=True, slots=True)
class Split:
    """Rows (int64) of the pictures.

    Attributes:
        train: Trained on, in ascending order.
        validation: Never trained on; ordered by hash, so that the order does not depend on names or places. A whole
            folder may be held out: measured are the first validation.max_pictures.
        probe: Training pictures that are measured beside the validation ones, as many as are measured of those, none
            twice and none for regularisation; ordered by hash.
    """

    train: Rows
    validation: Rows
    probe: Rows


def hashes(signature: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """uint64 (N,), a hash of each picture's signature (N, 2) and the seed, by whose order chance decides.

    h = mix(mix(s0 xor key_of(seed)) + s1), with mix and key_of of core/data/shuffle.py (splitmix64): whole numbers
    only, so alike on every machine.
    """
    return mix(mix(signature[:, 0] ^ np.uint64(key_of(seed))) + signature[:, 1])


def held_out_count(pictures: int, settings: ValidationSettings) -> int:
    """How many of so many pictures are to be held out by chance: never more than half of them."""
    if settings.share <= 0:
        return 0
    wanted = min(round(pictures * settings.share), settings.max_pictures)
    return min(max(wanted, 1 if pictures >= _ENOUGH else 0), pictures // 2)


def split(
    signature: NDArray[np.uint64],
    groups: NDArray[np.integer] | None,
    roles: NDArray[np.integer] | None,
    settings: ValidationSettings,
) -> Split:
    """Hold out pictures by role, and by chance those whose hash is lowest.

    Chance depends on nothing but the contents and settings.seed: adding, removing or renaming other pictures changes as
    little as possible. Duplicates stay on one side. Where a group of them is too large to be held out, later pictures
    take its place, so at times fewer than held_out_count() are held out. A group with a picture that must be trained on
    is trained on whole, whatever its others were chosen for. Where a folder is held out, chance holds out none.

    Args:
        signature: uint64 (N, 2).
        groups: Integers (N,) from 0, equal for duplicates; None: equal signatures are duplicates, no others.
        roles: (N,) as core.data.rules.roles() gives them; None: all by chance.
    """
    key = hashes(signature, settings.seed)
    if groups is None:
        groups = np.unique(key, return_inverse=True)[1].reshape(-1)
    part = np.full(len(key), BY_CHANCE, dtype=np.int8) if roles is None else _agreed(np.asarray(roles), groups)
    counted = np.isin(part, (BY_CHANCE, VALIDATION, CHOSEN))
    held = (part == VALIDATION) | (part == CHOSEN)
    left = 0 if (part == VALIDATION).any() else held_out_count(int(counted.sum()), settings) - int(held.sum())
    free = np.flatnonzero(part == BY_CHANCE)
    if left > 0:
        held[_drawn(key, groups, free, left, int(counted.sum()) // 2)] = True
    validation = np.flatnonzero(held)
    train = ~held & (part != LEFT_OUT)
    measured = min(len(validation), settings.max_pictures)
    probe = _without_duplicates(key, groups, np.flatnonzero(train & (part != REGULARISATION)), measured)
    return Split(np.flatnonzero(train), _by_hash(key, groups, validation), probe)


def limited(parts: Split, signature: NDArray[np.uint64], count: int, seed: int) -> Split:
    """The split with only `count` of its trained pictures, those with the lowest hashes; 0 for all.

    The choice nests: the 100 are among the 200, whatever else is in the folders. What is held out stays, and so do the
    measured training pictures, which have the lowest hashes of all that are trained on.
    """
    if not count or count >= len(parts.train):
        return parts
    key = hashes(signature, seed)
    train = np.sort(_ordered(key, parts.train, count))
    probe = parts.probe[np.isin(parts.probe, train)]
    rest = np.setdiff1d(train, probe)
    missing = min(len(parts.probe), len(train)) - len(probe)
    return Split(train, parts.validation, np.concatenate([probe, _ordered(key, rest, missing)]))


def _agreed(roles: NDArray[np.integer], groups: NDArray[np.integer]) -> NDArray[np.int8]:
    """Roles without a quarrel between duplicates: training wins, then what a folder or a person holds out."""
    part = roles.astype(np.int8)
    for role in (VALIDATION, CHOSEN, TRAIN):
        # The last one wins. For duplicates regularisation is training too, but stays what it is.
        members = part == role if role != TRAIN else np.isin(roles, (TRAIN, REGULARISATION))
        if not members.any():
            continue
        marked = np.zeros(int(groups.max()) + 1, dtype=bool)
        marked[groups[members]] = True
        part[marked[groups] & (part != LEFT_OUT) & (part != REGULARISATION)] = role
    return part


def _drawn(key: NDArray[np.uint64], groups: NDArray[np.integer], free: Rows, count: int, most: int) -> Rows:
    """Rows of whole groups among `free` with the lowest hashes, `count` rows in all where possible."""
    sizes = tally(groups[free])
    chosen: list[int] = []
    seen: set[int] = set()
    left, waiting = count, free
    while left and len(waiting := waiting[sizes[groups[waiting]] <= left]):
        looked = _ordered(key, waiting, 4 * left + _MORE)
        for group in groups[looked].tolist():
            if group not in seen and sizes[group] <= left:
                chosen.append(group)
                left -= int(sizes[group])
            seen.add(group)
        waiting = waiting[~np.isin(waiting, looked)]
    if not chosen:
        chosen = groups[_ordered(key, free[sizes[groups[free]] <= most], 1)].tolist()
    return free[np.isin(groups[free], chosen)]


def _ordered(key: NDArray[np.uint64], rows: Rows, count: int) -> Rows:
    """The `count` rows with the lowest hashes, in order."""
    if count < len(rows):
        rows = rows[np.argpartition(key[rows], count - 1)[:count]] if count else rows[:0]
    return np.asarray(rows[np.lexsort((rows, key[rows]))])


def _by_hash(key: NDArray[np.uint64], groups: NDArray[np.integer], rows: Rows) -> Rows:
    """The rows in order of their groups' lowest hash, then of their own."""
    _, number = np.unique(groups[rows], return_inverse=True)
    lowest = np.full(len(rows), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(lowest, number, key[rows])
    return rows[np.lexsort((rows, key[rows], lowest[number]))]


def _without_duplicates(key: NDArray[np.uint64], groups: NDArray[np.integer], rows: Rows, count: int) -> Rows:
    """The `count` rows with the lowest hashes, one of each group, in order."""
    looked = 2 * count + _MORE
    while True:
        found = _ordered(key, rows, looked)
        first = np.sort(np.unique(groups[found], return_index=True)[1])
        if len(first) >= count or len(found) == len(rows):
            return np.asarray(found[first[:count]])
        looked *= 8
