"""Tests of core/engine/intermission.py: when a run that waits for room tries again, and when it gives up."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as ev
from core.engine import intermission
from core.engine.control import Control
from core.engine.intermission import Intermission
from core.errors import DiskFullError, Stopped


class _Alone:
    """Stands in for an Accelerator of one process."""

    num_processes = 1
    is_main_process = True


class _Disk:
    """Refuses to be written so many times, and has the given room at each look."""

    def __init__(self, refusals: int, free: Callable[[int], int], error: Exception | None = None) -> None:
        self.tries = 0
        self.looks = 0
        self._refusals = refusals
        self._free = free
        self._error = error or DiskFullError("checkpoints/x.safetensors")

    def write(self) -> Iterator[ev.Event]:
        """What a run wants to write."""
        self.tries += 1
        if self.tries <= self._refusals:
            raise self._error
        yield ev.StateSaved(step=3, path="states/step00000003")

    def usage(self, folder: Path) -> Any:
        """In the place of shutil.disk_usage."""
        self.looks += 1
        return shutil._ntuple_diskusage(0, 0, self._free(self.looks))  # type: ignore[attr-defined]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Control, Iterator[ev.Event]]]:
    """Begin to insist on a disk; no time passes but by looks."""
    monkeypatch.setattr(intermission, "_LOOK_SECONDS", 0)

    def begin(disk: _Disk) -> tuple[Control, Iterator[ev.Event]]:
        monkeypatch.setattr(intermission.shutil, "disk_usage", disk.usage)
        control = Control()
        accelerator: Any = _Alone()
        return control, Intermission(control, accelerator, tmp_path).insist(3, disk.write)

    return begin


def kinds(events: list[ev.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


@pytest.mark.parametrize("error", [DiskFullError("x"), OSError(28, "No space left on device", "x")])
def test_it_tries_again_when_there_is_more_room(waits: Any, error: Exception) -> None:
    disk = _Disk(2, lambda look: (look // 5) << 20, error)
    _, events = waits(disk)
    told = list(events)
    assert kinds(told) == ["Message", "Paused", "StateSaved", "Continued"]
    assert "disk is full: x was not written" in told[0].text and told[0].level == "warning"
    assert disk.tries == 3 and disk.looks >= 10


def test_room_that_is_not_more_is_not_tried(waits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the clock brings another try where no room is seen to come."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(intermission.time, "monotonic", lambda: float(next(seconds)))
    disk = _Disk(1, lambda look: 5 << 20)
    _, events = waits(disk)
    assert kinds(list(events))[-1] == "Continued"
    assert disk.tries == 2 and disk.looks > 100


def test_continue_tries_at_once(waits: Any) -> None:
    disk = _Disk(1, lambda look: 0)
    control, events = waits(disk)
    control._reader = _Commands(["continue"])
    assert kinds(list(events)) == ["Message", "Paused", "StateSaved", "Continued"]
    assert disk.tries == 2 and not control.going_on


def test_a_stop_has_one_more_try(waits: Any) -> None:
    for refusals, last in ((1, "Continued"), (99, "Message")):
        disk = _Disk(refusals, lambda look: 0)
        control, events = waits(disk)
        told = []
        with pytest.raises(Stopped) if refusals > 1 else contextlib.nullcontext():
            for event in events:
                told.append(event)
                if isinstance(event, ev.Paused):
                    control.stop()
        assert disk.tries == 2 and kinds(told)[-1] == last


def test_other_errors_are_not_waited_for(waits: Any) -> None:
    _, events = waits(_Disk(1, lambda look: 0, OSError(13, "Permission denied")))
    with pytest.raises(OSError, match="Permission denied"):
        list(events)


def test_events_that_could_be_written_end_the_wait(waits: Any) -> None:
    disk = _Disk(1, lambda look: 0)
    control, events = waits(disk)
    control.blocked = True
    answers = iter([True, True, False])
    control.unwritten = lambda: next(answers, False)
    assert kinds(list(events))[-1] == "Continued" and disk.tries == 2


class _Commands:
    """In the place of a CommandReader."""

    def __init__(self, commands: list[str]) -> None:
        self._commands = commands

    def poll(self) -> list[str]:
        """Each command once."""
        found, self._commands = self._commands, []
        return found
