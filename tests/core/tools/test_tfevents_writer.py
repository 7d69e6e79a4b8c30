"""What is exported is read back: every curve, a resume, numbers that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import events as ev
from core import runs
from core.errors import UserError
from core.run_data import read_run
from core.tools.tfevents import read_folder
from core.tools.tfevents_writer import export, scalar
from tests.fixtures.run_folders import new_run, started, step, telemetry, write_events


def evaluated(number: int, loss: float) -> ev.Evaluated:
    return ev.Evaluated(step=number, split="validation", loss=loss, buckets=[loss, 2 * loss], duration=1.0)


def test_an_export_holds_every_curve(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    gpu = ev.Gpu(index=0, name="card", vram_bytes=4, vram_total_bytes=8, watts=100.0)
    write_events(run, [started(), evaluated(0, 0.5), step(1, 0.75), telemetry(1, 0.5, [gpu]), step(2, float("nan"))])
    path = export(run, tmp_path / "out" / "deep")
    found, ours = read_folder(path.parent), read_run(run.events_path).curves
    known = {tag for tag, curve in ours.items() if np.isfinite(curve.values).any() or tag == "loss"}
    assert set(found) == known and "gpu0/watts" in known and "gpu0/celsius" not in known
    for tag, points in found.items():
        assert np.array_equal(points.steps, ours[tag].steps), tag
        assert np.allclose(points.values, ours[tag].values, rtol=1e-6, equal_nan=True), tag
    assert abs(found["loss"].times[0] - next(iter(_times(run)))) < 1e-3
    assert export(run, path.parent) == path and list(path.parent.iterdir()) == [path]


def _times(run: runs.Run) -> list[float]:
    return [event.time for event in ev.Follower(run.events_path).read() if isinstance(event, ev.Step)]


def test_a_resume_is_told_to_tensorboard(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    write_events(run, [started(), *map(step, range(1, 9)), started(5), step(6, 9.0)])
    path = export(run, tmp_path / "out")
    assert read_folder(path.parent)["loss"].values.tolist() == [0.5] * 5 + [9.0]
    assert b"\x10\x06\x3a\x02\x08\x01" in path.read_bytes()  # SessionLog START at the first step that is made anew


def test_a_number_too_large_for_32_bits_is_infinite(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.x").write_bytes(scalar(1.0, "a", 1, -1e300) + scalar(1.0, "a", -2, 1.0)[:-50])
    assert read_folder(tmp_path)["a"].values.tolist() == [-np.inf]


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(UserError, match="holds no events yet"):
        export(run, tmp_path)
    write_events(run, [started()])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        export(run, tmp_path / "file")
