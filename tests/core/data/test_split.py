"""Tests of core/data/split.py: chosen by content, stable, duplicates on one side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.split import held_out_count, split
from core.settings.validation import ValidationSettings

HASHES = st.lists(st.integers(0, 60).map(str), max_size=80)


def names(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(count)]


@pytest.mark.parametrize(
    ("pictures", "share", "most", "count"),
    [(100, 0.1, 16, 10), (1000, 0.1, 16, 16), (5, 0.1, 16, 1), (4, 0.1, 16, 0), (4, 0.5, 16, 2),
     (3, 0.5, 16, 1), (100, 0.0, 16, 0), (0, 0.1, 16, 0), (1, 0.5, 16, 0)],
)  # fmt: skip
def test_how_many_are_held_out(pictures: int, share: float, most: int, count: int) -> None:
    settings_ = ValidationSettings(share=share, max_pictures=most)
    assert held_out_count(pictures, settings_) == count
    assert len(split(names(pictures), settings_).validation) == count


@settings(deadline=None)
@given(HASHES, st.floats(0, 0.5), st.integers(1, 20), st.integers(0, 5))
def test_every_picture_is_on_one_side_and_duplicates_together(
    hashes: list[str], share: float, most: int, seed: int
) -> None:
    parts = split(hashes, ValidationSettings(share=share, max_pictures=most, seed=seed))
    train, validation = parts.train.tolist(), parts.validation.tolist()
    assert sorted(train + validation) == list(range(len(hashes)))
    assert not {hashes[place] for place in train} & {hashes[place] for place in validation}
    assert len(validation) <= len(hashes) // 2
    assert set(parts.probe.tolist()) <= set(train)
    probed = [hashes[place] for place in parts.probe]
    assert len(probed) == len(set(probed)) == min(len(validation), len({hashes[p] for p in train}))


def test_places_and_names_do_not_matter_only_contents() -> None:
    hashes = names(200)
    forwards, backwards = split(hashes, ValidationSettings()), split(hashes[::-1], ValidationSettings())
    assert [hashes[p] for p in forwards.validation] == [hashes[::-1][p] for p in backwards.validation]
    assert [hashes[p] for p in forwards.probe] == [hashes[::-1][p] for p in backwards.probe]


def test_added_pictures_push_out_few() -> None:
    hashes = names(1000)
    before = {hashes[place] for place in split(hashes, ValidationSettings()).validation}
    more = [*(f"new{number}" for number in range(20)), *hashes]
    after = {more[place] for place in split(more, ValidationSettings()).validation}
    assert len(before - after) == len(after - before) <= 3
    assert after - before <= {f"new{number}" for number in range(20)}


def test_the_seed_changes_the_choice() -> None:
    choices = {tuple(split(names(100), ValidationSettings(seed=seed)).validation) for seed in range(4)}
    assert len(choices) == 4


def test_a_group_of_duplicates_too_large_gives_way_to_others() -> None:
    settings_ = ValidationSettings(share=0.1)
    for seed in range(20):
        settings_.seed = seed
        parts = split([*["same"] * 15, *names(15)], settings_)
        assert len(parts.validation) == 3
        assert min(parts.validation.tolist()) >= 15


def test_pairs_alone_still_give_a_validation() -> None:
    parts = split([name for name in names(4) for _ in range(2)], ValidationSettings(share=0.1))
    assert len(parts.validation) == 2
