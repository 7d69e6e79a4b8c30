"""A real worker on a disk that runs full while it trains: nothing is lost, it waits, says so, and goes on by itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from core.run_data import RunData, read_run
from core.runs import Run
from tests.core.engine.helpers import assert_equal, last_checkpoint
from tests.fixtures.small_disk import SmallDisk, small_disk

MakeRun = Callable[..., Run]
DEADLINE = 120.0
#: Kilobytes: room for some checkpoints of the tiny model, but not for those of eight steps; room for all.
TIGHT, WIDE = 9 << 10, 64 << 10
QUIET = {"validation__every_steps": 0}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", TIGHT) as found:
        yield found


def _on(disk: SmallDisk, run: Run) -> Run:
    """The same run on the small disk."""
    shutil.copytree(run.path, disk.path / "run")
    return Run(disk.path / "run")


def _wait_for(run: Run, wanted: Callable[[RunData], bool]) -> RunData:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        data = read_run(run.events_path)
        if wanted(data):
            return data
        time.sleep(0.05)
    raise AssertionError(f"not reached: {data.ended}, step {data.last_step}; {run.console_path.read_text()[-2000:]}")


def _is_whole(run: Run) -> None:
    """Nothing half-written lies about, and all that has a name can be read."""
    assert not [path for path in run.path.rglob("*.part") if path.name != ".reserve.part"]
    for saved in run.checkpoints():
        files = list(saved.path.rglob("*.safetensors")) if saved.path.is_dir() else [saved.path]
        assert len(files) in (1, 3) and all(load_file(file) for file in files)
    for saved in run.states():
        assert load_file(saved.path / "weights.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"output__layout": "diffusers folder"},
        {"hardware__processes": 2, "hardware__parallel": "ddp"},
        {"hardware__processes": 2, "hardware__parallel": "fsdp"},
    ],
)
def test_it_waits_for_room_and_goes_on(make_run: MakeRun, start: Any, disk: SmallDisk, changes: dict[str, Any]) -> None:
    whole = make_run("whole", **QUIET, **changes)
    tight = _on(disk, make_run("tight", **QUIET, **changes))
    child = start(tight)
    data = _wait_for(tight, lambda data: data.paused)
    assert tight.state()[0] == "paused" and child.poll() is None
    assert "disk is full" in data.messages[-1].text and str(tight.path) in data.messages[-1].text
    assert 0 < data.last_step < 8 and tight.states()
    _is_whole(tight)
    disk.resize(WIDE)
    assert child.wait(DEADLINE) == 0, tight.console_path.read_text()[-3000:]
    assert tight.state() == ("finished", 8)
    assert [saved.step for saved in tight.checkpoints()] == [2, 4, 6, 8] and tight.states()[-1].step == 8
    _is_whole(tight)
    assert start(whole).wait(DEADLINE) == 0
    if "output__layout" not in changes:
        assert_equal(last_checkpoint(whole), last_checkpoint(tight))
    name = tight.states()[-1].path.name + "/weights.safetensors"
    assert_equal(load_file(whole.states_path / name), load_file(tight.states_path / name))


def test_a_stop_ends_the_wait_and_a_resume_goes_on(make_run: MakeRun, start: Any, disk: SmallDisk) -> None:
    tight = _on(disk, make_run("tight", **QUIET))
    child = start(tight)
    _wait_for(tight, lambda data: data.paused)
    saved = [found.step for found in tight.checkpoints()]
    tight.send("stop")
    assert child.wait(DEADLINE) == 0
    data = read_run(tight.events_path)
    assert tight.state()[0] == "stopped" and "was stopped at step" in data.messages[-1].text
    assert [found.step for found in tight.checkpoints()] == saved
    _is_whole(tight)
    disk.resize(WIDE)
    assert start(tight).wait(DEADLINE) == 0
    assert tight.state() == ("finished", 8)


def test_a_disk_that_others_fill_to_the_last_byte(make_run: MakeRun, start: Any, disk: SmallDisk) -> None:
    """Not even an event fits: the run says so with the room that it holds for that, and no event is lost."""
    disk.resize(WIDE)
    endless = {"output__save_every_steps": 0, "training__max_steps": 3000, "hardware__telemetry_seconds": 600.0}
    tight = _on(disk, make_run("tight", **QUIET, **endless))
    child = start(tight)
    _wait_for(tight, lambda data: data.last_step >= 5)
    filler = disk.fill()
    data = _wait_for(tight, lambda data: data.paused)
    assert "disk is full" in data.messages[-1].text and "events.jsonl" in data.messages[-1].text
    assert child.poll() is None and tight.state()[0] == "paused"
    filler.unlink()
    _wait_for(tight, lambda later: not later.paused and later.last_step > data.last_step + 3)
    tight.send("stop")
    assert child.wait(DEADLINE) == 0
    found = read_run(tight.events_path)
    assert found.curve("loss").steps.tolist() == list(range(1, found.last_step + 1))
    assert tight.state() == ("stopped", found.last_step) and tight.states()[-1].step == found.last_step


def test_samples_wait_for_room_too(make_run: MakeRun, start: Any, disk: SmallDisk) -> None:
    disk.resize(WIDE)
    settings = {"output__save_every_steps": 0, "training__max_steps": 3000, "hardware__telemetry_seconds": 600.0}
    settings |= {"sample__prompts": ["noise", "more noise"], "sample__steps": 2}
    tight = _on(disk, make_run("tight", **QUIET, **settings))
    child = start(tight)
    _wait_for(tight, lambda data: data.last_step >= 2)
    tight.send("pause")
    _wait_for(tight, lambda data: data.paused)
    filler = disk.fill()
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - 4096)  # room for a word of the run, but for no picture
    tight.send("sample")
    tight.send("continue")
    data = _wait_for(tight, lambda data: any("samples" in message.text for message in data.messages))
    assert not data.samples
    filler.unlink()
    data = _wait_for(tight, lambda data: len(data.samples) == 2)
    assert all((tight.path / sample.path).stat().st_size for sample in data.samples)
    tight.send("stop")
    assert child.wait(DEADLINE) == 0
