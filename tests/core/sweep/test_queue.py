"""The queue with real child processes: order, early ends, SIGKILL and going on, GPUs, what is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from core import runs
from core.errors import UserError
from core.run_data import read_run
from core.runs import Run
from core.sweep import queue as queues
from core.sweep.folder import SweepFolder
from core.sweep.queue import Queue, usable_gpus
from tests.core.sweep.conftest import MakeSweep
from tests.fixtures.processes import ROOT, environment, wait_until
from tests.fixtures.sweep_worker import launch

SECONDS = 120.0
_PROCESS = """
import sys
from pathlib import Path
from core.sweep import queue
from tests.fixtures.sweep_worker import launch
queue.POLL_SECONDS = 0.05
sys.exit(queue.work(Path(sys.argv[1]), launch))
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(queues, "_ASK_AGAIN_SECONDS", 0.3)


def states(found: SweepFolder) -> list[str]:
    return [status.state for status in found.statuses()]


def ids(found: SweepFolder) -> list[str]:
    return [status.run.id for status in found.statuses()]


def process(found: SweepFolder) -> subprocess.Popen[bytes]:
    """The queue as a process of its own."""
    return subprocess.Popen([sys.executable, "-c", _PROCESS, str(found.path)], env=environment(), cwd=ROOT)


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


def test_all_runs_one_after_the_other(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 1e-4, 1e-3])
    assert (states(found), found.state()) == (["waiting"] * 3, "new")
    assert Queue(found, launch, []).run() == "finished"
    assert states(found) == ["finished"] * 3 and found.state() == "finished"
    times = [[event.time for event in _events(status.path)] for status in found.statuses()]
    assert times[0][-1] <= times[1][0] and times[1][-1] <= times[2][0]
    rates = [Run(status.path).settings().training.learning_rate for status in found.statuses()]
    assert rates == [1e-5, 1e-4, 1e-3]
    assert Run(found.statuses()[1].path).name == "Rates: Learning rate 1e-4"
    assert {run.path for run in runs.list_runs()} == {status.path for status in found.statuses()}


def _events(path: Path) -> Any:
    from core.events import Follower

    return Follower(path / "events.jsonl").read()


def test_a_run_that_diverges_ends_early_and_says_so(make_sweep: MakeSweep) -> None:
    found = make_sweep([2.0, 1e-4], fixed={"training.max_steps": 2000, "output.name": ""}, sweep__steps=400)
    child = threading.Thread(target=Queue(found, launch, []).run)
    child.start()
    wait_until(lambda: states(found)[0] == "ended early" and states(found)[1] == "running", SECONDS)
    found.note("skip", ids(found)[1])
    child.join(SECONDS)
    first, second = found.statuses()
    assert "diverged" in first.text and 0 < first.step < 400
    assert second.state == "skipped" and second.step < 400


def test_past_its_minimum_only_when_asked(make_sweep: MakeSweep) -> None:
    found = make_sweep([0.05], fixed={"training.max_steps": 400}, end__past_minimum=20)
    assert Queue(found, launch, []).run() == "finished"
    status = found.statuses()[0]
    assert status.state == "ended early" and "measurements back" in status.text
    assert 80 + 20 * 2 <= status.step < 400


def test_without_the_wish_it_goes_on_past_its_minimum(make_sweep: MakeSweep) -> None:
    found = make_sweep([0.05], fixed={"training.max_steps": 100})
    assert Queue(found, launch, []).run() == "finished"
    assert [(status.state, status.step) for status in found.statuses()] == [("finished", 100)]


def test_failures_do_not_hold_up_the_others(make_sweep: MakeSweep) -> None:
    found = make_sweep([0.7, 0.2, 1e-4])
    assert Queue(found, launch, []).run() == "finished"
    dead, failed, good = found.statuses()
    assert dead.state == "failed" and "died 3 times" in dead.text
    assert failed.state == "failed" and failed.text == "The model cannot be read."
    assert good.state == "finished"
    found.note("again", failed.run.id)
    assert states(found) == ["failed", "waiting", "finished"]


def test_sigkill_of_the_queue_leaves_its_worker_which_is_picked_up(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 1e-4], fixed={"training.max_steps": 300})
    child = process(found)
    first, second = found.statuses()
    run = Run(first.path)
    wait_until(lambda: first.path.exists() and run.state()[0] == "running" and run.state()[1] > 3, SECONDS)
    end(child)
    worker = run.worker_pid()
    assert worker is not None and found.process.worker_pid() is None and found.state() == "paused"
    after = Queue(found, launch, [])
    assert after.run() == "finished"
    assert states(found) == ["finished", "finished"]
    begun = [event for event in _events(first.path) if type(event).__name__ == "Started"]
    assert len(begun) == 1, "the living worker was taken over, not replaced"
    notes = [note for note in found._notes() if note.what == "started"]
    assert [note.run for note in notes] == [first.run.id, second.run.id]


def test_finished_runs_are_not_repeated_and_half_done_ones_go_on(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 1e-4], fixed={"training.max_steps": 150})
    first, second = found.statuses()
    child = process(found)
    wait_until(lambda: states(found)[0] == "finished" and Run(second.path).state()[1] > 3, SECONDS)
    found.process.send("stop")
    assert child.wait(SECONDS) == 0
    assert states(found) == ["finished", "waiting"] and found.state() == "paused"
    half = found.statuses()[1].step
    assert 3 < half < 150
    worker = Run(second.path)
    assert worker.worker_pid() is None
    assert Queue(found, launch, []).run() == "finished"
    begun = [event.step for event in _events(second.path) if type(event).__name__ == "Started"]
    assert begun == [0, half] and read_run(worker.events_path).curve("loss").steps.tolist() == list(range(1, 151))
    assert len([event for event in _events(first.path) if type(event).__name__ == "Started"]) == 1


def test_a_killed_worker_is_started_again_from_its_state(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5], fixed={"training.max_steps": 200})
    run = Run(found.statuses()[0].path)
    child = process(found)
    wait_until(lambda: run.path.exists() and run.state()[1] > 5, SECONDS)
    os.kill(run.worker_pid() or 0, signal.SIGKILL)
    assert child.wait(SECONDS) == 0
    assert states(found) == ["finished"]
    assert [event.step for event in _events(run.path) if type(event).__name__ == "Started"] == [0, 0]


def test_a_pause_lets_the_present_run_end_and_can_be_taken_back(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 1e-4], fixed={"training.max_steps": 80})
    child = process(found)
    wait_until(lambda: states(found)[0] == "running", SECONDS)
    found.process.send("pause")
    assert child.wait(SECONDS) == 0
    assert states(found) == ["finished", "waiting"]


def test_order_and_skips_hold_while_it_runs(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 2e-5, 3e-5, 4e-5], fixed={"training.max_steps": 60})
    first, second, third, fourth = ids(found)
    child = threading.Thread(target=Queue(found, launch, []).run)
    child.start()
    wait_until(lambda: states(found)[0] == "running", SECONDS)
    found.note("move", fourth, place=1)
    found.note("skip", third)
    child.join(SECONDS)
    assert ids(found) == [first, fourth, second, third]
    assert states(found) == ["finished", "finished", "finished", "skipped"]
    began = [_events(found.run_path(run_id))[0].time for run_id in (first, fourth, second)]
    assert began == sorted(began) and not found.run_path(third).exists()
    found.note("restore", third)
    assert states(found)[3] == "waiting" and found.state() == "paused"


@pytest.mark.parametrize(("keep", "models", "kept"), [("models", 1, 0), ("all", 1, 1), ("curves", 0, 0)])
def test_what_is_kept(make_sweep: MakeSweep, keep: str, models: int, kept: int) -> None:
    found = make_sweep([1e-5], queue__keep=keep)
    Queue(found, launch, []).run()
    run = Run(found.statuses()[0].path)
    assert (len(run.checkpoints()), len(run.states())) == (models, kept)
    assert len(read_run(run.events_path).curve("stable/validation")) == 10


def _gpus_of(found: SweepFolder, gpus: list[str]) -> tuple[dict[str, str], int]:
    """({run: CUDA_VISIBLE_DEVICES}, most runs at once) of a queue that works on pretended GPUs."""
    given: dict[str, str] = {}
    alive: list[subprocess.Popen[bytes]] = []
    most = 0

    def note(run: Run, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        nonlocal most
        given[run.path.name] = environment.get("CUDA_VISIBLE_DEVICES", "")
        child = launch(run, environment)
        alive.append(child)
        most = max(most, sum(one.poll() is None for one in alive))
        return child

    Queue(found, note, gpus).run()
    return given, most


def test_one_run_on_each_gpu(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 2e-5, 3e-5], fixed={"hardware.device": "auto", "training.max_steps": 60})
    given, most = _gpus_of(found, ["0", "3"])
    assert most == 2 and sorted(list(given.values())[:2]) == ["0", "3"]
    assert states(found) == ["finished"] * 3 and set(given.values()) == {"0", "3"}


def test_runs_on_several_gpus_each_and_too_many(make_sweep: MakeSweep, tmp_path: Path) -> None:
    found = make_sweep([1e-5, 2e-5], fixed={"hardware.device": "auto", "hardware.processes": 2})
    given, most = _gpus_of(found, ["0", "1", "2"])
    assert most == 1 and set(given.values()) == {"0,1"}
    (tmp_path / "sweep").rename(tmp_path / "old")
    found = make_sweep([1e-5], fixed={"hardware.device": "auto", "hardware.processes": 4})
    Queue(found, launch, ["0", "1"]).run()
    assert found.statuses()[0].state == "failed" and "wants 4 GPUs" in found.statuses()[0].text


def test_on_the_processor_one_at_a_time_unless_asked(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5, 2e-5, 3e-5], fixed={"training.max_steps": 60}, queue__at_once=3)
    given, most = _gpus_of(found, ["0"])
    assert most == 3 and set(given.values()) == {os.environ.get("CUDA_VISIBLE_DEVICES", "")}


def test_the_gpus_that_may_be_used() -> None:
    assert usable_gpus([], 2, None) == (["0", "1"] if "CUDA_VISIBLE_DEVICES" not in os.environ else usable_gpus([], 2))
    assert usable_gpus([], 4, "2, 3") == ["2", "3"] and usable_gpus(["3"], 4, "2,3") == ["3"]
    assert usable_gpus([], 0, "0") == []
    with pytest.raises(UserError, match=r"no GPU '1'.* 2, 3"):
        usable_gpus(["1"], 4, "2,3")


def test_two_queues_of_one_sweep_are_refused(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5], fixed={"training.max_steps": 1000})
    child = process(found)
    wait_until(lambda: found.process.worker_pid() is not None, SECONDS)
    with pytest.raises(UserError, match="another worker"):
        queues.work(found.path, launch)
    wait_until(lambda: states(found)[0] == "running", SECONDS)
    child.send_signal(signal.SIGTERM)
    assert child.wait(SECONDS) == 0
    assert states(found) == ["waiting"] and 0 < found.statuses()[0].step < 1000


def test_the_queue_needs_no_torch(make_sweep: MakeSweep) -> None:
    code = "import sys, core.sweep.queue, core.commands.sweep, core.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT).returncode == 0


def test_the_worker_program_is_the_queue(make_sweep: MakeSweep) -> None:
    """A base that cannot be trained: the queue starts, every run fails, the process ends well."""
    found = make_sweep([1e-5])
    before = set(psutil.Process().children(recursive=True))  # multiprocessing keeps a helper once a test has used it
    command = [sys.executable, "-m", "core.worker", "sweep", str(found.path)]
    assert subprocess.run(command, env=environment(), cwd=ROOT, timeout=SECONDS).returncode == 0
    assert states(found) == ["failed"] and found.statuses()[0].text
    assert found.process.state()[0] == "finished" and found.failure() == ""
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]


def test_runs_that_could_not_start_are_refused_before_anything_begins(make_sweep: MakeSweep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Rates, Learning rate 1e-5: training.warmup_steps"):
        make_sweep([1e-5], fixed={"training.warmup_steps": 500})
    assert not (tmp_path / "sweep").exists()
