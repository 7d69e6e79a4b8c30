"""The legend that is also the read-out: a curve's colour, its name, its value under the crosshair; a click hides it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QLinearGradient, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from gui import theme
from gui.plots.curve_plot import Series
from gui.widgets.elided import Elided
from gui.widgets.flow import Flow

_SWATCH = 14
#: Pixels between two entries, and between two lines of them.
_LINE_GAP = 4


class LegendEntry(QAbstractButton):
    """One curve in the legend; checked means drawn."""

    def __init__(self, series: Series, words: Callable[[float], str], widest: str) -> None:
        """`words` writes a value; `widest` is the longest value to leave room for, so that nothing jumps."""
        super().__init__()
        self.series = series
        self._words = words
        self._widest = widest
        self._value = math.nan
        self.setCheckable(True)
        self.setChecked(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(series.label)
        self.setToolTip(f"{series.tip or series.label}. Click to hide or show it.")
        self.toggled.connect(self.updateGeometry)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        """Another theme, or a picture that has come. No lambda: it would keep the widget alive for ever."""
        self.update()

    def set_value(self, value: float) -> None:
        """Show another value; nan shows none."""
        if value != self._value and not (math.isnan(value) and math.isnan(self._value)):
            self._value = value
            self.update()

    def text_shown(self) -> str:
        """The value as it is written."""
        return "" if math.isnan(self._value) else self._words(self._value)

    def _fonts(self) -> tuple[QFont, QFont]:
        plain, bold = QFont(QApplication.font()), QFont(QApplication.font())
        bold.setWeight(QFont.Weight.DemiBold)
        bold.setFeature(QFont.Tag("tnum"), 1)
        return plain, bold

    def sizeHint(self) -> QSize:
        """Swatch, name, and room for the widest value where one is shown."""
        plain, bold = self._fonts()
        name = QFontMetricsF(plain).horizontalAdvance(self.series.label)
        value = QFontMetricsF(bold).horizontalAdvance(self._widest) if self.isChecked() else 0
        return QSize(round(_SWATCH + 8 + name + 6 + value + 12), 24)

    def minimumSizeHint(self) -> QSize:
        """Swatch and name; the value gives way."""
        plain, _ = self._fonts()
        return QSize(round(_SWATCH + 8 + QFontMetricsF(plain).horizontalAdvance(self.series.label) / 2), 24)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Swatch, name, value."""
        tokens = theme.current()
        plain, bold = self._fonts()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = QColor(self.series.color(tokens))
        on = self.isChecked()
        if self.series.noisy:
            color.setAlpha(110)
        pen = QPen(color if on else QColor(tokens.border), 6 if self.series.noisy else 3)
        if self.series.dashed:
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            pen.setDashPattern([1.3, 0.9])
        painter.setPen(pen)
        middle = self.height() / 2
        painter.drawLine(2, round(middle), _SWATCH, round(middle))
        name = QFontMetricsF(plain).horizontalAdvance(self.series.label)
        painter.setFont(plain)
        painter.setPen(QColor(tokens.text if on else tokens.dim))
        left = _SWATCH + 8.0
        painter.drawText(QRectF(left, 0, name + 2, self.height()), Qt.AlignmentFlag.AlignVCenter, self.series.label)
        if on:
            painter.setFont(bold)
            place = QRectF(left + name + 6, 0, self.width() - left - name - 6, self.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, self.text_shown())
        if self.hasFocus() or self.underMouse():
            painter.setPen(QPen(QColor(tokens.accent if self.hasFocus() else tokens.border), 1))
            painter.drawLine(round(left), self.height() - 3, round(left + name), self.height() - 3)
        painter.end()


class LegendRow(QWidget):
    """The entries of a plot side by side, in as many lines as the width asks for, and dim words after them.

    Signals:
        toggled: A curve (its key) was shown or hidden by the user.
    """

    toggled = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, LegendEntry] = {}
        self.remark = Elided("", "dim")
        self.remark.setFixedHeight(24)  # as high as an entry, to stand on its line
        self._flow = Flow(self, spacing=_LINE_GAP)
        self._flow.addWidget(self.remark)
        self.fit()

    def show_series(self, series: Sequence[Series], words: Callable[[float], str], widest: str) -> None:
        """One entry for each curve."""
        self._flow.removeWidget(self.remark)
        for old in self.entries.values():
            self._flow.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.entries = {}
        for one in series:
            entry = LegendEntry(one, words, widest)
            entry.toggled.connect(lambda shown, key=one.key: self.toggled.emit(key, shown))
            entry.toggled.connect(self.fit)
            self.entries[one.key] = entry
            self._flow.addWidget(entry)
            entry.show()  # at once, for what is hidden takes no room
        self._flow.addWidget(self.remark)
        self.fit()

    def say(self, remark: str) -> None:
        """The dim words."""
        if remark != self.remark.text():
            self.remark.setText(remark)
            self.fit()

    def minimumSizeHint(self) -> QSize:
        """Of any width; as high as its lines."""
        return QSize(0, self.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width may have another number of lines."""
        super().resizeEvent(event)
        self.fit()

    def fit(self, *_: object) -> None:
        """As high as the lines that the width asks for."""
        self.remark.setVisible(bool(self.remark.text()))
        self._flow.invalidate()
        self.setFixedHeight(max(24, self._flow.heightForWidth(max(200, self.width()))))


class AgeBar(QWidget):
    """A bar that runs through the colours from the first step to the last, with the steps at its ends."""

    def __init__(self, color: Callable[[theme.Tokens, float], str]) -> None:
        super().__init__()
        self._color = color
        self._ends = (0.0, 0.0)
        self.setAccessibleName("Colours by step")
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        self.update()

    def set_ends(self, first: float, last: float) -> None:
        """The steps at its ends."""
        if (first, last) != self._ends:
            self._ends = (first, last)
            self.updateGeometry()
            self.update()

    def _words(self) -> tuple[str, str]:
        return f"step {self._ends[0]:,.0f}", f"{self._ends[1]:,.0f}"

    def sizeHint(self) -> QSize:
        """Both numbers and the bar between them."""
        width = sum(self.fontMetrics().horizontalAdvance(word) for word in self._words())
        return QSize(width + 120, 24)

    def minimumSizeHint(self) -> QSize:
        """As its hint: it is short."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Number, bar, number."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(tokens.dim))
        first, last = self._words()
        left = self.fontMetrics().horizontalAdvance(first) + 8
        right = self.width() - self.fontMetrics().horizontalAdvance(last) - 8
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, left, self.height()), middle | Qt.AlignmentFlag.AlignLeft, first)
        painter.drawText(
            QRectF(right, 0, self.width() - right, self.height()), middle | Qt.AlignmentFlag.AlignRight, last
        )
        shades = QLinearGradient(left, 0, right, 0)
        for place in range(9):
            shades.setColorAt(place / 8, QColor(self._color(tokens, place / 8)))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shades)
        painter.drawRoundedRect(QRectF(left, self.height() / 2 - 4, right - left, 8), 4, 4)
        painter.end()
