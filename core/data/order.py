"""The order of training: which pictures make up batch number N, a pure function of buckets and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """One global micro-batch.

    Attributes:
        number: Counted over the whole run, from 0.
        epoch: From 0.
        position: Within the epoch, from 0.
        indices: int64, positions in the list of training pictures; all of one bucket, in the order of
        training.
    """

    number: int
    epoch: int
    position: int
    indices: NDArray[np.int64]


def batches_in(counts: NDArray[np.integer], batch: int) -> int:
    """How many batches an epoch has when the buckets hold `counts` pictures; a bucket's last may be short."""
    return int((-(-counts // batch)).sum())


class Order:
    """Every picture once an epoch, in batches of one bucket, in a new order each epoch.

    Any batch can be asked for at any time with the same answer, so a run can be resumed anywhere and every
    process of a distributed run works out the same order by itself. The plan of the epoch last asked for is
    kept.
    """

    def __init__(self, buckets: NDArray[np.int32], batch: int, seed: int) -> None:
        """
        Args:
            buckets: (N,) bucket number of every training picture, from 0.
            batch: Pictures in a global micro-batch (batch size x processes).
            seed: The run's seed, 0 or more.

        Raises:
            ValueError: no pictures, a negative bucket or seed, or a batch below 1.
        """
        if not len(buckets) or batch < 1 or seed < 0 or int(buckets.min()) < 0:
            raise ValueError("an order needs pictures in buckets from 0 on, a batch from 1 on, a seed from 0 on")
        # 16-bit numbers are sorted by radix, three times as fast as wider ones.
        narrow = np.uint16 if int(buckets.max()) < 2**16 else np.int64
        self._buckets: NDArray[np.integer] = np.ascontiguousarray(buckets, dtype=narrow)
        self._seed = seed
        counts = np.bincount(self._buckets)
        batches = -(-counts // batch)
        first_picture = np.cumsum(counts) - counts
        ordinal = np.arange(batches.sum()) - np.repeat(np.cumsum(batches) - batches, batches)
        self._starts = np.repeat(first_picture, batches) + ordinal * batch
        self._stops = np.minimum(self._starts + batch, np.repeat(first_picture + counts, batches))
        self._planned_epoch = -1
        self._pictures: NDArray[np.integer] = np.empty(0, dtype=np.int64)
        self._turns: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    @property
    def batches_per_epoch(self) -> int:
        """Global micro-batches in an epoch, the short ones counted."""
        return len(self._starts)

    def batch(self, number: int) -> Batch:
        """The batch of that number; fast within an epoch, one shuffle of all pictures at its border.

        Raises ValueError for a negative number.
        """
        if number < 0:
            raise ValueError("batches are numbered from 0")
        epoch, position = divmod(number, self.batches_per_epoch)
        if epoch != self._planned_epoch:
            self._plan(epoch)
        turn = int(self._turns[position])
        indices = self._pictures[self._starts[turn] : self._stops[turn]].astype(np.int64)
        return Batch(number, epoch, position, indices)

    def _plan(self, epoch: int) -> None:
        """Shuffle pictures, group them by bucket (a stable sort keeps the shuffle), shuffle the batches."""
        generator = np.random.Generator(np.random.Philox(key=np.array([self._seed, epoch], dtype=np.uint64)))
        shuffled = generator.permutation(len(self._buckets))
        grouped = shuffled[np.argsort(self._buckets[shuffled], kind="stable")]
        self._pictures = grouped.astype(np.int32) if len(grouped) < 2**31 else grouped
        self._turns = generator.permutation(self.batches_per_epoch)
        self._planned_epoch = epoch
