"""Starts a worker for the command line and shows its events as a progress bar; ctrl-C stops and saves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from core import events as ev
from core.launch import worker_command, worker_environment
from core.paths import ROOT
from core.quantities import show_foretold
from core.run_data import RunData
from core.runs import Kind, Run

_PHASES = {
    "index": "looking at the pictures",
    "cache": "encoding pictures",
    "texts": "encoding captions",
    "load": "loading the model",
    "evaluate": "measuring the stable loss",
    "sample": "drawing samples",
    "save": "saving",
    "grid": "drawing the grid",
    "caption": "captioning",
}


#: Statuses of a worker that a second ctrl-C (or one before it could listen) has ended.
_INTERRUPTED = (130, -2)


class Bar:
    """One line on stderr that is rewritten on a terminal, and a line now and then elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._tty = sys.stderr.isatty()
        self._last = ""
        self._last_time = 0.0

    def show(self, text: str, done: float) -> None:
        """Show a text behind a bar filled to `done` (0 ... 1)."""
        if self._quiet:
            return
        filled = round(max(0.0, min(1.0, done)) * 24)
        line = f"[{'#' * filled}{'.' * (24 - filled)}] {text}"
        now = time.monotonic()
        if self._tty:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + line[:width].ljust(width), end="", file=sys.stderr, flush=True)
        elif line != self._last and now - self._last_time > 5:
            print(line, file=sys.stderr, flush=True)
            self._last_time = now
        self._last = line

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Wipe the line off a terminal."""
        if self._tty and not self._quiet:
            blank = " " * (shutil.get_terminal_size().columns - 1)
            print(f"\r{blank}\r", end="", file=sys.stderr, flush=True)


def run_worker(kind: Kind, run: Run, quiet: bool = False) -> tuple[int, RunData]:
    """Start the worker of a run, show its events until it ends; (exit status, what it said)."""
    console = run.console_path.open("ab")
    follower = ev.Follower(run.events_path)
    follower.position = run.events_path.stat().st_size if run.events_path.exists() else 0
    child = subprocess.Popen(
        worker_command(kind, run.path), env=worker_environment(), cwd=ROOT, stdout=console, stderr=console
    )
    data = RunData()
    bar = Bar(quiet)
    while True:
        try:
            ended = child.poll() is not None
            _show(follower, data, bar)
            if ended and not follower.behind():
                break
            time.sleep(0.1)
        except KeyboardInterrupt:
            bar.say("Stopping: the present step is finished and saved. (ctrl-C again ends at once.)")
            _pass_on_interrupt(run, child)
    console.close()
    return _status(child.returncode, run, data, bar), data


def _pass_on_interrupt(run: Run, child: subprocess.Popen[bytes]) -> None:
    """The child has got the terminal's ctrl-C too; where it has not (Windows), the command file asks it to stop."""
    if child.poll() is None:
        run.send("stop")


def _show(follower: ev.Follower, data: RunData, bar: Bar) -> None:
    """Take in new events and show the latest."""
    while events := follower.read():
        data.feed(events)
        for event in events:
            if isinstance(event, ev.Message):
                bar.say(("Warning: " if event.level == "warning" else "") + event.text)
            elif isinstance(event, ev.Evaluated):
                bar.say(f"step {event.step:,}: stable {event.split} loss {event.loss:.5f}")
            elif isinstance(event, ev.Checkpoint):
                bar.say(f"step {event.step:,}: saved {Path(event.path).name}")
    progress = data.progress
    if progress is not None:
        text = f"{_PHASES.get(progress.phase, progress.phase)} {progress.done:,}/{progress.total:,}"
        text += f", {progress.text}" if progress.phase == "caption" and progress.text else ""
        bar.show(text, progress.done / max(1, progress.total))
    elif data.cells:
        cell = data.cells[-1]
        bar.show(f"{_PHASES['grid']} {len(data.cells):,}/{cell.total:,}", len(data.cells) / cell.total)
    elif data.started is not None and data.last_step:
        _show_step(data, data.started, bar)


def _show_step(data: RunData, started: ev.Started, bar: Bar) -> None:
    """The line of a training that goes on."""
    loss = data.curve("loss").values[-50:]
    speed = data.curve("speed").values[-20:]
    left = ""
    if len(speed) and speed.mean() > 0:
        seconds = (started.total_steps - data.last_step) * started.images_per_step / float(speed.mean())
        left = f", {float(speed.mean()):.1f} img/s, {show_foretold(seconds)} left"
    text = f"step {data.last_step:,}/{started.total_steps:,}, loss {float(loss.mean()):.4f}{left}"
    bar.show(text, data.last_step / max(1, started.total_steps))


def _status(code: int, run: Run, data: RunData, bar: Bar) -> int:
    """The command's status; what went wrong is one line on stderr."""
    bar.clear()
    if data.ended is not None:
        if data.ended.state != "failed":
            return 0
        print(data.ended.text, file=sys.stderr)
        return code if code in (1, 2) else 1
    if code in _INTERRUPTED:
        print(f"Stopped at once, without saving. The run is in {run.path}.", file=sys.stderr)
        return 130
    tail = _last_words(run)
    # A mistake that the worker could not write into the run: another worker has it, for instance.
    if code == 2 and tail:
        print(tail, file=sys.stderr)
        return 2
    print(f"The worker ended without a word (status {code}). {tail} See {run.console_path}.", file=sys.stderr)
    return 1


def _last_words(run: Run) -> str:
    """The last line of the console log."""
    try:
        lines = run.console_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""
