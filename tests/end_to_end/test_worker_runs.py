"""The real child process: events, commands, SIGKILL and resume, second worker, two processes, full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core import events as ev
from core.run_data import RunData, read_run
from core.runs import Run
from tests.core.engine.helpers import assert_equal, last_checkpoint

MakeRun = Callable[..., Run]
DEADLINE = 180.0
#: A run that goes on until it is told to stop.
ENDLESS = {"training__max_steps": 1_000_000, "validation__every_steps": 0, "output__save_every_steps": 0}


def _wait_for(run: Run, wanted: Callable[[RunData], bool]) -> RunData:
    """Follow the events until `wanted` holds."""
    follower, data = ev.Follower(run.events_path), RunData()
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        data.feed(follower.read())
        if wanted(data):
            return data
        time.sleep(0.02)
    raise AssertionError(f"not reached: {data.ended}, step {data.last_step}; {run.console_path.read_text()[-2000:]}")


def test_a_run_from_first_to_last_event(make_run: MakeRun, start: Any) -> None:
    run = make_run()
    assert start(run).wait(DEADLINE) == 0
    data = read_run(run.events_path)
    assert data.ended is not None and (data.ended.state, data.ended.step) == ("finished", 8)
    assert data.curve("loss").steps.tolist() == list(range(1, 9))
    assert data.curve("stable/validation").steps.tolist() == [0, 4, 8]
    assert [saved.step for saved in run.checkpoints()] == [2, 4, 6, 8]
    assert [saved.step for saved in run.states()] == [8]
    assert data.telemetry is not None and data.telemetry.ram_total_bytes > 0 and data.telemetry.energy_source == "none"
    assert run.state() == ("finished", 8)
    lines = run.events_path.read_text().splitlines()
    assert all("type" in json.loads(line) and "time" in json.loads(line) for line in lines)
    assert run.worker_pid() is None
    assert run.console_path.read_text() == "", "a library warns of what is no concern of the user's"


def test_sigkill_and_resume_end_in_the_same_weights(make_run: MakeRun, start: Any) -> None:
    whole, cut = make_run("whole"), make_run("cut")
    assert start(whole).wait(DEADLINE) == 0
    child = start(cut)
    _wait_for(cut, lambda data: data.last_step >= 5)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert cut.state()[0] in ("interrupted", "finished")
    assert start(cut).wait(DEADLINE) == 0
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    assert not list(cut.checkpoints_path.glob(".*"))


def test_commands_pause_sample_save_and_stop(make_run: MakeRun, start: Any) -> None:
    run = make_run(**ENDLESS, sample__prompts=["noise"], sample__steps=2)
    child = start(run)
    _wait_for(run, lambda data: data.last_step >= 3)
    assert run.state()[0] == "running" and run.worker_pid() is not None
    run.send("pause")
    paused_at = _wait_for(run, lambda data: data.paused).last_step
    assert run.state()[0] == "paused"
    run.send("sample")
    run.send("save")
    run.send("continue")
    data = _wait_for(run, lambda data: bool(data.samples and data.checkpoints) and data.last_step > paused_at + 2)
    assert (run.path / data.samples[0].path).exists() and (run.path / data.checkpoints[0].path).exists()
    run.send("stop")
    assert child.wait(DEADLINE) == 0
    state, step = run.state()
    assert state == "stopped" and run.checkpoints()[-1].step == step


def test_ctrl_c_stops_and_saves(make_run: MakeRun, start: Any) -> None:
    run = make_run(**ENDLESS)
    child = start(run)
    _wait_for(run, lambda data: data.last_step >= 2)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(DEADLINE) == 0
    state, step = run.state()
    assert state == "stopped" and [saved.step for saved in run.states()] == [step]


def test_a_second_worker_is_refused(make_run: MakeRun, start: Any) -> None:
    run = make_run(**ENDLESS)
    first = start(run)
    _wait_for(run, lambda data: data.last_step >= 1)
    second = start(run)
    assert second.wait(DEADLINE) == 2
    assert "another worker is at this run" in run.console_path.read_text()
    assert first.poll() is None and run.state()[0] == "running"


def test_a_user_mistake_ends_the_run_in_one_sentence(make_run: MakeRun, start: Any, tmp_path: Path) -> None:
    run = make_run()
    shutil.rmtree(tmp_path / "pictures")
    assert start(run).wait(DEADLINE) == 2
    ended = read_run(run.events_path).ended
    assert ended is not None and ended.state == "failed"
    assert "pictures" in ended.text and "\n" not in ended.text and "Traceback" not in ended.text


def test_a_bug_of_ours_ends_the_run_and_names_the_log(make_run: MakeRun, start: Any) -> None:
    run = make_run(sample__prompts=["x"], sample__every_steps=1, sample__steps=1)
    run.samples_path.rmdir()
    run.samples_path.write_text("a file where a folder should be")
    assert start(run).wait(DEADLINE) == 1
    ended = read_run(run.events_path).ended
    assert ended is not None and ended.state == "failed" and "console.log" in ended.text
    assert "Traceback" in run.console_path.read_text()
