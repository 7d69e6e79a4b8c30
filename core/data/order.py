"""The order of training: which pictures make up batch number N, a pure function of the groups and the seed.

Nothing is kept for an epoch and nothing is shuffled in memory (core/data/shuffle.py), so that batch 700,000 of twelve
million pictures comes as fast as the first, in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.shuffle import key_of, shuffled


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures of one bucket that are used equally often; they stand side by side in the list of training pictures.

    Attributes:
        bucket: Number of the bucket, from 0.
        start: Place of the first one.
        count: How many there are.
        uses: Uses in an epoch of all of them together. With as many uses as pictures each comes once an epoch; with
            fewer or more they take turns, so that over the epochs each comes as often as the others.
    """

    bucket: int
    start: int
    count: int
    uses: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One global micro-batch.

    Attributes:
        number: Counted over the whole run, from 0.
        epoch: From 0.
        position: Within the epoch, from 0.
        rows: int64, places in the list of training pictures; all of one bucket, in the order of training.
        turns: int64, how often each of these pictures was used before in the run; with its content and the seed it
            names a use.
    """

    number: int
    epoch: int
    position: int
    rows: NDArray[np.int64]
    turns: NDArray[np.int64]


def batches_in(counts: NDArray[np.integer], batch: int) -> int:
    """How many batches an epoch has when the buckets have `counts` uses; a bucket's last may be short."""
    return int((-(-counts // batch)).sum())


def groups_of(buckets: NDArray[np.integer], uses: NDArray[np.integer] | None = None) -> list[Group]:
    """One group a bucket for pictures that stand in order of their buckets, each used once (or `uses` a bucket)."""
    numbers, starts, counts = np.unique(np.asarray(buckets), return_index=True, return_counts=True)
    found = zip(numbers.tolist(), starts.tolist(), counts.tolist(), strict=True)
    return [Group(b, start, count, count if uses is None else int(uses[b])) for b, start, count in found]


class Order:
    """Every picture as often as promised each epoch, in batches of one bucket, in a new order each epoch.

    Any batch can be asked for at any time with the same answer, so a run can be resumed anywhere and every process of
    a distributed run works out the same order by itself.
    """

    def __init__(self, groups: Sequence[Group], batch: int, seed: int) -> None:
        """
        Args:
            groups: In order of their buckets; those of one bucket side by side.
            batch: Pictures in a global micro-batch (batch size x processes).
            seed: The run's seed, 0 or more.

        Raises:
            ValueError: nothing to use, an impossible group, a batch below 1 or a seed below 0.
        """
        used = [group for group in groups if group.uses > 0]
        if not used or batch < 1 or seed < 0 or any(group.count < 1 or group.bucket < 0 for group in used):
            raise ValueError("an order needs pictures in buckets from 0 on, a batch from 1 on, a seed from 0 on")
        self._batch, self._seed = batch, seed
        self._starts = np.array([group.start for group in used], dtype=np.int64)
        self._counts = np.array([group.count for group in used], dtype=np.int64)
        self._uses = np.array([group.uses for group in used], dtype=np.int64)
        bucket = np.array([group.bucket for group in used], dtype=np.int64)
        if bool((np.diff(bucket) < 0).any()):
            raise ValueError("groups come in order of their buckets")
        self._buckets, first = np.unique(bucket, return_index=True)
        #: Slots: the uses of an epoch, counted through all groups. Where each group and each bucket begins.
        self._slots = np.concatenate([[0], np.cumsum(self._uses)])
        self._bucket_slots = np.concatenate([self._slots[first], self._slots[-1:]])
        batches = -(-np.diff(self._bucket_slots) // batch)
        self._bucket_batches = np.concatenate([[0], np.cumsum(batches)])

    @property
    def batches_per_epoch(self) -> int:
        """Global micro-batches in an epoch, the short ones counted."""
        return int(self._bucket_batches[-1])

    @property
    def uses_per_epoch(self) -> int:
        """Pictures in an epoch, each as often as it is used."""
        return int(self._slots[-1])

    def batch(self, number: int) -> Batch:
        """The batch of that number. Raises ValueError for a negative one."""
        if number < 0:
            raise ValueError("batches are numbered from 0")
        epoch, position = divmod(number, self.batches_per_epoch)
        place = int(shuffled(np.array([position]), self.batches_per_epoch, key_of(self._seed, epoch))[0])
        bucket = int(np.searchsorted(self._bucket_batches, place, side="right")) - 1
        first, last = self._bucket_slots[bucket], self._bucket_slots[bucket + 1]
        start = (place - int(self._bucket_batches[bucket])) * self._batch
        wanted = np.arange(start, min(start + self._batch, int(last - first)))
        key = key_of(self._seed, epoch, int(self._buckets[bucket]) + 1)
        slots = first + shuffled(wanted, int(last - first), key)
        rows, turns = self._pictures(slots, epoch)
        return Batch(number, epoch, position, rows, turns)

    def _pictures(self, slots: NDArray[np.int64], epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, turns) of slots in an epoch.

        The uses of a group over all epochs are one endless stream that goes round and round through its pictures, in a
        new order each round; the round is the picture's turn.
        """
        group = np.searchsorted(self._slots, slots, side="right") - 1
        stream = epoch * self._uses[group] + slots - self._slots[group]
        turns, places = np.divmod(stream, self._counts[group])
        rows = np.empty_like(slots)
        for one, turn in set(zip(group.tolist(), turns.tolist(), strict=True)):
            mine = (group == one) & (turns == turn)
            count = int(self._counts[one])
            # Where not all come in an epoch, who does is drawn; where all do, the order of the slots is enough.
            if int(self._uses[one]) % count:
                rows[mine] = self._starts[one] + shuffled(places[mine], count, key_of(self._seed, turn, one, 1))
            else:
                rows[mine] = self._starts[one] + places[mine]
        return rows, turns
