"""Tests of core/terminal.py: the bar, and what is said when a (real, stand-in) worker ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core import events as ev
from core import terminal
from core.runs import Run
from core.terminal import Bar, run_worker
from tests.fixtures.run_folders import new_run, started, step

#: A worker that writes the encoded events of a file into its run and ends with a status.
_STAND_IN = """
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.SIG_DFL)  # who starts the tests in the background may have it ignored
run, source, code = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with (run / "events.jsonl").open("ab") as file:
    file.write(source.read_bytes())
print("last words", file=sys.stderr, flush=True)
os.kill(os.getpid(), -code) if code < 0 else os._exit(code)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """worker(events, code) runs a stand-in worker for a new run and gives (status, data)."""

    def start(events: list[ev.Event], code: int, quiet: bool = False):  # type: ignore[no-untyped-def]
        source = tmp_path / "events"
        source.write_bytes(b"".join(map(ev.encode, events)))
        run = new_run(tmp_path / "run")
        command = [sys.executable, "-c", _STAND_IN, str(run.path), str(source), str(code)]
        monkeypatch.setattr(terminal, "worker_command", lambda kind, path: command)
        return run_worker("train", run, quiet)

    return start


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_run_that_finished(worker, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    measured = ev.Evaluated(step=3, split="validation", loss=0.125, buckets=[], duration=1)
    saved = ev.Checkpoint(step=3, path="checkpoints/x.safetensors", bytes=1)
    warning = ev.Message(level="warning", text="a.png is skipped: it is broken.")
    status, data = worker([started(), warning, step(3), measured, saved, ev.Ended(state="finished", step=3)], 0)
    assert status == 0 and data.last_step == 3
    assert [line for line in lines(capsys) if not line.startswith("[")] == [
        "Warning: a.png is skipped: it is broken.",
        "step 3: stable validation loss 0.12500",
        "step 3: saved x.safetensors",
    ]


@pytest.mark.parametrize(
    ("events", "code", "status", "says"),
    [
        ([ev.Ended(state="failed", text="The model is none.")], 2, 2, "The model is none."),
        ([ev.Ended(state="failed", text="Burnish failed.")], 1, 1, "Burnish failed."),
        ([], 2, 2, "last words"),
        ([], 1, 1, "The worker ended without a word (status 1). last words See "),
        ([started()], -9, 1, "The worker ended without a word (status -9)."),
        ([started()], 130, 130, "Stopped at once, without saving."),
        ([], -2, 130, "Stopped at once, without saving."),
    ],
)
def test_what_went_wrong_is_one_line(  # type: ignore[no-untyped-def]
    worker, capsys: pytest.CaptureFixture[str], events: list[ev.Event], code: int, status: int, says: str
) -> None:
    assert worker(events, code, quiet=True)[0] == status
    (line,) = lines(capsys)
    assert line.startswith(says)


def test_what_a_run_said_before_is_not_said_again(worker, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    worker([ev.Message(text="old")], 0)
    capsys.readouterr()
    run = Run(tmp_path / "run")
    _, data = run_worker("train", run)  # the same stand-in again, for the same folder
    assert [message.text for message in data.messages] == ["old"]
    assert run.events_path.read_bytes().count(b"old") == 2


def test_the_bar_elsewhere_than_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.show("half", 0.5)
    bar.show("half", 0.5)  # the same again
    bar.show("more", 0.75)  # too soon
    bar.say("a line")
    assert lines(capsys) == ["[############............] half", "a line"]
    quiet = Bar(quiet=True)
    quiet.show("x", 1)
    quiet.say("y")
    assert lines(capsys) == []


def test_the_bar_on_a_terminal_rewrites_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    bar = Bar()
    bar.show("one", 2.0)
    bar.show("x" * 100, -1)
    bar.say("stays")
    one, two, wiped = capsys.readouterr().err.split("\r")[1:4]
    assert one == "[########################] one".ljust(59)
    assert two == ("[........................] " + "x" * 100)[:59]
    assert wiped == " " * 59
