"""Tests of core/data/uses.py: as often as promised, in whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.data.buckets import plan_fits
from core.data.least_crop import Plain
from core.data.order import Group, Order
from core.data.uses import rates_of, uses_per_epoch
from core.settings import default_settings
from core.settings.folder_rules import FolderRules

RULES = st.lists(
    st.one_of(
        st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 10.0]).map(lambda value: FolderRules(repeats=value)),
        st.integers(1, 50).map(lambda value: FolderRules(sample=value)),
    ),
    min_size=1,
    max_size=4,
)


@hypothesis_settings(deadline=None)
@given(RULES, st.integers(1, 300), st.integers(1, 9), st.integers(0, 1000))
def test_sums_are_as_promised_and_shares_equal(rules: list[FolderRules], count: int, batch: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rule, bucket = generator.integers(0, len(rules), count), generator.integers(0, 5, count)
    found = uses_per_epoch(rule, bucket, rules, batch)
    assert np.all(np.diff(found.bucket.astype(int) * len(rules) + found.rule) > 0)
    for number, one in enumerate(rules):
        mine, pictures = found.rule == number, int((rule == number).sum())
        promised = (one.sample or int(one.repeats * pictures + 0.5)) if pictures else 0
        assert found.pictures[mine].sum() == pictures
        assert found.uses[mine].sum() == promised
        if pictures:
            exact = found.pictures[mine] * promised / pictures
            assert np.all(np.abs(found.uses[mine] - exact) < 1)
    for group in range(len(found.bucket)):
        same = (rule == found.rule[group]) & (bucket == found.bucket[group])
        assert same.sum() == found.pictures[group]
    assert found.of_buckets(5).tolist() == [int(found.uses[found.bucket == b].sum()) for b in range(5)]


def test_fractions_go_where_they_fill_batches() -> None:
    rule, bucket = np.zeros(10, dtype=int), np.array([0] * 5 + [1] * 5)
    assert uses_per_epoch(rule, bucket, [FolderRules(repeats=0.5)], 1).uses.tolist() == [3, 2]
    bucket = np.array([0] * 3 + [1] * 3)
    found = uses_per_epoch(rule[:6], bucket, [FolderRules(repeats=2.5)], 8)
    assert sorted(found.uses.tolist()) == [7, 8]


def test_rates() -> None:
    rules = [FolderRules(repeats=2.5), FolderRules(sample=3)]
    rule = np.array([0, 0, 1, 1, 1, 1])
    rates = rates_of(rule, np.array([0, 1, 3, 4]), rules)
    assert rates is not None and rates.tolist() == pytest.approx([2.5, 2.5, 0, 1.5, 1.5, 0])
    assert rates_of(np.zeros(4, dtype=int), np.arange(4), [FolderRules()]) is None
    part = rates_of(np.zeros(4, dtype=int), np.array([1, 2]), [FolderRules()])
    assert part is not None and part.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("batch", [1, 4])
def test_over_the_epochs_every_picture_comes_as_often_as_promised(batch: int) -> None:
    """Buckets, uses and order together: counted picture by picture."""
    rules = [FolderRules(), FolderRules(repeats=3), FolderRules(repeats=0.5), FolderRules(sample=6)]
    generator = np.random.default_rng(0)
    count = 120
    rule = generator.integers(0, 4, count).astype(np.int32)
    pictures = Plain(generator.integers(200, 2000, (count, 2)), generator.integers(0, 2**64, (count, 2), np.uint64))
    settings = default_settings()
    settings.training.batch_size = batch
    bucket = plan_fits(pictures, settings, rates_of(rule, np.arange(count), rules)).bucket
    rows = np.lexsort((rule, bucket))
    found = uses_per_epoch(rule, bucket, rules, batch)
    starts = np.cumsum(found.pictures) - found.pictures
    columns = (found.bucket.tolist(), starts.tolist(), found.pictures.tolist(), found.uses.tolist())
    order = Order([Group(*values) for values in zip(*columns, strict=True)], batch, 7)
    epochs, counts = 60, np.zeros(count)
    per_epoch = np.zeros(4)
    for number in range(epochs * order.batches_per_epoch):
        used = rows[order.batch(number).rows]
        assert len(set(bucket[used].tolist())) == 1
        np.add.at(counts, used, 1)
        if number < order.batches_per_epoch:
            np.add.at(per_epoch, rule[used], 1)
    pictures_of = np.bincount(rule)
    assert per_epoch.tolist() == [pictures_of[0], 3 * pictures_of[1], int(pictures_of[2] / 2 + 0.5), 6]
    assert np.all(counts[rule == 0] == epochs) and np.all(counts[rule == 1] == 3 * epochs)
    for group in range(len(found.bucket)):
        mine = counts[(bucket == found.bucket[group]) & (rule == found.rule[group])]
        assert mine.max() - mine.min() <= 1
        assert mine.sum() == epochs * found.uses[group]
