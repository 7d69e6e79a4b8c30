"""Tests of core/timestep_losses.py: records survive kills, cuts and full disks; followers see what changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.timestep_fit import smooth_fit, spread
from core.timestep_losses import (
    MOST_RECORDS,
    RECORD,
    LossFollower,
    Recorder,
    Records,
    debiased,
    path_of,
    read,
    stride,
)
from tests.fixtures.small_disk import SmallDisk, small_disk


def records(first: int, last: int, loss: float = 0.5) -> Records:
    """Two records a step, first to last."""
    made = np.empty(2 * (last - first + 1), RECORD)
    made["step"] = np.repeat(np.arange(first, last + 1), 2)
    made["timestep"] = np.arange(len(made)) * 7 % 1000
    made["loss"] = loss
    return made


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    assert path.parent == tmp_path and not len(read(path))
    recorder = Recorder(path, 0)
    recorder.append(records(1, 3))
    recorder.append(records(4, 5, 0.25))
    assert np.array_equal(read(path), np.concatenate([records(1, 3), records(4, 5, 0.25)]))
    assert np.array_equal(read(path, 6), records(4, 5, 0.25))
    assert path.stat().st_size == 10 * 12


def test_a_resume_takes_back_later_steps_and_a_torn_record(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    Recorder(path, 0).append(records(1, 9))
    with path.open("ab") as file:
        file.write(b"torn")
    assert len(read(path)) == 18, "a reader leaves what is not whole"
    recorder = Recorder(path, 4)
    recorder.append(records(5, 6, 2.0))
    assert np.array_equal(read(path), np.concatenate([records(1, 4), records(5, 6, 2.0)]))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", 400) as found:
        yield found


def test_a_full_disk_leaves_whole_blocks(disk: SmallDisk) -> None:
    path = path_of(disk.path)
    recorder = Recorder(path, 0)
    recorder.append(records(1, 100))
    filler = disk.fill()
    with pytest.raises(OSError, match="No space left"):
        recorder.append(records(101, 9000))
    assert np.array_equal(read(path), records(1, 100))
    filler.unlink()
    recorder.append(records(101, 9000))
    assert np.array_equal(read(path)["step"], records(1, 9000)["step"])


def test_a_follower_sees_growth_and_cuts(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    follower = LossFollower(path)
    assert not follower.read() and not len(follower.records)
    Recorder(path, 0).append(records(1, 6))
    assert follower.read() and len(follower.records) == 12 and follower.cuts == 0
    assert not follower.read()
    Recorder(path, 3)
    assert follower.read() and follower.cuts == 1 and len(follower.records) == 6
    Recorder(path, 1).append(records(2, 9, 3.0))  # cut, and longer than before when it is looked at again
    assert follower.read() and follower.cuts == 2
    assert np.array_equal(follower.records, read(path))


def test_long_runs_keep_every_nth_step() -> None:
    assert stride(1000, 8) == stride(MOST_RECORDS, 1) == 1
    assert stride(MOST_RECORDS + 1, 1) == 2
    for steps, images in ((500_000, 64), (3_000_000, 5)):
        assert steps // stride(steps, images) * images <= MOST_RECORDS


def test_debiasing_takes_the_timesteps_chance_away() -> None:
    drawn = np.random.default_rng(0)
    made = np.empty(4000, RECORD)
    made["step"] = np.repeat(np.arange(1, 1001), 4)
    made["timestep"] = drawn.integers(0, 1000, 4000)
    made["loss"] = 0.7 * np.exp(-0.005 * made["timestep"]) * drawn.lognormal(0, 0.05, 4000)
    fit = smooth_fit(made["timestep"].astype(np.float64), made["loss"].astype(np.float64))
    steps, values = debiased(made, fit)
    plain = made["loss"].reshape(-1, 4).mean(axis=1).astype(np.float64)
    assert steps.tolist() == list(range(1, 1001))
    assert spread(values) < 0.1 * spread(plain)
    assert values.mean() == pytest.approx(plain.mean(), rel=0.02)
    assert debiased(made[:0], fit)[0].size == 0
