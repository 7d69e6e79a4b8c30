"""A plain table of texts for the runs of a sweep: figures of equal width, whole rows chosen, changed in place."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from gui import theme


class Table(QTableWidget):
    """Rows of texts. Rows are changed in place, so that choosing and scrolling survive a refresh."""

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(30)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        font = QFont(self.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        self.setFont(font)
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)

    def show_rows(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str] = (), stretch: int = -1
    ) -> None:
        """Show these; `colours`: names of theme colours for the rows, `stretch`: the column that takes the rest."""
        if [self._head(column) for column in range(self.columnCount())] != list(heads):
            self.setColumnCount(len(heads))
            self.setHorizontalHeaderLabels(list(heads))
        self.setRowCount(len(rows))
        tokens = theme.current()
        for number, texts in enumerate(rows):
            colour = QColor(getattr(tokens, colours[number] if colours else "text"))
            for column, text in enumerate(texts):
                self._put(number, column, text, colour)
        header = self.horizontalHeader()
        for column in range(len(heads)):
            last = column == (stretch if stretch >= 0 else len(heads) - 1)
            mode = QHeaderView.ResizeMode
            header.setSectionResizeMode(column, mode.Stretch if last else mode.ResizeToContents)

    def _head(self, column: int) -> str:
        item = self.horizontalHeaderItem(column)
        return item.text() if item is not None else ""

    def _put(self, number: int, column: int, text: str, colour: QColor) -> None:
        item = self.item(number, column)
        if item is None:
            item = QTableWidgetItem()
            self.setItem(number, column, item)
        if item.text() != text:
            item.setText(text)
            item.setToolTip(text)
        item.setForeground(colour)

    def texts(self) -> list[list[str]]:
        """What is shown, row by row."""
        columns = range(self.columnCount())
        return [[self._text(number, column) for column in columns] for number in range(self.rowCount())]

    def _text(self, number: int, column: int) -> str:
        item = self.item(number, column)
        return item.text() if item is not None else ""
