"""Writes a worker's events, from several threads, and keeps them back while the disk is full."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from core import events as ev
from core.errors import means_full
from core.runs import Run

if TYPE_CHECKING:
    from core.tools.tfevents_writer import EventFile

#: Room that a training holds, so that it can still say that the disk is full.
RESERVE_BYTES = 64 << 10
_log = logging.getLogger("burnish")


class Speaker:
    """An event writer that two threads may use; it may write for TensorBoard beside.

    A patient one, for jobs that ask unwritten() and wait, raises nothing on a full disk: it gives up its reserve to say
    so, and keeps events until there is room. Others raise OSError.
    """

    def __init__(self, run: Run, patient: bool = False) -> None:
        self._run = run
        self._writer = ev.Writer(run.events_path)
        self._tensorboard: EventFile | None = None
        self._lock = threading.Lock()
        self._waiting: deque[ev.Event] = deque()
        self._patient = patient
        self._reserve = run.path / ".reserve.part"
        self._has_reserve = False
        if patient:
            self._make_reserve()

    def write_for_tensorboard(self) -> None:
        """From now on write every event's numbers into a TensorBoard file too. UserError when it cannot be made."""
        from core.tools.tfevents_writer import open_live

        with self._lock:
            self._tensorboard = open_live(self._run)

    def write(self, event: ev.Event) -> None:
        """Append an event, after those that wait for room; sensor readings and progress do not wait."""
        with self._lock:
            if self._waiting and isinstance(event, ev.Telemetry | ev.Progress):
                return
            self._waiting.append(event)
            self._write_waiting()
            if self._tensorboard is None:
                return
            try:
                self._tensorboard.write(event)
            except OSError:  # the run's own record is whole; TensorBoard's can be exported from it later
                _log.exception("nothing more is written for TensorBoard")
                self._close_tensorboard()

    def unwritten(self) -> bool:
        """Try to write the events that wait, and to hold the reserve again; whether the disk is still full."""
        with self._lock:
            if self._waiting:
                self._write_waiting()
            if not self._has_reserve and not self._waiting:
                self._make_reserve()
            return bool(self._waiting) or not self._has_reserve

    def close(self) -> None:
        """Close the files. Events that still wait are lost to the run; the console log may have them."""
        with self._lock:
            self._remove_reserve()
            with contextlib.suppress(OSError):
                self._write_waiting()
            for event in self._waiting:
                _log.error("not written for want of room on the disk: %s", event)
            self._writer.close()
            self._close_tensorboard()

    def _write_waiting(self) -> None:
        """Write what waits, as far as there is room; OSError for other troubles, and of an impatient one for that."""
        while self._waiting:
            try:
                self._writer.write(self._waiting[0])
            except OSError as error:
                if not self._patient or not means_full(error):
                    self._waiting.popleft()
                    raise
                if not self._has_reserve:
                    return
                self._remove_reserve()
            else:
                self._waiting.popleft()

    def _make_reserve(self) -> None:
        """Take up the room that the last words will need."""
        try:
            self._reserve.write_bytes(os.urandom(RESERVE_BYTES))  # what a file system cannot squeeze
            self._has_reserve = True
        except OSError as error:
            self._remove_reserve()
            self._has_reserve = not means_full(error)  # where none can be made for another reason, none is missed

    def _remove_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve.unlink()
        self._has_reserve = False

    def _close_tensorboard(self) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = None
