"""Tests of core/data/split.py: chosen by content, stable, duplicates on one side, roles heeded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.data.rules import BY_CHANCE, CHOSEN, LEFT_OUT, REGULARISATION, TRAIN, VALIDATION
from core.data.split import Split, hashes, held_out_count, limited, split
from core.settings.validation import ValidationSettings

NUMBERS = st.lists(st.integers(0, 60), max_size=80)


def signatures(numbers: object) -> NDArray[np.uint64]:
    """A signature for each number, equal for equal ones."""
    table = np.array(numbers, dtype=np.uint64).reshape(-1)
    return np.stack([table * np.uint64(7919), table + np.uint64(1)], axis=1)


def by_chance(numbers: object, **values: object) -> Split:
    return split(signatures(numbers), None, None, ValidationSettings(**values))


@pytest.mark.parametrize(
    ("pictures", "share", "most", "count"),
    [(100, 0.1, 16, 10), (1000, 0.1, 16, 16), (5, 0.1, 16, 1), (4, 0.1, 16, 0), (4, 0.5, 16, 2),
     (3, 0.5, 16, 1), (100, 0.0, 16, 0), (0, 0.1, 16, 0), (1, 0.5, 16, 0)],
)  # fmt: skip
def test_how_many_are_held_out(pictures: int, share: float, most: int, count: int) -> None:
    settings_ = ValidationSettings(share=share, max_pictures=most)
    assert held_out_count(pictures, settings_) == count
    assert len(by_chance(range(pictures), share=share, max_pictures=most).validation) == count


def reference(first: int, second: int, seed: int) -> int:
    """The documented hash, in Python's own integers."""
    mask = 2**64 - 1

    def mix(value: int) -> int:
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & mask
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB & mask
        return value ^ (value >> 31)

    key = mix((0x9E3779B97F4A7C15 + seed + 1) & mask)
    return mix((mix(first ^ key) + second) & mask)


def test_the_hash_is_the_documented_one_on_every_machine() -> None:
    pairs = [(0, 0), (1, 0), (0, 1), (2**64 - 1, 2**63), (12345, 2**64 - 1)]
    for seed in (0, 7, 2**53):
        found = hashes(np.array(pairs, dtype=np.uint64), seed).tolist()
        assert found == [reference(first, second, seed) for first, second in pairs]


@settings(deadline=None)
@given(NUMBERS, st.floats(0, 0.5), st.integers(1, 20), st.integers(0, 5))
def test_every_picture_is_on_one_side_and_duplicates_together(
    numbers: list[int], share: float, most: int, seed: int
) -> None:
    parts = by_chance(numbers, share=share, max_pictures=most, seed=seed)
    train, validation = parts.train.tolist(), parts.validation.tolist()
    assert sorted(train + validation) == list(range(len(numbers)))
    assert not {numbers[place] for place in train} & {numbers[place] for place in validation}
    assert len(validation) <= len(numbers) // 2
    assert set(parts.probe.tolist()) <= set(train)
    probed = [numbers[place] for place in parts.probe]
    assert len(probed) == len(set(probed)) == min(len(validation), len({numbers[p] for p in train}))


def test_places_and_names_do_not_matter_only_contents() -> None:
    numbers = list(range(200))
    forwards, backwards = by_chance(numbers), by_chance(numbers[::-1])
    for part in ("validation", "probe"):
        turned = [numbers[::-1][place] for place in getattr(backwards, part)]
        assert getattr(forwards, part).tolist() == turned


def test_added_pictures_push_out_few() -> None:
    before = set(by_chance(range(1000)).validation.tolist())
    after = set(by_chance(range(1020)).validation.tolist())
    assert len(before - after) == len(after - before) <= 3
    assert after - before <= set(range(1000, 1020))


def test_the_seed_changes_the_choice() -> None:
    choices = {tuple(by_chance(range(100), seed=seed).validation) for seed in range(4)}
    assert len(choices) == 4


def test_a_group_of_duplicates_too_large_gives_way_to_others() -> None:
    for seed in range(20):
        parts = by_chance([*[99] * 15, *range(15)], share=0.1, seed=seed)
        assert len(parts.validation) == 3
        assert min(parts.validation.tolist()) >= 15


def test_pairs_alone_still_give_a_validation() -> None:
    parts = by_chance([name for name in range(4) for _ in range(2)], share=0.1)
    assert len(parts.validation) == 2


def test_near_duplicates_stay_together_though_their_signatures_differ() -> None:
    groups = np.arange(300) // 3
    for seed in range(10):
        parts = split(signatures(range(300)), groups, None, ValidationSettings(seed=seed, max_pictures=30))
        assert not set(groups[parts.train].tolist()) & set(groups[parts.validation].tolist())
        assert len(parts.validation) == 30
        assert len(set(groups[parts.probe].tolist())) == len(parts.probe) == 30


def test_roles_are_heeded() -> None:
    roles = np.array([BY_CHANCE] * 60 + [TRAIN] * 20 + [REGULARISATION] * 20 + [LEFT_OUT] * 5)
    parts = split(signatures(range(105)), None, roles, ValidationSettings(share=0.5, max_pictures=50))
    assert len(parts.validation) == 30 and parts.validation.max() < 60
    assert set(range(60, 100)) <= set(parts.train.tolist())
    assert not set(range(100, 105)) & {*parts.train.tolist(), *parts.validation.tolist()}
    assert parts.probe.max() < 80


def test_a_held_out_folder_takes_the_place_of_chance_and_is_measured_in_part() -> None:
    roles = np.array([BY_CHANCE] * 80 + [VALIDATION] * 20)
    parts = split(signatures(range(100)), None, roles, ValidationSettings(max_pictures=8))
    assert sorted(parts.validation.tolist()) == list(range(80, 100))
    assert parts.train.tolist() == list(range(80))
    assert len(parts.probe) == 8


def test_pictures_chosen_by_hand_count_towards_the_share() -> None:
    roles = np.full(100, BY_CHANCE)
    roles[[3, 50]] = CHOSEN
    parts = split(signatures(range(100)), None, roles, ValidationSettings())
    assert {3, 50} < set(parts.validation.tolist()) and len(parts.validation) == 10


def test_a_duplicate_of_a_held_out_picture_is_held_out_and_one_of_a_trained_is_trained() -> None:
    roles = np.array([CHOSEN, BY_CHANCE, VALIDATION, TRAIN, CHOSEN, REGULARISATION, BY_CHANCE])
    groups = np.array([0, 0, 1, 1, 2, 2, 3])
    parts = split(signatures(range(7)), groups, roles, ValidationSettings(share=0))
    assert sorted(parts.validation.tolist()) == [0, 1]
    assert parts.train.tolist() == [2, 3, 4, 5, 6]


def test_millions_are_no_loop() -> None:
    """A pass in Python over a million rows would take many times as long as the whole suite may."""
    parts = split(signatures(np.arange(1_000_000)), None, None, ValidationSettings(max_pictures=10_000))
    assert len(parts.validation) == len(parts.probe) == 10_000
    assert len(parts.train) == 990_000


def test_smaller_parts_of_the_pictures_nest_and_leave_the_held_out_ones_alone() -> None:
    signature = np.random.default_rng(5).integers(0, 2**64, (300, 2), dtype=np.uint64)
    page = ValidationSettings()
    whole = split(signature, None, None, page)
    parts = {count: limited(whole, signature, count, page.seed) for count in (20, 50, 100, 1000, 0)}
    for count, part in parts.items():
        assert len(part.train) == (min(count, len(whole.train)) or len(whole.train))
        assert part.validation.tolist() == whole.validation.tolist()
        assert set(part.probe.tolist()) <= set(part.train.tolist())
        assert len(part.probe) == min(len(whole.probe), len(part.train))
    assert set(parts[20].train.tolist()) < set(parts[50].train.tolist()) < set(parts[100].train.tolist())
    more = np.concatenate([np.random.default_rng(6).integers(0, 2**64, (9, 2), dtype=np.uint64), signature])
    again = limited(split(more, None, None, page), more, 100, page.seed)
    assert len(set((again.train - 9).tolist()) & set(parts[100].train.tolist())) > 90
