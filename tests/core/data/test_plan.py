"""Tests of core/data/plan.py: a plan is found again as it was, or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.data import plan as plans
from core.data.order import Group
from core.data.plan import Plan, name_of, open_plan, save_plan


def make(count: int = 6) -> Plan:
    rows = np.arange(count)
    return Plan(
        ids=rows.astype(np.int64) + 10,
        sizes=np.stack([rows + 100, rows + 90], axis=1).astype(np.int32),
        resized=np.full((count, 2), (80, 72), dtype=np.int32),
        corner=np.full((count, 2), (8, 4), dtype=np.int32),
        bucket=np.array([0] * 3 + [1] * (count - 3), dtype=np.int32),
        rule=np.zeros(count, dtype=np.int32),
        content=np.stack([rows * 7, rows], axis=1).astype(np.uint64),
        alpha=rows % 2 == 0,
        buckets=[(64, 64), (64, 48)],
        groups=[Group(0, 0, 3, 3), Group(1, 3, 2, 4)],
        trained=5,
        validation=np.array([5]),
        probe=np.array([2]),
        skipped=1,
    )


def test_a_plan_is_mapped_as_it_was_saved(tmp_path: Path) -> None:
    made = make()
    saved = save_plan(made, tmp_path / "plans" / "a")
    for found in (saved, open_plan(tmp_path / "plans" / "a")):
        assert found is not None and isinstance(found.content, np.memmap)
        for name in ("ids", "sizes", "resized", "corner", "bucket", "rule", "content", "alpha", "validation", "probe"):
            assert np.array_equal(getattr(found, name), getattr(made, name)), name
        assert (found.buckets, found.groups, found.trained, found.skipped) == (made.buckets, made.groups, 5, 1)
        assert found.fingerprint() == made.fingerprint()
    assert saved.fit(4).bucket == (64, 48)
    assert saved.fit(4).crop == (8, 4, 72, 52)
    assert bytes.fromhex(saved.content_hash(3)) == (21).to_bytes(8, "little") + (3).to_bytes(8, "little")
    assert saved.bucket_sides(np.array([0, 4])).tolist() == [[64, 64], [64, 48]]


@pytest.mark.parametrize("missing", ["plan.json", "corner.npy"])
def test_a_plan_that_is_not_whole_is_none(tmp_path: Path, missing: str) -> None:
    save_plan(make(), tmp_path / "a")
    (tmp_path / "a" / missing).unlink()
    assert open_plan(tmp_path / "a") is None


def test_a_plan_with_a_column_of_another_length_is_none(tmp_path: Path) -> None:
    save_plan(make(), tmp_path / "a")
    np.save(tmp_path / "a" / "rule.npy", np.zeros(5, dtype=np.int32))
    assert open_plan(tmp_path / "a") is None


def test_the_fingerprint_tells_what_is_trained(tmp_path: Path) -> None:
    made = make()
    content = made.content.copy()
    content[5] += 1  # only measured
    assert replace(made, content=content).fingerprint() == made.fingerprint()
    content[4] += 1
    assert replace(made, content=content).fingerprint() != made.fingerprint()
    assert replace(made, corner=made.corner + 1).fingerprint() != made.fingerprint()
    assert replace(made, groups=[Group(0, 0, 3, 6), made.groups[1]]).fingerprint() != made.fingerprint()


def test_old_plans_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_KEPT", 2)
    for number in range(4):
        save_plan(make(), tmp_path / str(number))
        os.utime(tmp_path / str(number), (number, number))
    save_plan(make(), tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "new"]


def test_names_hang_on_every_part() -> None:
    assert len({name_of("a", 1), name_of("a", 2), name_of("b", 1), name_of("a", [1]), name_of({"x": 1})}) == 5
    assert name_of({"a": 1, "b": 2}) == name_of({"b": 2, "a": 1})
