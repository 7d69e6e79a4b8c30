"""What the user asks of a running worker: stop, pause, save, sample; from commands.jsonl and from signals."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.runs import CommandReader


class Control:
    """The requests that wait to be served. Polled between steps; reads the disk at most five times a second.

    Attributes:
        stopping: The job should save and end.
        paused: The training should wait.
        save, sample: One of these is wanted now; whoever serves it sets it back.
        going_on: "continue" was heard; whoever waits for something sets it back.
        unwritten: Tries to write the events that a full disk has kept back, and says whether some still wait.
        blocked: Events wait for room on the disk, by the last poll.
    """

    def __init__(self, reader: CommandReader | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._last_poll = float("-inf")
        self._interrupted = False
        self.stopping = False
        self.paused = False
        self.save = False
        self.sample = False
        self.going_on = False
        self.unwritten: Callable[[], bool] = lambda: False
        self.blocked = False

    @property
    def asked(self) -> bool:
        """Whether anything waits to be served."""
        return self.stopping or self.paused or self.save or self.sample or self.blocked

    def stop(self) -> None:
        """Ask for a stop (a signal handler may call this); the next poll takes it in.

        Several processes must see it at the same place in their work, so it cannot appear between two lines of theirs.
        """
        self._interrupted = True

    @property
    def interrupted(self) -> bool:
        """Whether a stop was asked for, heard or not."""
        return self._interrupted or self.stopping

    def poll(self) -> None:
        """Take in new commands."""
        self.stopping = self.interrupted
        self.blocked = self.unwritten()
        now = self._clock()
        if self._reader is None or now - self._last_poll < 0.2:
            return
        self._last_poll = now
        for command in self._reader.poll():
            if command == "stop":
                self.stopping = True
            elif command in ("pause", "continue"):
                self.paused = command == "pause"
                self.going_on = command == "continue"
            elif command == "save":
                self.save = True
            elif command == "sample":
                self.sample = True

    def should_stop(self) -> bool:
        """Poll and say whether to stop."""
        self.poll()
        return self.stopping
