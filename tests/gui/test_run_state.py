"""RunState follows real files: growing, torn, resumed, of a killed worker; and never keeps the window waiting."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer

from core import events as ev
from core.errors import UserError
from gui.run_state import RunState
from tests.gui.run_folders import a_step, be_its_worker, make_run, started, write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def follow(qtbot: object, run: Path) -> Iterator[RunState]:
    state = RunState(run)
    yield state
    state.close()


def _loaded(qtbot, state: RunState) -> RunState:
    with qtbot.waitSignal(state.loaded, timeout=5000):
        state.start()
    return state


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run\.json"):
        RunState(tmp_path)


def test_an_old_run_is_read_whole(qtbot, run: Path, follow: RunState) -> None:
    write(run, started(), *(a_step(n, n / 10) for n in range(1, 51)), ev.Ended(state="finished", step=50))
    _loaded(qtbot, follow)
    assert follow.state == "finished" and not follow.alive
    assert follow.data.last_step == 50 and follow.total_steps == 1000
    assert follow.data.curve("loss").values[-1] == 5.0
    assert follow.settings is not None and follow.settings.sample.prompts[0] == "a fox in the snow"
    assert follow.seconds_left is None


def test_a_new_run_has_nothing_to_say(qtbot, follow: RunState) -> None:
    assert _loaded(qtbot, follow).state == "new"


def test_a_growing_file_with_torn_lines(qtbot, run: Path, follow: RunState) -> None:
    be_its_worker(run)
    write(run, started(), a_step(1))
    _loaded(qtbot, follow)
    assert follow.state == "running" and follow.alive
    line = ev.encode(a_step(2, 0.25))
    with (run / "events.jsonl").open("ab", buffering=0) as file:
        file.write(line[:17])
        qtbot.wait(250)
        assert follow.data.last_step == 1
        file.write(line[17:] + b"{ damaged }\n" + ev.encode(a_step(3, 0.5)))
    qtbot.waitUntil(lambda: follow.data.last_step == 3, timeout=3000)
    assert list(follow.data.curve("loss").values) == [0.1, 0.25, 0.5]
    assert follow.seconds_left == pytest.approx((1000 - 3) * 2.0)


def test_updated_comes_ten_times_a_second_at_most(qtbot, run: Path, follow: RunState) -> None:
    be_its_worker(run)
    write(run, started())
    _loaded(qtbot, follow)
    seen: list[float] = []
    follow.updated.connect(lambda: seen.append(time.monotonic()))
    for number in range(1, 101):
        write(run, a_step(number))
        qtbot.wait(5)
    qtbot.waitUntil(lambda: follow.data.last_step == 100, timeout=3000)
    assert len(seen) >= 2
    assert len(seen) <= 11 * (seen[-1] - seen[0]) + 2


def test_a_resume_takes_later_points_back(qtbot, run: Path, follow: RunState) -> None:
    be_its_worker(run)
    write(run, started(), *(a_step(n) for n in range(1, 31)))
    _loaded(qtbot, follow)
    cuts = follow.data.curve("loss").cuts
    write(run, started(step=20), a_step(21, 0.9))
    qtbot.waitUntil(lambda: follow.data.last_step == 21, timeout=3000)
    assert len(follow.data.curve("loss")) == 21
    assert follow.data.curve("loss").values[-1] == 0.9
    assert follow.data.curve("loss").cuts == cuts + 1


def test_a_killed_worker_is_an_interrupted_run(qtbot, run: Path, follow: RunState) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        be_its_worker(run, worker.pid)
        write(run, started(), a_step(1))
        _loaded(qtbot, follow)
        assert follow.state == "running"
        with qtbot.waitSignal(follow.ended, timeout=5000):
            worker.kill()
            worker.wait()
        assert follow.state == "interrupted" and not follow.alive
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_that_ends_tells_so_once(qtbot, run: Path, follow: RunState) -> None:
    be_its_worker(run)
    write(run, started(), a_step(1))
    _loaded(qtbot, follow)
    ends: list[str] = []
    follow.ended.connect(lambda: ends.append(follow.state))
    write(run, ev.Ended(state="stopped", step=1, time=time.time() + 1))
    (run / "worker.json").unlink()
    qtbot.waitUntil(lambda: bool(ends), timeout=3000)
    qtbot.wait(700)
    assert ends == ["stopped"]


def test_pause_and_commands(qtbot, run: Path, follow: RunState) -> None:
    follow.stop()
    assert not (run / "commands.jsonl").exists(), "nobody is there to hear a command"
    be_its_worker(run)
    write(run, started(), a_step(1), ev.Paused(step=1))
    _loaded(qtbot, follow)
    assert follow.state == "paused" and follow.alive
    for command in (follow.resume, follow.pause, follow.save_now, follow.sample_now, follow.stop):
        command()
    said = (run / "commands.jsonl").read_text().splitlines()
    assert [line.split('"')[3] for line in said] == ["continue", "pause", "save", "sample", "stop"]


def test_close_ends_the_thread(qtbot, run: Path) -> None:
    state = _loaded(qtbot, RunState(run))
    state.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader of")]


def test_a_long_run_is_read_beside_the_window(qtbot, run: Path, follow: RunState) -> None:
    """100,000 steps are read while the window's timers go on (how evenly is measured by the benchmark "plots")."""
    block = b"".join(ev.encode(a_step(n)) for n in range(1, 100_001))
    (run / "events.jsonl").write_bytes(ev.encode(started()) + block)
    beats: list[bool] = []
    timer = QTimer(interval=2)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: beats.append(follow.is_loaded))
    timer.start()
    with qtbot.waitSignal(follow.loaded, timeout=20_000):
        follow.start()
    timer.stop()
    assert follow.data.last_step == 100_000
    assert beats.count(False) > 3
