"""A value over two settings as coloured cells with their numbers: which rate suits which batch, at a glance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QApplication, QSizePolicy, QWidget

from core.compare import value_words
from core.compare_map import SettingsMap
from gui import theme

#: Room for the names of the rows and of the columns, and the least height of a cell.
_LEFT, _BOTTOM, _TOP, _CELL = 132, 44, 4, 26
#: The widest a cell becomes.
_WIDEST = 150


class HeatMap(QWidget):
    """Paints a SettingsMap; low values are near the accent, since low is what is looked for.

    Signals:
        chosen: Ids of the runs of a cell that was clicked.
    """

    chosen = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self._map: SettingsMap | None = None
        self._names = ("", "")
        self._words: Callable[[float], str] = str
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Map of the runs over two settings")
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        self.update()

    def show_map(self, found: SettingsMap | None, names: tuple[str, str], words: Callable[[float], str]) -> None:
        """Show a map with the names of its settings (across, down); None shows nothing."""
        self._map, self._names, self._words = found, names, words
        self.setMinimumHeight(_TOP + _BOTTOM + _CELL * (len(found.down) if found else 1))
        self.update()

    def sizeHint(self) -> QSize:
        """Large enough for a few rows."""
        return QSize(480, 200)

    def cells(self) -> dict[tuple[int, int], QRectF]:
        """Where each cell stands, by (row, column); the first row is at the bottom, as on an axis."""
        if self._map is None:
            return {}
        rows, columns = self._map.values.shape
        width = min(_WIDEST, max(1.0, (self.width() - _LEFT - 8) / columns))
        height = max(1.0, (self.height() - _BOTTOM - _TOP) / rows)
        return {
            (row, column): QRectF(_LEFT + column * width, _TOP + (rows - 1 - row) * height, width, height)
            for row in range(rows)
            for column in range(columns)
        }

    def shade(self, value: float) -> QColor:
        """The ground of a cell: the accent at the lowest value, the ground of the card at the highest."""
        tokens = theme.current()
        if self._map is None or not np.isfinite(value):
            return QColor(tokens.window)
        known = self._map.values[np.isfinite(self._map.values)]
        low, span = float(known.min()), float(np.ptp(known)) or 1.0
        share = 0.75 * (1 - (value - low) / span)
        one, other = QColor(tokens.raised), QColor(tokens.accent)
        pairs = ((one.red(), other.red()), (one.green(), other.green()), (one.blue(), other.blue()))
        return QColor(*(round(a + share * (b - a)) for a, b in pairs))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Cells, their numbers, the settings' values at the edges."""
        if self._map is None:
            return
        tokens = theme.current()
        painter = QPainter(self)
        font = QFont(QApplication.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        painter.setFont(font)
        for (row, column), place in self.cells().items():
            value = float(self._map.values[row, column])
            ground = self.shade(value)
            painter.fillRect(place.adjusted(1, 1, -1, -1), ground)
            if np.isfinite(value):
                light = QColor("#ffffff") if _luminance(ground) < 0.4 else QColor("#14161a")
                painter.setPen(light)
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, self._words(value))
        self._paint_edges(painter, tokens)
        painter.end()

    def _paint_edges(self, painter: QPainter, tokens: theme.Tokens) -> None:
        assert self._map is not None
        cells = self.cells()
        metrics = QFontMetricsF(painter.font())
        painter.setPen(QPen(QColor(tokens.dim)))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for row, value in enumerate(self._map.down):
            place = QRectF(0, cells[row, 0].top(), _LEFT - 8, cells[row, 0].height())
            painter.drawText(place, right, _cut(metrics, value_words(value), _LEFT - 8))
        for column, value in enumerate(self._map.across):
            place = QRectF(cells[0, column].left(), cells[0, 0].bottom() + 2, cells[0, column].width(), 18)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, _cut(metrics, value_words(value), place.width()))
        painter.setPen(QPen(QColor(tokens.text)))
        across, down = self._names
        whole = QRectF(_LEFT, self.height() - 22, cells[0, len(self._map.across) - 1].right() - _LEFT, 20)
        painter.drawText(whole, Qt.AlignmentFlag.AlignCenter, _cut(metrics, across, max(80.0, whole.width())))
        painter.drawText(QRectF(0, self.height() - 42, _LEFT - 8, 20), right, _cut(metrics, f"↑ {down}", _LEFT - 8))

    def _cell_at(self, place: QPointF) -> tuple[int, int] | None:
        return next((cell for cell, rect in self.cells().items() if rect.contains(place)), None)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """The tip of a cell: both settings, the value with its error."""
        cell = self._cell_at(event.position())
        if self._map is None or cell is None or cell not in self._map.runs:
            self.setToolTip("")
            return
        error = float(self._map.errors[cell])
        across, down = value_words(self._map.across[cell[1]]), value_words(self._map.down[cell[0]])
        text = f"{self._names[0]} {across}, {self._names[1]} {down}: {self._words(float(self._map.values[cell]))}"
        self.setToolTip(text + (f" ± {error:.2g}" if np.isfinite(error) and error else ""))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell the runs of the cell."""
        cell = self._cell_at(event.position())
        if self._map is not None and cell in self._map.runs:
            self.chosen.emit(self._map.runs[cell])

    def leaveEvent(self, event: QEvent) -> None:
        """No tip without a pointer."""
        self.setToolTip("")
        super().leaveEvent(event)


def _cut(metrics: QFontMetricsF, text: str, width: float) -> str:
    return metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, width)


def _luminance(color: QColor) -> float:
    """Brightness as the eye sees it, 0 to 1."""
    return 0.299 * color.redF() + 0.587 * color.greenF() + 0.114 * color.blueF()
