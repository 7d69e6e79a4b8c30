"""Tests of core/run_data.py: events become curves, live or old, resumed or not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from core import events as ev
from core.run_data import Column, Curve, RunData, read_run
from tests.fixtures.run_folders import new_run, started, step, telemetry, write_events


def evaluated(number: int, loss: float, split: str = "validation") -> ev.Evaluated:
    return ev.Evaluated(step=number, split=split, loss=loss, buckets=[loss / 2, loss * 2], duration=0.1)


def fed(*events: ev.AnyEvent) -> RunData:
    data = RunData()
    data.feed(events)
    return data


def points(data: RunData, tag: str) -> list[tuple[float, float]]:
    curve = data.curve(tag)
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def test_columns_grow_and_are_cut() -> None:
    column = Column()
    column.extend(range(1000))
    for number in range(1000, 3000):
        column.append(number)
    column.extend(np.arange(3000, 5000))
    assert column.array.tolist() == list(range(5000))
    column.cut(2)
    column.extend([7])
    assert column.array.tolist() == [0, 1, 7]


def test_a_curve_counts_its_cuts() -> None:
    curve = Curve()
    curve.extend([1, 2, 2, 3], [10, 20, 21, 30])
    curve.cut_after(5)
    assert (len(curve), curve.cuts) == (4, 0)
    curve.cut_after(2)
    assert (curve.values.tolist(), curve.cuts) == ([10, 20, 21], 1)


def test_curves_of_a_run() -> None:
    gpu = ev.Gpu(index=1, name="card", vram_bytes=5, vram_total_bytes=9, watts=100.0)
    data = fed(started(), evaluated(0, 0.4), step(1, 0.9), step(2, 0.8), evaluated(2, 0.3), telemetry(2, 0.5, [gpu]))
    assert points(data, "loss") == [(1, 0.9), (2, 0.8)]
    assert points(data, "rate/unet") == [(1, 1e-4), (2, 1e-4)]
    assert points(data, "stable/validation") == [(0, 0.4), (2, 0.3)]
    assert points(data, "stable/validation/1") == [(0, 0.8), (2, 0.6)]
    assert points(data, "gpu1/watts") == [(2, 100.0)] and points(data, "kwh") == [(2, 0.5)]
    assert math.isnan(points(data, "gpu1/celsius")[0][1])  # the card does not say
    assert (data.last_step, data.seconds) == (2, 2.0)


def test_a_rate_that_begins_late_has_holes() -> None:
    late = step(2)
    late.rates = {"unet": 1e-4, "text_encoder": 1e-5}
    values = fed(started(), step(1), late).curve("rate/text_encoder").values
    assert math.isnan(values[0]) and values[1] == 1e-5


def test_one_by_one_is_the_same_as_all_at_once() -> None:
    events = [started(), *map(step, range(1, 8)), evaluated(7, 0.1), started(4), step(5, 0.1), telemetry(5, 0.2)]
    whole, single = fed(*events), RunData()
    for event in events:
        single.feed([event])
    assert {tag: points(whole, tag) for tag in whole.curves} == {tag: points(single, tag) for tag in single.curves}
    assert (whole.last_step, whole.seconds) == (single.last_step, single.seconds) == (5, 5.0)


def test_a_resume_takes_back_what_came_after_its_state() -> None:
    def sample(number: int) -> ev.Sample:
        return ev.Sample(step=number, path=f"{number}.png", prompt="x", seed=1, index=0)

    data = fed(started(), *map(step, range(1, 11)), evaluated(8, 0.5), sample(4), sample(8), telemetry(10, 0.1))
    data.feed([telemetry(0, 0.2), started(5), step(6, 0.1), evaluated(6, 0.4), telemetry(6, 0.3)])
    assert points(data, "loss")[-2:] == [(5, 0.5), (6, 0.1)]
    assert points(data, "stable/validation") == [(6, 0.4)]
    assert points(data, "kwh") == [(6, 0.3)]
    assert [found.step for found in data.samples] == [4]
    assert data.curve("loss").cuts == 1 and data.last_step == 6


def test_sensors_read_before_a_resume_knows_its_step_bend_no_curve() -> None:
    data = fed(started(), step(10), telemetry(10, 0.1), telemetry(0, 0.2), telemetry(0, 0.3))
    assert points(data, "kwh") == [(10, 0.1), (10, 0.2), (10, 0.3)]


def test_the_same_measurement_again_replaces_the_old_one() -> None:
    data = fed(started(), evaluated(0, 0.5), started(), evaluated(0, 0.4))
    assert points(data, "stable/validation") == [(0, 0.4)]


def test_files_are_listed_once() -> None:
    saved = ev.Checkpoint(step=5, path="checkpoints/a.safetensors", bytes=1)
    again = ev.Checkpoint(step=5, path="checkpoints/a.safetensors", bytes=2)
    assert fed(saved, again).checkpoints == [again]


def test_states_of_a_live_run() -> None:
    data = fed(started(), ev.Progress(phase="cache", done=1, total=2))
    assert data.progress is not None
    data.feed([step(1), ev.Paused(step=1)])
    assert data.progress is None and data.paused
    data.feed([ev.Continued(step=1)])
    assert not data.paused
    data.feed([ev.Ended(state="stopped", step=1)])
    assert data.ended is not None and data.ended.state == "stopped"
    data.feed([started(1)])
    assert data.ended is None


def test_x_axes() -> None:
    events = [started(), *map(step, range(1, 11)), telemetry(5, 1.0), telemetry(10, 3.0)]
    data = fed(*events)
    steps = np.array([0.0, 2.0, 7.5, 10.0])
    assert data.x_of(steps, "step").tolist() == [0, 2, 7.5, 10]
    assert data.x_of(steps, "images").tolist() == [0, 8, 30, 40]
    assert data.x_of(steps, "epoch") == pytest.approx([0, 0.2, 0.75, 1.0])
    assert data.x_of(steps, "hours") == pytest.approx(steps / 3600)
    assert data.x_of(steps, "kwh") == pytest.approx([0, 0.4, 2.0, 3.0])
    assert RunData().x_of(steps, "kwh").tolist() == [0, 0, 0, 0]
    assert data.x_of(np.array([]), "hours").tolist() == []


def test_the_summary_has_ends_and_minimum_and_no_nan() -> None:
    losses = [float("nan"), 0.5, 0.2, 0.4]
    data = fed(started(), *(step(number, loss) for number, loss in enumerate(losses, 1)))
    assert data.summary()["loss"] == {
        "points": 4,
        "first": {"step": 2, "value": 0.5},
        "last": {"step": 4, "value": 0.4},
        "min": {"step": 3, "value": 0.2},
    }
    assert "loss" not in fed(started(), step(1, float("nan"))).summary()


def test_an_old_file_is_read_whole(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    write_events(run, [started(), *map(step, range(1, 8000)), ev.Ended(state="finished", step=7999)])
    run.events_path.write_bytes(run.events_path.read_bytes() + b'{"type":"step","st')
    assert run.events_path.stat().st_size > 1 << 20  # more than one block
    data = read_run(run.events_path)
    assert len(data.curve("loss")) == 7999 and data.ended is not None
    assert read_run(tmp_path / "none").last_step == 0


def test_measuring_is_a_share_of_the_time_worked() -> None:
    """A resume takes back what was measured after its state, and a start anew what it measures again."""
    raw = ev.Evaluated(step=2, split="validation", loss=0.9, buckets=[0.9], duration=0.3, weights="raw")
    assert math.isnan(fed(started()).measuring_share) and fed(started()).measuring_seconds == 0
    data = fed(started(), evaluated(0, 0.4), evaluated(0, 0.5, "train"), evaluated(2, 0.3), raw, telemetry(2, 0.5, []))
    assert data.measuring_seconds == pytest.approx(0.6)
    assert data.measuring_share == pytest.approx(0.6 / data.seconds)
    assert points(data, "raw/validation") == [(2, 0.9)] and points(data, "stable/validation") == [(0, 0.4), (2, 0.3)]
    data.feed([started(1)])
    assert data.measuring_seconds == pytest.approx(0.2)
    data.feed([started(0), evaluated(0, 0.4), evaluated(0, 0.5, "train")])
    assert data.measuring_seconds == pytest.approx(0.2)
