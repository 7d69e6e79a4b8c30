"""Starts workers that outlive the window, and tells when they begin and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import UserError

if TYPE_CHECKING:
    from core.launch import Detached
    from core.runs import Kind, Run

Command = Callable[["Kind", Path], list[str]]

#: Seconds that a worker has to write its process number before it counts as one that could not start.
START_SECONDS = 30.0


def _worker_command(kind: Kind, path: Path) -> list[str]:
    from core.launch import worker_command

    return worker_command(kind, path)


class _Watched:
    """One run whose worker is awaited or alive."""

    def __init__(self, run: Run, process: Detached | None) -> None:
        self.run = run
        self.process = process
        self.began = time.monotonic()
        self.seen = False

    def reap(self) -> None:
        """Take note of a child's end, so that no zombie stays."""
        if self.process is not None:
            self.process.poll()

    def could_not_start(self) -> bool:
        """Whether the process went before it wrote its number, or never came."""
        if self.process is not None:
            return self.process.poll() is not None
        return time.monotonic() - self.began > START_SECONDS


class Workers(QObject):
    """Starts workers detached, with their output in the run's console.log, and polls their life.

    The window may close, or be killed, at any time: nothing of the worker hangs on it.

    Signals:
        started: Folder of a run whose worker was started.
        ended: (folder, state) when the worker of a watched run is gone; the state is that of core.runs.Run.state.
    """

    started = Signal(object)
    ended = Signal(object, str)

    def __init__(
        self,
        command: Command | None = None,
        environment: Mapping[str, str] | None = None,
        parent: QObject | None = None,
        poll_ms: int = 500,
    ) -> None:
        """`command` makes program and arguments from (kind, run folder); tests put a small script there."""
        super().__init__(parent)
        self._command = command or _worker_command
        self._environment = environment
        self._watched: dict[Path, _Watched] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(poll_ms)
        self._timer.timeout.connect(self._poll)

    def start_training(self, settings: Any, preset: str = "") -> Path:
        """Make the run's folder and start its worker; UserError when the settings forbid it or it cannot be made."""
        from core import checks, runs

        checks.require_startable(settings)
        return self.start(runs.create(settings, preset=preset), "train")

    def resume(self, path: Path) -> Path:
        """Go on with an interrupted or stopped run from its last state; UserError when a worker is at it already."""
        from core import runs

        run = runs.open_run(path)
        if run.worker_pid() is not None:
            raise UserError(f"{run.name} is running already.")
        return self.start(run, run.facts().get("kind", "train"))

    def start(self, run: Run, kind: Kind) -> Path:
        """Start the worker of a run that exists."""
        from core.launch import start_detached

        command = self._command(kind, run.path)
        try:
            process = start_detached(command, self._process_environment(), run.console_path)
        except OSError as error:
            raise UserError(f"The worker could not be started ({command[0]}: {error.strerror or error}).") from None
        self.watch(run, process)
        self.started.emit(run.path)
        return run.path

    def _process_environment(self) -> Mapping[str, str]:
        if self._environment is not None:
            return self._environment
        from core.launch import worker_environment

        return worker_environment(beside_window=True)

    def watch(self, run: Run, process: Detached | None = None) -> None:
        """Tell when the worker of this run ends; for runs that were found alive as well."""
        watched = _Watched(run, process)
        watched.seen = run.worker_pid() is not None
        self._watched[run.path] = watched
        if not self._timer.isActive():
            self._timer.start()

    def stop_and_save(self, path: Path) -> None:
        """Ask the worker to save after the present step and end."""
        from core.runs import Run

        Run(path).send("stop")

    def running(self) -> list[Path]:
        """Folders of the watched runs whose workers are awaited or alive."""
        return list(self._watched)

    def _poll(self) -> None:
        """See who is still there."""
        for path, watched in list(self._watched.items()):
            if watched.run.worker_pid() is not None:
                watched.seen = True
            elif watched.seen or watched.could_not_start():
                del self._watched[path]
                self.ended.emit(path, watched.run.state()[0])
            watched.reap()
        if not self._watched:
            self._timer.stop()


def last_words(path: Path, lines: int = 1) -> str:
    """The last lines of a run's console, for the sentence that says why a worker could not start."""
    try:
        text = (path / "console.log").read_bytes()[-4000:].decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([row for row in text.splitlines() if row.strip()][-lines:])
