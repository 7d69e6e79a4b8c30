"""One bar of memory by component, with the sizes of cards marked on it, and a legend under it."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from core.quantities import show_bytes
from gui import theme

_BAR, _ROW, _GAP = 18, 20, 10


class MemoryBar(QWidget):
    """Paints the components of a sum side by side; each has a row of the legend with its colour and size."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[str, int]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        self.update()

    def show_parts(self, parts: Mapping[str, int]) -> None:
        """Show bytes by name, in this order."""
        self._parts = list(parts.items())
        spoken = ", ".join(f"{name} {show_bytes(count)}" for name, count in self._parts)
        self.setAccessibleName(f"Memory: {spoken}")
        self.setToolTip("\n".join(f"{name}: {show_bytes(count)}" for name, count in self._parts))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """The bar, and a row for each component."""
        return QSize(200, _BAR + _GAP + _ROW * len(self._parts))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Bar, then legend."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = sum(count for _, count in self._parts) or 1
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(0, 0, self.width(), _BAR), 4, 4)
        left = 0.0
        for number, (name, count) in enumerate(self._parts):
            color = QColor(tokens.curves[number % len(tokens.curves)])
            width = self.width() * count / whole
            piece = QPainterPath()
            piece.addRect(QRectF(left, 0, width, _BAR))
            painter.fillPath(shape.intersected(piece), color)
            left += width
            self._legend(painter, number, name, count, color)
        painter.end()

    def _legend(self, painter: QPainter, number: int, name: str, count: int, color: QColor) -> None:
        tokens = theme.current()
        top = _BAR + _GAP + number * _ROW
        dot = QPainterPath()
        dot.addRoundedRect(QRectF(0, top + 5, 10, 10), 2, 2)
        painter.fillPath(dot, color)
        metrics = painter.fontMetrics()
        line = int(top + (_ROW + metrics.ascent() - metrics.descent()) / 2)
        size = show_bytes(count)
        painter.setPen(QColor(tokens.dim))
        painter.drawText(18, line, name)
        painter.setPen(QColor(tokens.text))
        painter.drawText(self.width() - metrics.horizontalAdvance(size), line, size)
