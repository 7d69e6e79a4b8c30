"""What happens between two steps: all processes hear the same wishes, and wait: because asked, or for a full disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from accelerate import Accelerator

from core import events as ev
from core.engine.control import Control
from core.engine.distributed import broadcast_flags
from core.errors import DiskFullError, Stopped, means_full

#: How often a waiting run looks at commands and at the room on the disk.
_LOOK_SECONDS = 0.25
#: A full disk is tried again when it has room that it had not, and so often in any case: a quota cannot be seen.
_RETRY_SECONDS = 300.0
#: So much more room is worth another try; other programs' small files come and go.
_MORE_BYTES = 64 << 10


class Intermission:
    """Waits of a run, in all its processes at once.

    Attributes:
        control, accelerator: The wishes that processes hear, and the processes.
        seconds: Time that was spent waiting.
    """

    def __init__(self, control: Control, accelerator: Accelerator, folder: Path) -> None:
        """`folder` lies on the disk that may be full."""
        self.seconds = 0.0
        self.control = control
        self.accelerator = accelerator
        self._folder = folder

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and saves."""
        return bool(self.accelerator.is_main_process)

    def hear(self) -> None:
        """Poll the commands; every process has rank 0's afterwards."""
        control = self.control
        control.poll()
        flags = [control.stopping, control.paused, control.save, control.sample, control.going_on, control.blocked]
        flags = broadcast_flags(self.accelerator, flags)
        control.stopping, control.paused, control.save, control.sample, control.going_on, control.blocked = flags

    def pause(self, step: int) -> Iterator[ev.Event]:
        """Wait for "continue" or for a stop."""
        yield ev.Paused(step=step)
        began = time.monotonic()
        while self.control.paused and not self.control.stopping:
            time.sleep(_LOOK_SECONDS)
            self.hear()
        self.seconds += time.monotonic() - began
        yield ev.Continued(step=step)

    def insist(self, step: int, write: Callable[[], Iterator[ev.Event]]) -> Iterator[ev.Event]:
        """Do what writes to the disk; while that is full, say so, pause, and try again. All processes call this.

        What `write` wrote before it found the disk full it must not do again. Raises Stopped when a stop ended the
        wait; there is one more try first.
        """
        waited = False
        while True:
            unwritten = yield from _attempt(write)
            full, stopping = broadcast_flags(self.accelerator, [bool(unwritten), self.control.stopping])
            if not full:
                break
            if stopping:
                yield ev.Message(level="warning", text=_given_up(unwritten, step), step=step)
                raise Stopped
            if not waited:
                yield ev.Message(level="warning", text=_waiting(unwritten), step=step)
                yield ev.Paused(step=step)
            waited = True
            self._wait_for_room()
        if waited:
            yield ev.Continued(step=step)

    def _wait_for_room(self) -> None:
        """Return in all processes when another try is worth while, was asked for, or a stop was."""
        control, began, least = self.control, time.monotonic(), self._free_bytes()
        blocked = control.blocked
        control.going_on = False
        while True:
            self.hear()
            free = self._free_bytes()
            least = min(least, free)
            more = free - least >= _MORE_BYTES or time.monotonic() - began > _RETRY_SECONDS
            more = more or (blocked and not control.blocked)
            if broadcast_flags(self.accelerator, [control.stopping or control.going_on or more])[0]:
                break
            time.sleep(_LOOK_SECONDS)
        control.going_on = False
        self.seconds += time.monotonic() - began

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:  # a disk in the network that is away for a moment
            return 0


def _attempt(write: Callable[[], Iterator[ev.Event]]) -> Generator[ev.Event, None, str]:
    """Write; "" or what found the disk full."""
    try:
        yield from write()
    except DiskFullError as error:
        return error.what
    except OSError as error:
        if not means_full(error):
            raise
        return str(error.filename or "a file")
    return ""


def _waiting(what: str) -> str:
    """The sentence for a run that begins to wait."""
    return (
        f"The disk is full: {what} was not written, and what was saved before is kept. The run waits and goes on by "
        "itself when some space is free; Continue tries at once, Stop ends the run without this."
    )


def _given_up(what: str, step: int) -> str:
    """The sentence for a run that was stopped while the disk was full."""
    return (
        f"The disk is full: {what} was not written. The run was stopped at step {step:,}; "
        "a resume goes on from the newest state that was saved."
    )
