"""The number field: accepts 1e-6, 4k, 2h or 24GiB, shows its unit inside, steps with the arrow keys."""

from __future__ import annotations

import math

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QLineEdit, QWidget

from core.quantities import parse_number, show_number
from gui import theme

_NICE = (1.0, 2.0, 5.0)


def next_nice(value: float, up: bool) -> float:
    """The next number of the series 1, 2, 5, 10 above or below a positive value."""
    power = math.floor(math.log10(value)) if value > 0 else 0
    ladder = [n * 10.0**e for e in (power - 1, power, power + 1) for n in _NICE]
    if up:
        return next(n for n in ladder if n > value * (1 + 1e-9))
    return next(n for n in reversed(ladder) if n < value * (1 - 1e-9))


def linear_step(low: float | None, high: float | None, whole: bool) -> float:
    """A step for the arrow keys: about a twentieth of the range, of the series 1, 2, 5; 1 for whole numbers."""
    if whole or low is None or high is None or high <= low:
        return 1.0
    return next_nice((high - low) / 40, up=True)


class NumberEdit(QLineEdit):
    """A line with a number in it. What it means is asked with number(); a text that is none gives None."""

    def __init__(self, unit: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.unit = unit
        self.logarithmic = False
        self.whole = False
        self.percent = False
        self.step = 1.0
        self.low: float | None = None
        self.high: float | None = None
        if unit:
            self.setTextMargins(0, 0, self.fontMetrics().horizontalAdvance(unit) + 14, 0)

    def number(self) -> float | int | None:
        """The number that the text means, None when it means none."""
        text = self.text().strip()
        try:
            value = parse_number(text)
        except ValueError:
            return None
        if self.percent and not text.endswith("%"):
            value /= 100
        return int(value) if self.whole and float(value).is_integer() else value

    def show_value(self, value: object) -> None:
        """Show a number in its short form, anything else as it is."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = f"{value * 100:g}" if self.percent else show_number(value)
        else:
            text = "" if value is None else str(value)
        if text != self.text():
            self.setText(text)

    def _move(self, up: bool, times: int = 1) -> None:
        """Step up or down within the hard limits, as typing would."""
        value = self.number()
        if value is None:
            return
        new = float(value)
        for _ in range(times):
            if self.logarithmic:
                new = self._logarithmic_step(new, up)
            else:
                new += self.step if up else -self.step
        new = round(new) if self.whole else float(f"{new:.6g}")
        if self.low is not None:
            new = max(new, self.low)
        if self.high is not None:
            new = min(new, self.high)
        self.show_value(int(new) if self.whole else new)
        self.textEdited.emit(self.text())

    def _logarithmic_step(self, value: float, up: bool) -> float:
        """Along 1, 2, 5, 10; from 0 to the smallest sensible number and back."""
        smallest = 1.0 if self.whole else 1e-8
        if value < smallest:
            return smallest if up else 0.0
        stepped = next_nice(value, up)
        return stepped if stepped >= smallest else 0.0

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrow keys step, page keys step ten times."""
        keys = {
            Qt.Key.Key_Up: (True, 1),
            Qt.Key.Key_Down: (False, 1),
            Qt.Key.Key_PageUp: (True, 10),
            Qt.Key.Key_PageDown: (False, 10),
        }
        move = keys.get(Qt.Key(event.key()))
        if move is None:
            super().keyPressEvent(event)
        else:
            self._move(*move)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The wheel scrolls the form, it never changes a number by accident."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The text, and the unit at the right end."""
        super().paintEvent(event)
        if not self.unit:
            return
        painter = QPainter(self)
        painter.setPen(QColor(theme.current().dim))
        place = QRect(self.rect()).adjusted(0, 0, -10, 0)
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.unit)
        painter.end()
