"""A short table of facts: what on the left, how much on the right."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from gui.widgets.basics import label


class Facts(QWidget):
    """Rows of (what, how much[, tip]); rows are reused, so that nothing flickers when the numbers change."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(0, 1)
        self._rows: list[tuple[QLabel, QLabel]] = []

    def show_rows(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Show these rows in this order."""
        while len(self._rows) < len(rows):
            self._add()
        for number, (what, value) in enumerate(self._rows):
            used = number < len(rows)
            what.setVisible(used)
            value.setVisible(used)
            if used:
                what.setText(rows[number][0])
                value.setText(rows[number][1])
                tip = rows[number][2] if len(rows[number]) > 2 else ""
                what.setToolTip(tip)
                value.setToolTip(tip)

    def _add(self) -> None:
        what, value = label("", "dim"), label("", "value")
        value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        font = QFont(value.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        value.setFont(font)
        number = len(self._rows)
        self._grid.addWidget(what, number, 0)
        self._grid.addWidget(value, number, 1)
        self._rows.append((what, value))

    def texts(self) -> dict[str, str]:
        """What is shown now, for tests and screen readers."""
        return {what.text(): value.text() for what, value in self._rows if not what.isHidden()}
