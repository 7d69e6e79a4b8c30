"""The notes of the shown run, folded away: a line says what they are about, a click opens them for writing."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout

from core.run_notes import Notes
from gui.widgets.basics import button, row, set_icon
from gui.widgets.compare_notes import NotesPanel
from gui.widgets.elided import Elided


def summary(notes: Notes) -> str:
    """The note's first line and how many bookmarks there are."""
    count = len(notes.bookmarks)
    marks = f"{count} bookmark{'s' * (count != 1)}" if count else ""
    return "  ·  ".join(filter(None, (notes.first_line, marks)))


class NotesCard(QFrame):
    """Opens with a click on its head.

    Signals:
        changed: The run's notes are others (Notes).
        step_asked: A bookmark was opened (step).
        failed: They could not be written (a sentence).
    """

    changed = Signal(object)
    step_asked = Signal(int)
    failed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.head = button("Notes", "forward", "quiet", "What you want to remember of this run, and its bookmarks")
        self.head.setCheckable(True)
        self.words = Elided("", "dim")
        self.panel = NotesPanel()
        self.panel.title.hide()
        self.panel.setFixedHeight(160)
        self.panel.hide()
        self._run: tuple[Path, str] | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 12, 4)
        layout.setSpacing(4)
        layout.addLayout(row(self.head, self.words, None))
        layout.addWidget(self.panel)
        self.head.toggled.connect(self._unfold)
        self.panel.changed.connect(lambda _, notes: self._tell(notes))
        self.panel.step_asked.connect(lambda _, step: self.step_asked.emit(step))
        self.panel.failed.connect(self.failed)

    def set_run(self, path: Path | None, name: str) -> None:
        """Show another run's notes, or the same run's anew, for another page may have written them."""
        self._run = (path, name) if path is not None else None
        self.panel.set_run(path, name)
        self._tell(self.panel.notes)

    def bookmark(self, step: int, text: str) -> None:
        """Keep a step of the run, with a few words."""
        if self._run is not None:
            self.panel.bookmark(*self._run, step, text)

    def write_now(self) -> None:
        """Write what was typed."""
        self.panel.write_now()

    def _tell(self, notes: Notes) -> None:
        self.words.say(summary(notes))
        self.changed.emit(notes)

    def _unfold(self, shown: bool) -> None:
        self.panel.setVisible(shown)
        set_icon(self.head, "less" if shown else "forward")
