"""The split: which pictures are held out for validation, decided by their content alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from core.settings.validation import ValidationSettings

#: From so many pictures on at least one is held out.
_ENOUGH = 5


@dataclass(frozen=True, slots=True)
class Split:
    """Positions (int64) in the list of pictures.

    Attributes:
        train: Trained on, in ascending order.
        validation: Never trained on; ordered by hash, so that the order does not depend on names or places.
        probe: Training pictures measured beside the validation ones, as many, no content twice; ordered by
        hash.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    probe: NDArray[np.int64]


def held_out_count(pictures: int, settings: ValidationSettings) -> int:
    """How many of so many pictures are to be held out: never more than half of them."""
    if settings.share <= 0:
        return 0
    wanted = min(round(pictures * settings.share), settings.max_pictures)
    return min(max(wanted, 1 if pictures >= _ENOUGH else 0), pictures // 2)


def split(hashes: Sequence[str], settings: ValidationSettings) -> Split:
    """Hold out the pictures whose xxh3_64 of seed and content hash is lowest.

    The choice depends on nothing but the contents and settings.seed: adding, removing or renaming other
    pictures changes as little as possible. Exact duplicates stay on one side; where a group of them is too
    large to be held out, later pictures take its place, so at times fewer than held_out_count() are held out.

    Args:
        hashes: Content hash of every picture; equal ones are duplicates.
    """
    places: dict[str, list[int]] = {}
    for place, content in enumerate(hashes):
        places.setdefault(content, []).append(place)
    ordered = sorted(places, key=lambda content: (_key(settings.seed, content), content))
    groups = [places[content] for content in ordered]
    chosen = _chosen(groups, held_out_count(len(hashes), settings), len(hashes) // 2)
    held_out = [place for group in chosen for place in groups[group]]
    taken = set(chosen)
    probe = [group[0] for number, group in enumerate(groups) if number not in taken][: len(held_out)]
    train = np.ones(len(hashes), dtype=bool)
    train[held_out] = False
    return Split(np.flatnonzero(train).astype(np.int64), _positions(held_out), _positions(probe))


def _key(seed: int, content: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}:{content}".encode())


def _chosen(groups: list[list[int]], count: int, most: int) -> list[int]:
    """Numbers of the groups of duplicates that are held out, `count` pictures in all where possible."""
    chosen: list[int] = []
    left = count
    for number, group in enumerate(groups):
        if left == 0:
            break
        if len(group) <= left:
            chosen.append(number)
            left -= len(group)
    if not chosen and count:
        chosen = [number for number, group in enumerate(groups) if len(group) <= most][:1]
    return chosen


def _positions(places: list[int]) -> NDArray[np.int64]:
    return np.array(places, dtype=np.int64)
