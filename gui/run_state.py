"""A run folder as the window sees it: a thread reads and decodes, one timer hands the news to the pages."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from PySide6.QtCore import QObject, QTimer, Signal

from core import runs
from core.errors import UserError
from core.events import AnyEvent, Follower
from core.run_data import RunData
from core.settings import Settings

#: Bytes decoded at a time. The interpreter's lock is held for about 0.3 ms a block, so the window never waits long.
BLOCK_BYTES = 1 << 17
#: Blocks that may wait for the window before the reader pauses.
_MOST_WAITING = 100
#: Milliseconds between two looks of the window, and how long one look may take in events.
_TICK_MS = 100
_BUDGET_SECONDS = 0.008
#: Seconds between two looks of the reader at the file, and between two looks for the worker.
_POLL_SECONDS = 0.05
_WORKER_SECONDS = 0.5


class _Reader(threading.Thread):
    """Reads a run's files off the window's thread.

    The events that the file holds at first go into a RunData of the reader's own, which is handed over whole; those
    that come later wait in `batches` until the window takes them in. So no RunData is ever touched by two threads.

    Attributes:
        share: Part of the file that was read, 0 to 1.
        first: The RunData of the first reading, once it is complete.
        batches: Later events, oldest first.
        settings: The frozen settings; None until they are read, or when they cannot be.
        worker: (process number, seconds since 1970 when it began) of the living worker, or None.
    """

    def __init__(self, run: runs.Run) -> None:
        super().__init__(name=f"reader of {run.path.name}", daemon=True)
        self.share = 0.0
        self.first: RunData | None = None
        self.batches: deque[list[AnyEvent]] = deque()
        self.settings: Settings | None = None
        self.worker: tuple[int, float] | None = None
        self._run = run
        self._follower = Follower(run.events_path, BLOCK_BYTES)
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop_asked.set()
        if self.is_alive():
            self.join(5)

    def run(self) -> None:
        """The thread: everything that is there, then what comes."""
        with contextlib.suppress(UserError):
            self.settings = self._run.settings()
        self.worker = self._find_worker()
        data = RunData()
        for events in self._blocks():
            data.feed(events)
        self.share = 1.0
        self.first = data
        looked = time.monotonic()
        while not self._stop_asked.wait(_POLL_SECONDS):
            worker = self.worker
            if time.monotonic() - looked > _WORKER_SECONDS:
                worker, looked = self._find_worker(), time.monotonic()
            for events in self._blocks():
                self.batches.append(events)
                while len(self.batches) > _MOST_WAITING and not self._stop_asked.wait(_POLL_SECONDS):
                    pass
            # Told after its last words were read: a worker that ended by itself is never taken for a killed one.
            self.worker = worker

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        """What the file holds now, block by block; the window gets its turn in between."""
        while not self._stop_asked.is_set():
            events = self._follower.read()
            behind = self._follower.behind()
            if not events and not behind:
                return
            position = self._follower.position
            self.share = position / max(1, position + behind)
            yield events
            time.sleep(0)

    def _find_worker(self) -> tuple[int, float] | None:
        pid = self._run.worker_pid()
        if pid is None:
            return None
        if self.worker is not None and self.worker[0] == pid:
            return self.worker
        try:
            return pid, psutil.Process(pid).create_time()
        except psutil.Error:
            return None


class RunState(QObject):
    """Follows a run folder, live or old, with the same code.

    Signals:
        updated: Something is new: events, the worker, or how much of the file is read. At most ten times a second.
        loaded: All that the file held at first is in `data`.
        ended: The worker ended, or was killed, while it was watched.
    """

    updated = Signal()
    loaded = Signal()
    ended = Signal()

    def __init__(self, path: Path) -> None:
        """`path` is the run's folder; UserError when it is none."""
        super().__init__()
        self.run = runs.open_run(path)
        self.facts = self.run.facts()
        self.data = RunData()
        self.is_loaded = False
        self.state = "new"
        self._reader: _Reader | None = None
        self._worker: tuple[int, float] | None = None
        self._share = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def name(self) -> str:
        """The run's name as people see it."""
        return str(self.facts.get("name", self.run.path.name))

    @property
    def kind(self) -> str:
        """ "train", "cache" or "grid"."""
        return str(self.facts.get("kind", "train"))

    @property
    def share_read(self) -> float:
        """Part of the events file that was read, 0 to 1."""
        return self._share

    @property
    def settings(self) -> Settings | None:
        """The run's frozen settings; None until they are read, or when there are none."""
        return self._reader.settings if self._reader else None

    @property
    def alive(self) -> bool:
        """Whether a worker is at the run."""
        return self.state in ("running", "paused")

    @property
    def total_steps(self) -> int | None:
        """Planned steps; None while nobody knows."""
        if self.data.started is not None:
            return self.data.started.total_steps or None
        return (self.settings.training.max_steps or None) if self.settings else None

    @property
    def seconds_left(self) -> float | None:
        """Time until the last step at the pace of the last hundred; None when unknown or nothing is running."""
        curve, total = self.data.curve("seconds"), self.total_steps
        if not self.alive or total is None or len(curve) < 2:
            return None
        back = min(len(curve), 100)
        seconds = curve.values[-1] - curve.values[-back]
        steps = curve.steps[-1] - curve.steps[-back]
        if steps <= 0 or not np.isfinite(seconds):
            return None
        return float(max(0.0, total - self.data.last_step) * seconds / steps)

    def start(self) -> None:
        """Begin to follow; signals come from the event loop."""
        if self._reader is None:
            self._reader = _Reader(self.run)
            self._reader.start()
            self._timer.start()

    def close(self) -> None:
        """Stop following. The worker goes on."""
        self._timer.stop()
        if self._reader is not None:
            self._reader.stop()

    def stop(self) -> None:
        """Ask the worker to save and end."""
        self._send("stop")

    def pause(self) -> None:
        """Ask the worker to wait before its next step."""
        self._send("pause")

    def resume(self) -> None:
        """Ask a waiting worker to go on."""
        self._send("continue")

    def save_now(self) -> None:
        """Ask for a checkpoint after the present step."""
        self._send("save")

    def sample_now(self) -> None:
        """Ask for samples after the present step."""
        self._send("sample")

    def _send(self, command: runs.CommandName) -> None:
        if self.alive:
            self.run.send(command)

    def _tick(self) -> None:
        """Take in what the reader has found."""
        reader = self._reader
        if reader is None:
            return
        worker, share = reader.worker, reader.share
        news = worker != self._worker or share != self._share
        if not self.is_loaded and reader.first is not None:
            self.data = reader.first
            self.is_loaded = True
            self._worker, self._share = worker, share
            self.state = self._present_state()
            self.loaded.emit()
            news = True
        if self.is_loaded:
            news = self._take_batches(reader) or news
        self._worker, self._share = (worker if not reader.batches else self._worker), share
        if news:
            was_alive = self.alive
            self.state = self._present_state()
            self.updated.emit()
            if was_alive and not self.alive:
                self.ended.emit()

    def _take_batches(self, reader: _Reader) -> bool:
        """Feed waiting events for as long as the budget allows; True when there were any."""
        until = time.perf_counter() + _BUDGET_SECONDS
        took = False
        while reader.batches and (not took or time.perf_counter() < until):
            self.data.feed(reader.batches.popleft())
            took = True
        return took

    def _present_state(self) -> str:
        """As core.runs.Run.state says it, from what was read."""
        ended = self.data.ended
        if self._worker is not None and (ended is None or ended.time < self._worker[1]):
            return "paused" if self.data.paused else "running"
        if ended is not None:
            return ended.state
        spoke = self.data.started is not None or self.data.progress is not None or self.data.telemetry is not None
        if spoke or self.data.last_step or self.data.cells:
            return "interrupted"
        return "new"
