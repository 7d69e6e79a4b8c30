"""A table of facts whose lines can be clicked: what, how much, and what the click shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from gui.widgets.basics import label, set_property

#: (what, how much, tip, what a click means; None for a line that leads nowhere).
Fact = tuple[str, str, str, Any]


class FactLine(QFrame):
    """One line.

    Signals:
        clicked: It was clicked, or Enter was pressed on it.
    """

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.what, self.value = label("", "dim"), label("", "value")
        font = QFont(self.value.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        self.value.setFont(font)
        self.target: Any = None
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 3, 0, 3)
        layout.addWidget(self.what, 1)
        layout.addWidget(self.value)

    def show_fact(self, fact: Fact) -> None:
        """Show another fact."""
        what, value, tip, self.target = fact
        self.what.setText(what)
        self.value.setText(value)
        leads = self.target is not None
        self.setToolTip(f"{tip} Click to see them." if leads else tip)
        self.setAccessibleName(f"{what}: {value}")
        set_property(self.value, "role", "link" if leads else "value")
        set_property(self, "factline", leads)
        self.setCursor(Qt.CursorShape.PointingHandCursor if leads else Qt.CursorShape.ArrowCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus if leads else Qt.FocusPolicy.NoFocus)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click leads on."""
        if self.target is not None:
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """So do Enter and space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self.target is not None:
            self.clicked.emit()
        else:
            super().keyPressEvent(event)


class FactLines(QWidget):
    """Lines are reused, so that nothing flickers when the numbers change.

    Signals:
        clicked: What the clicked line means.
    """

    clicked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._lines: list[FactLine] = []

    def show_facts(self, facts: Sequence[Fact]) -> None:
        """Show these in this order."""
        while len(self._lines) < len(facts):
            line = FactLine()
            line.clicked.connect(lambda one=line: self.clicked.emit(one.target))
            self._layout.addWidget(line)
            self._lines.append(line)
        for number, line in enumerate(self._lines):
            line.setVisible(number < len(facts))
            if number < len(facts):
                line.show_fact(facts[number])

    def texts(self) -> dict[str, str]:
        """What is shown now, for tests and screen readers."""
        return {line.what.text(): line.value.text() for line in self._lines if not line.isHidden()}

    def click(self, what: str) -> None:
        """As if the line were clicked."""
        next(line for line in self._lines if line.what.text() == what).clicked.emit()
