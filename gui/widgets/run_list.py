"""Recent runs as rows: name, state, step, age; a double click opens one in Monitor."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from core.run_notes import Notes
from gui.widgets.basics import button, column, label
from gui.widgets.elided import Elided
from gui.widgets.status_line import StateDot, state_words

#: States from which a run can go on.
CAN_GO_ON = ("interrupted", "stopped", "failed")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a row shows."""

    path: Path
    name: str
    kind: str
    state: str
    step: int
    created: float
    can_go_on: bool
    notes: Notes = field(default_factory=Notes)


def read_runs(most: int = 30) -> list[RunFacts]:
    """The newest runs; reads files, so not for the window's thread. Grid jobs and caches are left out."""
    from core import run_notes, runs

    found = []
    for run in runs.list_runs():
        facts = run.facts()
        kind = str(facts.get("kind", "train"))
        if kind not in ("train", "imported"):
            continue
        state, step = run.state()
        can_go_on = state in CAN_GO_ON and bool(run.states())
        created = float(facts.get("created", 0))
        notes = run_notes.read(run.path)
        found.append(RunFacts(run.path, run.name, kind, state, step, created, can_go_on, notes))
        if len(found) == most:
            break
    return found


def age_words(seconds: float) -> str:
    """How long ago something was: "just now", "5 min ago", "3 h ago", "2 days ago"."""
    if seconds < 90:
        return "just now"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / 86400:.0f} days ago"


class RunRow(QFrame):
    """One run.

    Signals:
        opened: The run was double-clicked, or Enter was pressed on it.
        go_on: Its "Go on" was clicked.
    """

    opened = Signal(object)
    go_on = Signal(object)

    def __init__(self, facts: RunFacts) -> None:
        super().__init__()
        self.facts = facts
        self.setProperty("listrow", True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip(f"{facts.path}\nDouble click opens it in Monitor")
        state = "not started" if facts.state == "new" else state_words(facts.state)
        self.setAccessibleName(f"{facts.name}, {state}")
        dot = StateDot()
        dot.set_state(facts.state)
        step = "" if facts.state == "new" else f"  ·  step {facts.step:,}"
        about = f"{state}{step}  ·  {age_words(time.time() - facts.created)}"
        if facts.notes.bookmarks:
            many = len(facts.notes.bookmarks)
            about += f"  ·  {many} bookmark{'s' if many > 1 else ''}"
        words = [label(facts.name, "value"), label(about, "dim")]
        if facts.notes.first_line:
            words.append(Elided(facts.notes.first_line, "dim"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setSpacing(12)
        layout.addWidget(dot)
        layout.addLayout(column(*words, spacing=2), 1)
        if facts.can_go_on:
            resume = button("Go on", "play", tip="Go on from the last saved state")
            resume.clicked.connect(lambda: self.go_on.emit(facts.path))
            layout.addWidget(resume)
        show = button("Open", look="quiet", tip="Show it in Monitor")
        show.clicked.connect(lambda: self.opened.emit(facts.path))
        layout.addWidget(show)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open it."""
        self.opened.emit(self.facts.path)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter opens it as well."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.opened.emit(self.facts.path)
        else:
            super().keyPressEvent(event)


class RunList(QWidget):
    """The rows; empty, it says what will stand here.

    Signals:
        opened, go_on: As of RunRow.
    """

    opened = Signal(object)
    go_on = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        text = "Your runs will be listed here, those that were interrupted with a way to go on."
        self._none = label(text, "dim", wrap=True)
        self._none.setContentsMargins(8, 0, 8, 8)
        self._layout.addWidget(self._none)
        self.rows: list[RunRow] = []
        self._shown: list[RunFacts] | None = None

    def show_runs(self, runs: list[RunFacts]) -> None:
        """Show these runs."""
        if runs == self._shown:
            return
        self._shown = runs
        for old in self.rows:
            self._layout.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.rows = []
        for facts in runs:
            made = RunRow(facts)
            made.opened.connect(self.opened)
            made.go_on.connect(self.go_on)
            self._layout.addWidget(made)
            self.rows.append(made)
        self._none.setVisible(not runs)
