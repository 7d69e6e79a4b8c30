"""Tests of core/data/shuffle.py: computed shuffles are permutations, fair, and other for each key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.shuffle import key_of, mix, shuffled


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_each_number_comes_once(size: int, key: int) -> None:
    assert sorted(shuffled(np.arange(size), size, key).tolist()) == list(range(size))


@given(st.integers(2, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_places_can_be_asked_for_alone(size: int, wanted: list[int]) -> None:
    places = np.array([place % size for place in wanted])
    together = shuffled(places, size, 11)
    assert together.tolist() == [int(shuffled(np.array([place]), size, 11)[0]) for place in places]
    assert together.min() >= 0 and together.max() < size


@pytest.mark.parametrize("size", [3, 7, 12])
def test_every_number_comes_to_every_place_and_behind_every_other_equally_often(size: int) -> None:
    trials = 1500 * size
    at, behind = np.zeros((size, size)), np.zeros((size, size))
    for trial in range(trials):
        found = shuffled(np.arange(size), size, key_of(3, trial))
        at[np.arange(size), found] += 1
        behind[found[:-1], found[1:]] += 1
    # 1,500 expected a cell: a standard deviation of 2.6 %.
    assert np.abs(at / 1500 - 1).max() < 0.15
    pairs = behind[~np.eye(size, dtype=bool)] * size / trials
    assert np.abs(pairs - 1).max() < 0.15 * np.sqrt(size)


def test_keys_differ_by_each_part_and_their_order() -> None:
    keys = {key_of(), key_of(0), key_of(1), key_of(0, 0), key_of(0, 1), key_of(1, 0), key_of(2**63)}
    assert len(keys) == 7
    orders = {tuple(shuffled(np.arange(50), 50, key_of(seed)).tolist()) for seed in range(20)}
    assert len(orders) == 20


def test_the_mix_is_that_of_splitmix64() -> None:
    # The first outputs of splitmix64 with seed 0: the finalizer of multiples of the golden number.
    golden = np.uint64(0x9E3779B97F4A7C15)
    assert mix(np.array([golden, np.uint64(0x3C6EF372FE94F82A)], dtype=np.uint64)).tolist() == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
    ]


@pytest.mark.parametrize("place", [-1, 5])
def test_places_outside_are_refused(place: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 4"):
        shuffled(np.array([place]), 5, 0)
