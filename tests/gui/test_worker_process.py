"""Workers: started detached, watched by their run folders, and not ended with the window. With real child processes."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core import presets, runs
from core.errors import UserError
from core.settings import default_settings
from gui.worker_process import Workers, last_words

CHILD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import msgspec
    from core import events as ev
    from core.runs import CommandReader, Run

    kind, path = sys.argv[1], Path(sys.argv[2])
    print("hello from", kind, flush=True)
    run = Run(path)
    with run.locked():
        reader = CommandReader(run.commands_path, 0.0)
        with run.events_path.open("ab", buffering=0) as file:
            step = 0
            state = "finished"
            while step < int(sys.argv[3]):
                step += 1
                event = ev.Step(step=step, loss=0.1, rates={}, images=step, epoch=0.0, speed=1.0, grad_norm=0.0,
                                seconds=0.0)
                file.write(msgspec.json.encode(event) + b"\\n")
                time.sleep(0.05)
                if "stop" in reader.poll():
                    state = "stopped"
                    break
            file.write(msgspec.json.encode(ev.Ended(state=state, step=step)) + b"\\n")
    print("bye", file=sys.stderr, flush=True)
    """
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs go into a folder of this test."""
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))
    return tmp_path


def _command(home: Path, steps: int):
    script = home / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    return lambda kind, path: [sys.executable, str(script), kind, str(path), str(steps)]


@pytest.fixture
def leftovers() -> Iterator[list[int]]:
    """Process numbers that the test makes sure are gone."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).kill()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def _run() -> runs.Run:
    return runs.create(default_settings())


def test_a_worker_is_started_and_its_end_is_told(qtbot, home: Path) -> None:
    workers = Workers(_command(home, 3), _environment(), poll_ms=30)
    run = _run()
    with qtbot.waitSignal(workers.ended, timeout=20_000) as caught:
        with qtbot.waitSignal(workers.started) as begun:
            workers.start(run, "train")
        assert begun.args == [run.path]
        assert workers.running() == [run.path]
    assert caught.args == [run.path, "finished"]
    assert workers.running() == []
    # The worker lets go of its run before it says good-bye.
    qtbot.waitUntil(lambda: run.console_path.read_text().split() == ["hello", "from", "train", "bye"], timeout=20_000)


def test_stop_and_save(qtbot, home: Path, leftovers: list[int]) -> None:
    workers = Workers(_command(home, 2000), _environment(), poll_ms=30)
    run = _run()
    workers.start(run, "train")
    qtbot.waitUntil(lambda: run.worker_pid() is not None, timeout=20_000)
    leftovers.append(run.worker_pid())
    with qtbot.waitSignal(workers.ended, timeout=20_000) as caught:
        workers.stop_and_save(run.path)
    assert caught.args[1] == "stopped"


def test_the_worker_survives_the_object_that_started_it(qtbot, home: Path, leftovers: list[int]) -> None:
    workers = Workers(_command(home, 2000), _environment(), poll_ms=30)
    run = _run()
    workers.start(run, "train")
    qtbot.waitUntil(lambda: run.worker_pid() is not None, timeout=20_000)
    pid = run.worker_pid()
    leftovers.append(pid)
    workers.deleteLater()
    del workers
    qtbot.wait(200)
    assert run.worker_pid() == pid
    again = Workers(poll_ms=30)
    again.watch(run)
    with qtbot.waitSignal(again.ended, timeout=20_000):
        again.stop_and_save(run.path)


def test_a_worker_that_cannot_start_is_told(qtbot, home: Path) -> None:
    def command(kind: str, path: Path) -> list[str]:
        return [sys.executable, "-c", "print('no such model')"]

    workers = Workers(command, _environment(), poll_ms=30)
    run = _run()
    with qtbot.waitSignal(workers.ended, timeout=20_000) as caught:
        workers.start(run, "train")
    assert caught.args == [run.path, "new"]
    assert last_words(run.path) == "no such model"


def test_no_such_program(home: Path) -> None:
    workers = Workers(lambda kind, path: ["/nowhere/python"], _environment())
    with pytest.raises(UserError, match="could not be started"):
        workers.start(_run(), "train")


def test_settings_that_forbid_a_start_make_no_run(home: Path) -> None:
    workers = Workers(_command(home, 1), _environment())
    with pytest.raises(UserError, match="model"):
        workers.start_training(default_settings())
    assert runs.list_runs() == []


def test_start_training_makes_the_run(qtbot, home: Path) -> None:
    settings = presets.load(next(iter(presets.builtin().values())).path)
    workers = Workers(_command(home, 2), _environment(), poll_ms=30)
    with qtbot.waitSignal(workers.ended, timeout=20_000):
        path = workers.start_training(settings, "starter")
    facts = runs.open_run(path).facts()
    assert facts["kind"] == "train" and facts["preset"] == "starter"


def test_resume_refuses_a_living_run(qtbot, home: Path, leftovers: list[int]) -> None:
    workers = Workers(_command(home, 2000), _environment(), poll_ms=30)
    run = _run()
    workers.start(run, "train")
    qtbot.waitUntil(lambda: run.worker_pid() is not None, timeout=20_000)
    leftovers.append(run.worker_pid())
    with pytest.raises(UserError, match="running already"):
        workers.resume(run.path)
    workers.stop_and_save(run.path)
    with qtbot.waitSignal(workers.ended, timeout=20_000):
        pass
    with qtbot.waitSignal(workers.started):
        workers.resume(run.path)
    time.sleep(0.1)
    with qtbot.waitSignal(workers.ended, timeout=30_000):
        qtbot.waitUntil(lambda: run.worker_pid() is not None, timeout=20_000)
        leftovers.append(run.worker_pid())
        workers.stop_and_save(run.path)
