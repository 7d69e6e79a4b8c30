"""Tests of core/data/order.py: every picture as often as promised, whatever is asked for and when."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.data.order import Batch, Group, Order, batches_in, groups_of

BUCKETS = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(lambda x: np.sort(np.array(x, dtype=np.int32)))


@st.composite
def groups(draw: st.DrawFn) -> list[Group]:
    made, start = [], 0
    for bucket in sorted(draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))):
        count = draw(st.integers(1, 30))
        made.append(Group(bucket, start, count, draw(st.integers(0, 70))))
        start += count
    if not any(group.uses for group in made):
        made[0] = Group(made[0].bucket, 0, made[0].count, 1)
    return made


def epoch_of(order: Order, epoch: int) -> list[Batch]:
    start = epoch * order.batches_per_epoch
    return [order.batch(start + place) for place in range(order.batches_per_epoch)]


@settings(deadline=None, max_examples=60)
@given(BUCKETS, st.integers(1, 9), st.integers(0, 2**53), st.integers(0, 3))
def test_each_picture_once_an_epoch_in_batches_of_one_bucket(
    buckets: NDArray[np.int32], batch: int, seed: int, epoch: int
) -> None:
    order = Order(groups_of(buckets), batch, seed)
    batches = [one.rows for one in epoch_of(order, epoch)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(buckets)))
    assert all(1 <= len(rows) <= batch for rows in batches)
    assert all(len(set(buckets[rows].tolist())) == 1 for rows in batches)
    counts = np.bincount(buckets)
    assert len(batches) == order.batches_per_epoch == batches_in(counts, batch)
    assert order.uses_per_epoch == len(buckets)
    short = [rows for rows in batches if len(rows) < batch]
    assert len({int(buckets[rows[0]]) for rows in short}) == len(short)
    assert all(one.turns.tolist() == [epoch] * len(one.rows) for one in epoch_of(order, epoch))


@settings(deadline=None, max_examples=60)
@given(groups(), st.integers(1, 7), st.integers(0, 99))
def test_groups_are_used_as_often_as_promised_and_their_pictures_take_turns(
    made: list[Group], batch: int, seed: int
) -> None:
    order = Order(made, batch, seed)
    total: Counter[int] = Counter()
    named: set[tuple[int, int]] = set()
    for epoch in range(5):
        once: Counter[int] = Counter()
        for one in epoch_of(order, epoch):
            once.update(one.rows.tolist())
            uses = list(zip(one.rows.tolist(), one.turns.tolist(), strict=True))
            assert not named & set(uses)  # no use has the name of another one
            named |= set(uses)
        for group in made:
            counts = [once[row] for row in range(group.start, group.start + group.count)]
            assert sum(counts) == group.uses
            low = group.uses // group.count
            assert all(low - 1 <= count <= low + 2 for count in counts)
            if group.uses % group.count == 0:
                assert set(counts) == {low}
        total.update(once)
    for group in made:
        counts = [total[row] for row in range(group.start, group.start + group.count)]
        assert max(counts) - min(counts) <= 1


def test_who_comes_in_an_epoch_is_drawn() -> None:
    order = Order([Group(0, 0, 100, 10)], 5, 4)
    first = [row for one in epoch_of(order, 0) for row in one.rows.tolist()]
    other = [row for one in epoch_of(Order([Group(0, 0, 100, 10)], 5, 5), 0) for row in one.rows.tolist()]
    assert len(set(first)) == 10 and sorted(first) != list(range(10)) and sorted(first) != sorted(other)
    rest = [row for epoch in range(10) for one in epoch_of(order, epoch) for row in one.rows.tolist()]
    assert sorted(rest) == list(range(100))


@settings(deadline=None, max_examples=40)
@given(groups(), st.integers(1, 5), st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_the_answer_does_not_depend_on_what_was_asked_before(made: list[Group], batch: int, numbers: list[int]) -> None:
    used = Order(made, batch, 7)
    for number in numbers:
        again, fresh = used.batch(number), Order(made, batch, 7).batch(number)
        assert again.rows.tolist() == fresh.rows.tolist() and again.turns.tolist() == fresh.turns.tolist()
        assert (again.number, again.epoch, again.position) == (number, *divmod(number, used.batches_per_epoch))


def test_epochs_and_seeds_differ() -> None:
    parts = groups_of(np.repeat(np.arange(4, dtype=np.int32), 25))
    order = Order(parts, 4, 1)
    made = [tuple(row for one in epoch_of(order, epoch) for row in one.rows.tolist()) for epoch in range(4)]
    made.append(tuple(row for one in epoch_of(Order(parts, 4, 2), 0) for row in one.rows.tolist()))
    assert len(set(made)) == 5


def test_batches_of_different_buckets_are_mixed_and_regrouped() -> None:
    buckets = np.repeat(np.arange(2, dtype=np.int32), 400)
    order = Order(groups_of(buckets), 8, 3)
    first, second = ([one.rows for one in epoch_of(order, epoch)] for epoch in (0, 1))
    turns = sum(buckets[a[0]] != buckets[b[0]] for a, b in itertools.pairwise(first))
    assert turns > 25  # of 99 borders about half
    assert not {frozenset(one.tolist()) for one in first} & {frozenset(one.tolist()) for one in second}


def test_the_last_batch_of_a_hundred_million_is_there_at_once() -> None:
    order = Order([Group(0, 0, 80_000_000, 80_000_000), Group(1, 80_000_000, 20_000_000, 20_000_000)], 4, 0)
    last = order.batch(order.batches_per_epoch * 3 - 1)
    assert len(last.rows) == 4 and last.epoch == 2 and last.rows.max() < 100_000_000


@pytest.mark.parametrize(
    ("made", "batch", "seed"),
    [
        ([], 1, 0),
        ([Group(0, 0, 4, 0)], 1, 0),
        ([Group(0, 0, 0, 4)], 1, 0),
        ([Group(0, 0, 1, 1)], 0, 0),
        ([Group(0, 0, 1, 1)], 1, -1),
        ([Group(-1, 0, 1, 1)], 1, 0),
    ],
)
def test_impossible_orders_are_refused(made: list[Group], batch: int, seed: int) -> None:
    with pytest.raises(ValueError, match="needs pictures"):
        Order(made, batch, seed)


def test_groups_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="order of their buckets"):
        Order([Group(1, 0, 1, 1), Group(0, 1, 1, 1)], 1, 0)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0"):
        Order([Group(0, 0, 1, 1)], 1, 0).batch(-1)
