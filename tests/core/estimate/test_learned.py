"""Tests of core/estimate/learned.py: what measured peaks of real runs teach, kept in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core import events as ev
from core import presets, runs
from core.anatomy.source import open_anatomy
from core.estimate import learned
from core.estimate.learned import Learned
from core.estimate.memory import OVERHEAD, Memory, peak
from core.estimate.report import estimate
from core.runs import Run
from tests.fixtures.run_folders import new_run, started, step, telemetry, write_events

VALUES: dict[str, Any] = {
    "model__family": "sd15",
    "training__method": "lora",
    "hardware__device": "cuda",
    "hardware__encode_batch": 1,
}


def gpu(vram_bytes: int) -> ev.Gpu:
    return ev.Gpu(index=0, name="card", vram_bytes=vram_bytes, vram_total_bytes=24 << 30)


def finished_run(vram: int, device: str = "cuda:0", state: str = "finished") -> Run:
    """A run on a GPU whose sensors saw so many bytes at most."""
    run = new_run(**VALUES)
    begin = msgspec.structs.replace(started(), device=device)
    readings = [
        telemetry(1, 0.1, [gpu(vram // 2)]),
        telemetry(2, 0.2, [gpu(vram)]),
        telemetry(3, 0.3, [gpu(vram // 3)]),
    ]
    write_events(run, [begin, step(1), *readings, ev.Ended(state=state, step=3)])
    return run


def predicted() -> Memory:
    settings = presets.build({key.replace("__", "."): value for key, value in VALUES.items()}, "test")
    return peak(settings, open_anatomy("", "sd15"))


def inexact(memory: Memory) -> int:
    return sum(memory.components.get(name, 0) for name in ("activations", "weight copies", OVERHEAD))


def test_a_run_corrects_later_estimates() -> None:
    before = estimate(new_run(**VALUES).settings(), with_changes=False)
    assert before.factor == 1.0
    measured = before.memory.total + inexact(before.memory) // 5
    finished_run(measured)
    after = estimate(new_run(**VALUES).settings(), with_changes=False)
    assert after.factor == pytest.approx(1.2, abs=0.001)
    assert after.memory.total == pytest.approx(measured, rel=0.001)
    assert after.memory.components["model"] == before.memory.components["model"], "what is exact stays"


def test_it_counts_for_the_same_family_and_method_only() -> None:
    finished_run(predicted().total + inexact(predicted()) // 2)
    assert estimate(new_run(**VALUES).settings(), with_changes=False).factor > 1.4
    full = new_run(**{**VALUES, "training__method": "full"}).settings()
    assert estimate(full, with_changes=False).factor == 1.0


def test_a_run_teaches_once(burnish_home: Path) -> None:
    finished_run(predicted().total + inexact(predicted()) // 2)
    for _ in range(3):
        found = learned.learn(learned.learned_path(), runs.list_runs())
    assert found.factors["sd15 lora"][1] == 1
    stored = json.loads((burnish_home / "learned-memory.json").read_text("utf-8"))
    assert stored["format"] == 1 and len(stored["seen"]) == len(runs.list_runs()) == 1


@pytest.mark.parametrize(
    "run",
    [
        lambda: finished_run(10 << 30, device="cpu"),
        lambda: finished_run(10 << 30, state="failed"),
        lambda: finished_run(1 << 20),
        lambda: finished_run(200 << 30),
    ],
    ids=["on the processor", "failed", "far too little", "far too much"],
)
def test_what_teaches_nothing(run: Any) -> None:
    run()
    assert learned.learn(learned.learned_path(), runs.list_runs()).factors == {}


def test_newer_runs_weigh_at_least_a_quarter() -> None:
    known = Learned()
    for factor in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0):
        known.add("sd15", "lora", factor)
    assert known.factor("sd15", "lora") == pytest.approx(1.25)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "factors": {}, "seen": []}',
        '{"format": 1, "factors": {"sd15 lora": ["x", 1]}, "seen": []}',
        '{"format": 1, "factors": {"sd15 lora": [99.0, 1]}, "seen": []}',
    ],
)
def test_a_damaged_file_teaches_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    path.write_text(text, encoding="utf-8")
    assert learned.load(path) == Learned()


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    known = Learned({"sdxl full": (1.1, 3)}, ["a", "b"])
    learned.save(tmp_path / "learned.json", known)
    assert learned.load(tmp_path / "learned.json") == known


def test_several_gpus_and_lines_without_gpus(tmp_path: Path) -> None:
    run = new_run(**VALUES)
    begin = msgspec.structs.replace(started(), device="cuda")
    write_events(run, [telemetry(0, 0.0, [gpu(99)]), begin, telemetry(1, 0.1), telemetry(2, 0.1, [gpu(7), gpu(50)])])
    assert learned.measured_peak(run) == 7, "the first GPU's, from the start of the training on"
