"""Takes over settings of kohya's sd-scripts: a file or a pasted command, what becomes of every flag, into the form."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFileDialog,
    QHeaderView,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from core.errors import UserError
from gui.widgets.basics import button, label, row

if TYPE_CHECKING:
    from core.kohya.convert import Import

#: Verdicts in the order in which they matter, with what they are called here.
VERDICTS = {"unknown": "Unknown", "equivalent": "Done another way", "taken": "Taken", "unneeded": "Not needed"}
#: Milliseconds without a keystroke before a pasted text is read.
_PAUSE = 250
_COLUMNS = ("Flag", "Value", "Verdict", "In Burnish")


class ImportDialog(QDialog):
    """Reads settings of another trainer and shows what each becomes; nothing changes before the user says so.

    Signals:
        accepted_values: {"page.field": value} to load, and a name for them.
    """

    accepted_values = Signal(dict, str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Settings from kohya's sd-scripts")
        self.resize(860, 620)
        self.found: Import | None = None
        self.text = QPlainTextEdit()
        self.text.setPlaceholderText("accelerate launch sdxl_train.py --pretrained_model_name_or_path ...")
        self.text.setMaximumHeight(140)
        self.table = _table()
        self.summary = label("", "dim", wrap=True)
        self.from_file = button("Choose a file…", "folder")
        self.take = button("Load these settings", look="primary")
        self.take.setEnabled(False)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self.read_text)
        self.text.textChanged.connect(self._timer.start)
        self.from_file.clicked.connect(self.choose)
        self.take.clicked.connect(self._accept)
        self._lay_out()

    def _lay_out(self) -> None:
        cancel = button("Cancel")
        cancel.clicked.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(12)
        words = "Paste a command line, or choose a .sh, .bat, .toml or a .json of kohya_ss. Every flag is answered."
        head = row(label(words, "dim", wrap=True), self.from_file)
        head.setStretch(0, 1)
        layout.addLayout(head)
        layout.addWidget(self.text)
        layout.addWidget(self.summary)
        layout.addWidget(self.table, 1)
        layout.addLayout(row(None, cancel, self.take))

    def choose(self) -> None:
        """Ask for a file and read it."""
        kinds = "Settings of sd-scripts (*.sh *.bat *.ps1 *.txt *.toml *.json);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Choose settings", str(Path.home()), kinds)
        if path:
            self.read_file(Path(path))

    def read_file(self, path: Path) -> None:
        """Show what becomes of a file."""
        from core.kohya.convert import convert

        try:
            self.show_import(convert(path))
        except UserError as error:
            self._show_problem(str(error))

    def read_text(self) -> None:
        """Show what becomes of the pasted text."""
        text = self.text.toPlainText().strip()
        if not text:
            self._show_problem("")
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pasted.sh"
            path.write_text(text, encoding="utf-8")
            self.read_file(path)

    def show_import(self, found: Import) -> None:
        """Fill the table: what is unknown first."""
        self.found = found
        order = list(VERDICTS)
        rows = sorted(found.rows, key=lambda one: order.index(one.answer.verdict))
        self.table.setRowCount(len(rows))
        for number, one in enumerate(rows):
            became = ": ".join(filter(None, (one.answer.field, one.answer.note)))
            for column, text in enumerate((one.flag, one.value, VERDICTS[one.answer.verdict], became)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(number, column, item)
        self.table.resizeRowsToContents()
        counts = {verdict: sum(one.answer.verdict == verdict for one in rows) for verdict in order}
        said = ", ".join(f"{count} {VERDICTS[verdict].lower()}" for verdict, count in counts.items() if count)
        self.summary.setText("\n".join([f"{len(rows)} flags: {said}.", *found.notes, *found.problems]))
        self.take.setEnabled(True)

    def _show_problem(self, text: str) -> None:
        self.found = None
        self.table.setRowCount(0)
        self.summary.setText(text)
        self.take.setEnabled(False)

    def _accept(self) -> None:
        if self.found is not None:
            self.accepted_values.emit(dict(self.found.values), self.found.name)
            self.accept()


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(_COLUMNS)
    table.verticalHeader().hide()
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    table.setShowGrid(False)
    header = table.horizontalHeader()
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
    for column, width in enumerate((220, 160, 130)):
        table.setColumnWidth(column, width)
    header.setSectionResizeMode(len(_COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
    return table
