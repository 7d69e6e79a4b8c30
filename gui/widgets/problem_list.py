"""The list of what speaks against a start; each line leads to the field that should change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QCursor, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from gui.widgets.basics import IconLabel, column, label

if TYPE_CHECKING:
    from core.checks import Problem

_TOKENS = {"error": "bad", "warning": "warn"}


class ProblemLine(QFrame):
    """One finding: icon, name of the option, sentence.

    Signals:
        clicked: Key of the option.
    """

    clicked = Signal(str)

    def __init__(self, problem: Problem, name: str) -> None:
        super().__init__()
        self.key = problem.key
        self.setProperty("problemline", True)
        self.setCursor(QCursor(Qt.CursorShape.PointingHandCursor))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip("Show this option")
        text = problem.text[0].upper() + problem.text[1:]
        self.setAccessibleName(f"{problem.severity}: {name}: {text}")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(8)
        layout.addWidget(IconLabel(problem.severity, _TOKENS[problem.severity], 16), 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(column(label(name, "value"), label(text, "dim", wrap=True), spacing=2), 1)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click leads to the field."""
        self.clicked.emit(self.key)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """So do Enter and space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit(self.key)
        else:
            super().keyPressEvent(event)


class ProblemList(QWidget):
    """All findings, or a line that says that there are none.

    Signals:
        chosen: Key of the option whose line was clicked.
    """

    chosen = Signal(str)

    def __init__(self, none: str) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._none = QWidget()
        fine = QHBoxLayout(self._none)
        fine.setContentsMargins(8, 6, 8, 6)
        fine.setSpacing(8)
        fine.addWidget(IconLabel("check", "good", 16))
        fine.addWidget(label(none, "dim", wrap=True), 1)
        self._layout.addWidget(self._none)
        self._shown: list[tuple[str, str, str]] = []
        self.lines: list[ProblemLine] = []

    def show_problems(self, problems: Sequence[Problem], names: dict[str, str]) -> None:
        """Show the findings; `names` are the labels of the options by key."""
        wanted: list[tuple[str, str, str]] = [(problem.key, problem.text, problem.severity) for problem in problems]
        if wanted == self._shown:
            return
        self._shown = wanted
        for line in self.lines:
            self._layout.removeWidget(line)
            line.hide()
            line.deleteLater()
        self.lines = []
        for problem in problems:
            line = ProblemLine(problem, names.get(problem.key, problem.key))
            line.clicked.connect(self.chosen)
            self._layout.addWidget(line)
            self.lines.append(line)
        self._none.setVisible(not problems)
