"""Reads runs for Compare in another thread, one after the other, and keeps long ones as columns when it has time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject, Signal

from core import compare, run_notes, runs
from core.compare import Compared
from core.errors import UserError
from gui.run_colors import MANY
from gui.widgets.background import Background

log = logging.getLogger(__name__)

#: Kinds of run folders that have curves.
KINDS = ("train", "imported")


@dataclass(frozen=True)
class Choice:
    """A run that can be chosen, by what its folder says at a glance."""

    path: Path
    name: str
    group: str
    kind: str
    created: float
    notes: run_notes.Notes


def read_choices() -> list[Choice]:
    """All runs that have begun, the newest first; reads small files only, but many, so not for the window's thread."""
    found = []
    for run in runs.list_runs():
        facts = run.facts()
        if facts["kind"] in KINDS and run.events_path.exists():
            group = compare.group_of(run.path, facts)
            notes = run_notes.read(run.path)
            found.append(Choice(run.path, str(facts["name"]), group, facts["kind"], float(facts["created"]), notes))
    return found


class RunReader(QObject):
    """Signals: loaded (a Compared), failed (a sentence), rested (nothing more is wanted)."""

    loaded = Signal(object)
    failed = Signal(str)
    rested = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._wanted: list[Path] = []
        self._to_keep: list[Compared] = []
        self._colors: list[int] = []
        self._reads = Background(self)
        self._reads.done.connect(self._arrived)
        self._reads.failed.connect(self._refused)
        self._keeps = Background(self)
        self._keeps.done.connect(lambda _: None if self.busy else self._keep())
        self._keeps.failed.connect(lambda error: log.warning("Columns could not be kept: %s", error))

    @property
    def busy(self) -> bool:
        """Whether runs are still to be read."""
        return self._reads.busy or bool(self._wanted)

    def want(self, paths: Iterable[Path], taken: Sequence[int] = ()) -> None:
        """Read these as well, in this order; `taken` are the numbers of the colours that other runs have."""
        self._colors += taken
        self._wanted += [path for path in paths if path not in self._wanted]
        self._next()

    def forget(self, path: Path) -> None:
        """A run is not wanted any more."""
        self._wanted = [one for one in self._wanted if one != path]

    def _next(self) -> None:
        if self._reads.busy:
            return
        if not self._wanted:
            self._colors.clear()
            self._keep()
            return
        path = self._wanted.pop(0)
        self._reads.start(_reading(path, list(self._colors)))

    def _arrived(self, run: Compared) -> None:
        self._colors.append(run.notes.color)
        if run.reading is not None and run.reading.worth_keeping:
            self._to_keep.append(run)
        self.loaded.emit(run)
        self._next()
        if not self.busy:
            self.rested.emit()

    def _refused(self, error: Exception) -> None:
        if not isinstance(error, UserError):
            log.error("A run could not be read", exc_info=error)
        self.failed.emit(str(error))
        self._next()
        if not self.busy:
            self.rested.emit()

    def _keep(self) -> None:
        """Now that nobody waits: write down what took long to read."""
        if self._to_keep and not self._keeps.busy:
            runs_read, self._to_keep = self._to_keep, []
            self._keeps.start(lambda: _keep_all(runs_read))


def _reading(path: Path, taken: list[int]) -> Callable[[], Any]:
    def read() -> Compared:
        run = compare.load(path)
        color = run_notes.color_of(path, taken, MANY)
        return replace(run, notes=msgspec.structs.replace(run.notes, color=color))

    return read


def _keep_all(found: list[Compared]) -> None:
    for run in found:
        compare.keep(run)
