"""A real window on a real screen (Xvfb): the demo runs, the window is killed, the run goes on and is found again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from core import runs
from core.launch import worker_environment
from core.paths import ROOT
from core.runs import Run

pytestmark = pytest.mark.screen
DEADLINE = 180.0
Found = TypeVar("Found")


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    """A virtual screen's name. Missing tools fail the test: .ci/run installs them."""
    if sys.platform != "linux":
        pytest.skip("Xvfb is a Linux program")
    if not shutil.which("Xvfb") or not shutil.which("xdotool"):
        pytest.fail("Xvfb and xdotool are missing; on Debian: apt-get install xvfb xdotool")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1366x768x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as told:
        # The whole line: the server writes number and line end apart, and dies when nobody hears the second.
        number = told.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


@pytest.fixture
def window(screen: str, burnish_home: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts main.py on the screen; windows and workers that are left at the end are killed."""
    environment = {**worker_environment(), "DISPLAY": screen, "QT_QPA_PLATFORM": "xcb", "OMP_NUM_THREADS": "1"}
    environment.update({"XDG_CONFIG_HOME": str(tmp_path / "config"), "BURNISH_HOME": str(burnish_home)})
    children = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "main.py", *arguments]
        children.append(subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True))
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for run in runs.list_runs():
        if pid := run.worker_pid():
            psutil.Process(pid).kill()


def _until(what: Callable[[], Found | None], why: str) -> Found:
    """Ask again and again until there is an answer."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(why)


def _titles(screen: str) -> list[str]:
    """Titles of the visible windows."""
    environment = {**os.environ, "DISPLAY": screen}
    command = ["xdotool", "search", "--onlyvisible", "--name", "Burnish", "getwindowname", "%@"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return found.stdout.splitlines()


def _only_run() -> Run | None:
    found = [run for run in runs.list_runs() if run.worker_pid()]
    return found[0] if found else None


def test_a_killed_window_leaves_its_run_alone_and_the_next_one_shows_it(
    screen: str, window: Callable[..., subprocess.Popen[bytes]]
) -> None:
    changes = ["training.max_steps=100000", "sample.every_steps=0", "validation.every_steps=0", "training.batch_size=1"]
    first = window("demo", *[part for change in changes for part in ("--set", change)])
    run = _until(_only_run, "the demo started no worker")
    _until(lambda: run.state()[1] >= 2, f"no step was done: {run.state()}")
    _until(lambda: any("Starter demo (running)" in title for title in _titles(screen)), f"titles: {_titles(screen)}")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    _until(lambda: not _titles(screen), "the killed window is still on the screen")
    step = run.state()[1]
    _until(lambda: run.state()[1] > step + 1, "the worker did not go on without its window")
    window()
    _until(lambda: any("Starter demo (running)" in title for title in _titles(screen)), f"titles: {_titles(screen)}")
    run.send("stop")
    _until(lambda: run.state()[0] == "stopped", f"the worker did not stop: {run.state()}")
    _until(lambda: any("(stopped)" in title for title in _titles(screen)), f"titles: {_titles(screen)}")
    assert run.checkpoints() and run.states()
