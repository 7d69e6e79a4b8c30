"""Tests of core/data/order.py: every picture once an epoch, whatever is asked for and when."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.data.order import Order, batches_in

BUCKETS = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(lambda x: np.array(x, dtype=np.int32))


def epoch_of(order: Order, epoch: int) -> list[NDArray[np.int64]]:
    start = epoch * order.batches_per_epoch
    return [order.batch(start + place).indices for place in range(order.batches_per_epoch)]


@settings(deadline=None)
@given(BUCKETS, st.integers(1, 9), st.integers(0, 2**53), st.integers(0, 3))
def test_each_picture_once_an_epoch_in_batches_of_one_bucket(
    buckets: NDArray[np.int32], batch: int, seed: int, epoch: int
) -> None:
    order = Order(buckets, batch, seed)
    batches = epoch_of(order, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(buckets)))
    assert all(1 <= len(indices) <= batch for indices in batches)
    assert all(len(set(buckets[indices].tolist())) == 1 for indices in batches)
    counts = np.bincount(buckets)
    assert len(batches) == order.batches_per_epoch == sum(-(-int(c) // batch) for c in counts)
    assert order.batches_per_epoch == batches_in(counts, batch)
    short = [indices for indices in batches if len(indices) < batch]
    assert len({int(buckets[indices[0]]) for indices in short}) == len(short)


@settings(deadline=None)
@given(BUCKETS, st.integers(1, 5), st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_the_answer_does_not_depend_on_what_was_asked_before(
    buckets: NDArray[np.int32], batch: int, numbers: list[int]
) -> None:
    used = Order(buckets, batch, 7)
    for number in numbers:
        again = used.batch(number)
        fresh = Order(buckets, batch, 7).batch(number)
        assert again.indices.tolist() == fresh.indices.tolist()
        assert (again.number, again.epoch, again.position) == (
            number,
            number // used.batches_per_epoch,
            number % used.batches_per_epoch,
        )


def test_epochs_and_seeds_differ() -> None:
    buckets = np.repeat(np.arange(4, dtype=np.int32), 25)
    order = Order(buckets, 4, 1)
    orders = [np.concatenate(epoch_of(order, epoch)).tolist() for epoch in range(4)]
    orders.append(np.concatenate(epoch_of(Order(buckets, 4, 2), 0)).tolist())
    assert len({tuple(one) for one in orders}) == 5


def test_batches_of_different_buckets_are_mixed_and_regrouped() -> None:
    buckets = np.repeat(np.arange(2, dtype=np.int32), 400)
    order = Order(buckets, 8, 3)
    first, second = epoch_of(order, 0), epoch_of(order, 1)
    turns = sum(buckets[a[0]] != buckets[b[0]] for a, b in itertools.pairwise(first))
    assert turns > 25  # of 99 borders about half
    assert not {frozenset(one.tolist()) for one in first} & {frozenset(one.tolist()) for one in second}


def test_more_buckets_than_16_bits_hold() -> None:
    buckets = np.array([70_000, 3, 70_000, 4_464], dtype=np.int32)  # 70000 - 65536 = 4464
    batches = {tuple(sorted(indices.tolist())) for indices in epoch_of(Order(buckets, 2, 0), 0)}
    assert batches == {(0, 2), (1,), (3,)}


@pytest.mark.parametrize(("buckets", "batch", "seed"), [([], 1, 0), ([0], 0, 0), ([0], 1, -1), ([-1], 1, 0)])
def test_impossible_orders_are_refused(buckets: list[int], batch: int, seed: int) -> None:
    with pytest.raises(ValueError, match="needs pictures"):
        Order(np.array(buckets, dtype=np.int32), batch, seed)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0"):
        Order(np.array([0], dtype=np.int32), 1, 0).batch(-1)
