"""Notes and bookmarks of one run, kept in its folder as they are written."""

from __future__ import annotations

from pathlib import Path

import msgspec
from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QPlainTextEdit, QVBoxLayout, QWidget

from core import run_notes
from core.errors import UserError
from core.run_notes import Notes
from gui.widgets.basics import button, label, row, tool

#: Milliseconds without a keystroke before a note is written.
_PAUSE = 600


class NotesPanel(QWidget):
    """Shows the run that set_run() names.

    Signals:
        changed: Its notes were written (path, Notes).
        step_asked: A bookmark was opened (path, step).
        failed: They could not be written (a sentence).
    """

    changed = Signal(object, object)
    step_asked = Signal(object, int)
    failed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.title = label("", "value")
        self.text = QPlainTextEdit()
        self.text.setPlaceholderText("What this run was for, what came of it")
        self.marks = QListWidget()
        self.marks.setAccessibleName("Bookmarks")
        self.open = button("Go to it", "ruler", tip="Show what there is near the bookmarked step")
        self.drop = tool("close", "Remove the bookmark")
        self._path: Path | None = None
        self.notes = Notes()
        self._timer = QTimer(self, singleShot=True, interval=_PAUSE)
        self._timer.timeout.connect(self.write_now)
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addLayout(row(self.title, None))
        left.addWidget(self.text, 1)
        right.addLayout(row(label("Bookmarks", "dim"), None, self.open, self.drop))
        right.addWidget(self.marks, 1)
        both = row(left, right, spacing=16)
        both.setStretch(0, 3)
        both.setStretch(1, 2)
        self.setLayout(both)
        self.text.textChanged.connect(self._typed)
        self.open.clicked.connect(self._go)
        self.drop.clicked.connect(self._remove)
        self.marks.itemDoubleClicked.connect(lambda _: self._go())
        self.marks.currentRowChanged.connect(lambda _: self._allow())
        self.set_run(None, "")

    def set_run(self, path: Path | None, name: str) -> None:
        """Show another run's notes; what was typed for the one before is written first."""
        self.write_now()
        self.title.setText(name or "Choose a run in the list or in the table")
        notes = run_notes.read(path) if path is not None else Notes()
        if path is not None and path == self._path and notes == self.notes:
            return
        self._path, self.notes = path, notes
        self.text.setEnabled(path is not None)
        self.text.blockSignals(True)
        self.text.setPlainText(self.notes.note)
        self.text.blockSignals(False)
        self._list()

    def bookmark(self, path: Path, name: str, step: int, text: str = "") -> None:
        """Keep a step of a run; without words one that is kept already keeps its own."""
        if path != self._path:
            self.set_run(path, name)
        self.write_now()
        known = run_notes.read(path)
        words = text or next((mark.text for mark in known.bookmarks if mark.step == step), "")
        self._keep(known.with_bookmark(step, words))

    def write_now(self) -> None:
        """Write what was typed, if anything was."""
        self._timer.stop()
        if self._path is not None and self.text.toPlainText() != self.notes.note:
            self._keep(msgspec.structs.replace(run_notes.read(self._path), note=self.text.toPlainText()))

    def _typed(self) -> None:
        self._timer.start()

    def _keep(self, notes: Notes) -> None:
        if self._path is None:
            return
        try:
            run_notes.write(self._path, notes)
        except UserError as error:
            self.failed.emit(str(error))
            return
        self.notes = notes
        self._list()
        self.changed.emit(self._path, notes)

    def _list(self) -> None:
        self.marks.clear()
        for mark in self.notes.bookmarks:
            item = QListWidgetItem(f"Step {mark.step:,}" + (f"  -  {mark.text}" if mark.text else ""))
            item.setData(256, mark.step)
            self.marks.addItem(item)
        self._allow()

    def _allow(self) -> None:
        for widget in (self.open, self.drop):
            widget.setEnabled(self.marks.currentRow() >= 0)

    def _step(self) -> int | None:
        item = self.marks.currentItem()
        return int(item.data(256)) if item is not None else None

    def _go(self) -> None:
        step = self._step()
        if step is not None and self._path is not None:
            self.step_asked.emit(self._path, step)

    def _remove(self) -> None:
        step = self._step()
        if step is not None:
            self._keep(self.notes.without_bookmark(step))
