"""The legend that is also the read-out: a curve's colour, its name, its value under the crosshair; a click hides it."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QApplication

from gui import theme
from gui.plots.curve_plot import Series

_SWATCH = 14


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
        self.setToolTip(f"Click to hide or show: {series.label}")
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
        """Swatch, name, and room for the widest value."""
        plain, bold = self._fonts()
        name = QFontMetricsF(plain).horizontalAdvance(self.series.label)
        value = QFontMetricsF(bold).horizontalAdvance(self._widest)
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
        style = Qt.PenStyle.DashLine if self.series.dashed else Qt.PenStyle.SolidLine
        painter.setPen(QPen(color if on else QColor(tokens.border), 6 if self.series.noisy else 3, style))
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
