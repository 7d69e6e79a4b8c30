"""How often an epoch uses the pictures: the rate of each, and whole numbers for all pictures of a bucket and a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.tally import tally
from core.settings.folder_rules import FolderRules


@dataclass(frozen=True, slots=True)
class Uses:
    """Groups of training pictures with the same bucket and rule, in order of bucket and then rule.

    Attributes:
        bucket, rule: int32 (G,).
        pictures: int64 (G,), how many there are, at least 1.
        uses: int64 (G,), uses in an epoch of all of them together; may be 0.
    """

    bucket: NDArray[np.int32]
    rule: NDArray[np.int32]
    pictures: NDArray[np.int64]
    uses: NDArray[np.int64]

    def of_buckets(self, count: int) -> NDArray[np.int64]:
        """int64 (count,), uses of each bucket in an epoch."""
        return np.bincount(self.bucket, weights=self.uses, minlength=count).astype(np.int64)


def promised(rules: Sequence[FolderRules], pictures: NDArray[np.integer]) -> NDArray[np.int64]:
    """int64 (rules,): how often an epoch uses a rule's pictures, of which so many are trained on."""
    uses = [
        (rule.sample or math.floor(rule.repeats * count + 0.5)) if count else 0
        for rule, count in zip(rules, pictures.tolist(), strict=True)
    ]
    return np.array(uses, dtype=np.int64)


def rates_of(
    rule: NDArray[np.integer], trained: NDArray[np.integer], rules: Sequence[FolderRules]
) -> NDArray[np.float64] | None:
    """float64 (N,), how often an epoch uses each picture, 0 for those that are not trained on; None: each once.

    Args:
        rule: (N,) numbers in `rules`, of all pictures.
        trained: Rows that are trained on.
    """
    mine = rule[trained]
    pictures = tally(mine, len(rules))
    of_rule = promised(rules, pictures) / np.maximum(1, pictures)
    if len(trained) == len(rule) and bool((of_rule[np.unique(mine)] == 1).all()):
        return None
    rates = np.zeros(len(rule), dtype=np.float64)
    rates[trained] = of_rule[mine]
    return rates


def uses_per_epoch(
    rule: NDArray[np.integer], bucket: NDArray[np.integer], rules: Sequence[FolderRules], batch: int = 1
) -> Uses:
    """How often an epoch uses each group of pictures of one bucket and one rule.

    A rule's pictures are used round(repeats x pictures) times in all, or `sample` times. Its groups have equal shares;
    the fractions of a use that are over go to the largest of them ("largest remainder"), or rather to those that make
    a bucket's uses fill whole batches of `batch`.

    Args:
        rule, bucket: (N,), of the pictures in training.
    """
    code, pictures = _counted(rule, bucket, len(rules))
    groups_bucket, groups_rule = np.divmod(code, max(1, len(rules)))
    of_rules = np.bincount(groups_rule, weights=pictures, minlength=len(rules)).astype(np.int64)
    wanted = promised(rules, of_rules)
    floor, over = np.divmod(wanted[groups_rule] * pictures, of_rules[groups_rule])
    shares = _Shares(groups_bucket, over / of_rules[groups_rule], floor, floor.copy())
    of_rule = (np.flatnonzero(groups_rule == number) for number in np.flatnonzero(wanted).tolist())
    broken = [mine for mine in of_rule if over[mine].any()]
    for mine in broken:
        shares.round_up(mine, int(wanted[groups_rule[mine[0]]] - floor[mine].sum()), batch)
    for mine in broken:
        shares.fill_batches(mine, batch)
    return Uses(groups_bucket.astype(np.int32), groups_rule.astype(np.int32), pictures, shares.uses)


def _counted(
    rule: NDArray[np.integer], bucket: NDArray[np.integer], rules: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(bucket x rules + rule, number of pictures) of the groups that are not empty."""
    code = bucket.astype(np.int64) * max(1, rules) + rule
    if len(code) and int(code.max()) < 1 << 24:
        counts = tally(code)
        found = np.flatnonzero(counts)
        return found, counts[found]
    return np.unique(code, return_counts=True)


@dataclass(slots=True)
class _Shares:
    """What each group has of its rule's uses: rounded down, or up by a use."""

    bucket: NDArray[np.int64]
    fraction: NDArray[np.float64]
    floor: NDArray[np.int64]
    uses: NDArray[np.int64]

    def round_up(self, mine: NDArray[np.int64], missing: int, batch: int) -> None:
        """One use more for so many groups: first where it fills a batch, last where the batch is whole without it."""
        floor, fraction = self.floor[mine], self.fraction[mine]
        whole = np.where((floor + 1) % batch == 0, 0, np.where(floor % batch == 0, 2, 1))
        whole[fraction == 0] = 3
        order = np.lexsort((-fraction, whole))
        self.uses[mine[order[:missing]]] += 1

    def fill_batches(self, mine: NDArray[np.int64], batch: int) -> None:
        """Trade uses between the groups `mine` of one rule, so that more buckets fill whole batches."""
        over = (np.bincount(self.bucket, weights=self.uses).astype(np.int64) % batch)[self.bucket[mine]]
        low = (self.uses[mine] == self.floor[mine]) & (self.fraction[mine] > 0)
        high = self.uses[mine] > self.floor[mine]
        up, down = mine[low & (over == batch - 1)].tolist(), mine[high & (over == 1)].tolist()
        # What cannot be traded between these goes to or comes from a bucket that is short anyway.
        up += mine[low & (over > 0) & (over < batch - 1)].tolist()[: max(0, len(down) - len(up))]
        down += mine[high & (over > 1)].tolist()[: max(0, len(up) - len(down))]
        for raised, lowered in zip(up, down, strict=False):
            self.uses[raised] += 1
            self.uses[lowered] -= 1
