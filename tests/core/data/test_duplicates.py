"""Tests of core/data/duplicates.py: against a comparison of all with all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.data import duplicates
from core.data.columns import PHASH_KNOWN
from core.data.duplicates import exact_groups, extra, groups, listed, near_pairs, several


def columns(phash: object, signature: object = None, known: object = True) -> Any:
    """As much of Columns as duplicates look at."""
    values = np.array(phash, dtype=np.uint64)
    count = len(values)
    names = np.arange(count) if signature is None else np.array(signature)
    flags = np.where(np.broadcast_to(known, count), PHASH_KNOWN, 0).astype(np.uint8)
    pairs = np.stack([names, names * 3], axis=1).astype(np.uint64).reshape(-1, 2)
    return SimpleNamespace(signature=pairs, phash=values, flags=flags)


def slowly(given_: Any, distance: int) -> list[int]:
    """The lowest row of each row's group, by comparing all with all and passing on the lower number."""
    count = len(given_.phash)
    label = list(range(count))
    pairs = [
        (one, other)
        for one in range(count)
        for other in range(one)
        if (given_.signature[one] == given_.signature[other]).all()
        or (
            given_.flags[one] & given_.flags[other] & PHASH_KNOWN
            and int(given_.phash[one] ^ given_.phash[other]).bit_count() <= distance
        )
    ]
    while True:
        before = list(label)
        for one, other in pairs:
            label[one] = label[other] = min(label[one], label[other])
        if label == before:
            return label


def clustered(count: int, seed: int) -> NDArray[np.uint64]:
    """Hashes by chance, many of them a few bits away from another."""
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 2**64, count, dtype=np.uint64)
    for _ in range(3):
        changed = generator.integers(0, count, count // 2)
        flips = np.uint64(1) << generator.integers(0, 64, (6, len(changed)), dtype=np.uint64)
        flips[generator.integers(0, 7) :] = 0
        values[changed] = values[generator.integers(0, count, len(changed))] ^ np.bitwise_xor.reduce(flips)
    return values


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_groups_as_by_comparing_all_with_all(seed: int, distance: int) -> None:
    generator = np.random.default_rng(seed)
    made = columns(clustered(160, seed), generator.integers(0, 150, 160), generator.random(160) < 0.9)
    assert groups(made, distance).tolist() == slowly(made, distance)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 31), st.integers(0, 20)), max_size=40))
def test_any_hashes(pairs: list[tuple[int, int]]) -> None:
    made = columns([phash for phash, _ in pairs], [name for _, name in pairs])
    assert groups(made, 4).tolist() == slowly(made, 4)


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_every_number_of_blocks_finds_all_pairs(kept: int) -> None:
    """Which is taken hangs on the number of hashes; here each is."""
    values = np.unique(clustered(300, 5))
    blocks = duplicates._blocks(4, kept)
    assert duplicates._keys(12_400_000, 4) in (duplicates._blocks(4, 2), duplicates._blocks(4, 3))
    found = set()
    for key in blocks:
        left, right = duplicates._near(values, key, 4)
        found |= {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}
    near = {
        frozenset((int(one), int(other)))
        for number, one in enumerate(values)
        for other in values[:number]
        if int(one ^ other).bit_count() <= 4
    }
    assert found == near and near


def test_runs_over_the_border_of_a_chunk_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.unique(clustered(300, 1))
    whole = {tuple(sorted(pair)) for pair in zip(*map(np.ndarray.tolist, near_pairs(values, 4)), strict=True)}
    monkeypatch.setattr(duplicates, "_CHUNK", 7)
    small = {tuple(sorted(pair)) for pair in zip(*map(np.ndarray.tolist, near_pairs(values, 4)), strict=True)}
    assert small == whole and whole


def test_a_huge_clump_is_one_group_without_comparing_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 blank pictures and 8,000 of nearly equal hashes: 6 x 10^9 pairs, which nobody compares."""
    compared = []
    real = np.bitwise_count
    monkeypatch.setattr(duplicates.np, "bitwise_count", lambda bits: (compared.append(len(bits)), real(bits))[1])
    near = np.random.default_rng(0).integers(0, 2**14, 8_000, dtype=np.uint64) << np.uint64(20)
    found = groups(columns(np.concatenate([np.zeros(100_000, dtype=np.uint64), near])), 4)
    assert (found == 0).mean() > 0.999
    assert sum(compared) < 8_000 * 200 * 15


def test_exact_duplicates_need_both_numbers() -> None:
    signature = np.array([[1, 1], [1, 2], [1, 1], [2, 1], [1, 2]], dtype=np.uint64)
    assert exact_groups(signature).tolist() == [0, 1, 0, 3, 1]


def test_listed_largest_first() -> None:
    found = np.array([0, 1, 0, 3, 1, 0, 6])
    assert [rows.tolist() for rows in listed(found)] == [[0, 2, 5], [1, 4]]
    assert [rows.tolist() for rows in listed(found, 1)] == [[0, 2, 5]]
    assert extra(found) == 3 and several(found).tolist() == [True, True, True, False, True, True, False]
    assert listed(np.arange(4)) == [] and extra(np.arange(4)) == 0
    assert groups(columns([])).tolist() == [] and listed(groups(columns([]))) == []
