"""What the settings of the compared runs differ in, side by side; all that is equal is left out."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from core.compare import Compared, Difference
from gui import theme
from gui.run_colors import swatch
from gui.widgets.basics import label


class SettingsTable(QWidget):
    """A row for each setting that differs, a column for each run."""

    def __init__(self) -> None:
        super().__init__()
        self.words = label("", "dim", wrap=True)
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setShowGrid(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setAccessibleName("Settings that differ")
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._runs: list[Compared] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.words)
        layout.addWidget(self.table, 1)
        theme.signals().changed.connect(self._recolor)

    def show_runs(self, runs: Sequence[Compared], varied: Sequence[Difference]) -> None:
        """Show these differences of these runs."""
        self._runs = list(runs)
        self.words.setText(self._sentence(varied))
        self.table.setVisible(bool(varied))
        self.table.setRowCount(len(varied))
        self.table.setColumnCount(len(runs))
        self.table.setVerticalHeaderLabels([f"{one.page}: {one.label}" if one.page else one.label for one in varied])
        for place, run in enumerate(runs):
            head = QTableWidgetItem(swatch(run.notes.color), run.label)
            head.setToolTip(run.name)
            self.table.setHorizontalHeaderItem(place, head)
            for row, one in enumerate(varied):
                cell = QTableWidgetItem(one.words(place))
                cell.setToolTip(f"{one.label}: {one.words(place) or 'not known'}  ({one.key})")
                self.table.setItem(row, place, cell)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setMaximumSectionSize(260)

    def _sentence(self, varied: Sequence[Difference]) -> str:
        if len(self._runs) < 2:
            return "Choose two runs or more to see what their settings differ in."
        imported = sum(run.kind == "imported" for run in self._runs)
        if not varied and imported == len(self._runs):
            return "Imported runs bring curves only: their settings are not known, and their names hold no numbers."
        if not varied:
            return "The settings of these runs are the same."
        said = "1 setting differs." if len(varied) == 1 else f"{len(varied)} settings differ; all others are the same."
        return said + (" Of imported runs only the number in their name is known." if imported else "")

    def _recolor(self, *_: object) -> None:
        for place, run in enumerate(self._runs):
            if (head := self.table.horizontalHeaderItem(place)) is not None:
                head.setIcon(swatch(run.notes.color))
