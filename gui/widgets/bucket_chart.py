"""Bars with a name and a number each: pictures per bucket, the most frequent tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui import theme

_ROW = 24


class BarChart(QWidget):
    """One bar a row, the longest first; paints itself. The small rest stands in one bar at the end.

    Signals:
        clicked: Name of the bar that was clicked.
    """

    clicked = Signal(str)

    def __init__(self, most: int = 12, label_width: int = 88) -> None:
        super().__init__()
        self._most = most
        self._label_width = label_width
        self._bars: list[tuple[str, int]] = []
        self._rest = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        self.update()

    def set_bars(self, bars: Sequence[tuple[str, int]]) -> None:
        """Show (name, number) of each bar."""
        ordered = sorted(bars, key=lambda bar: -bar[1])
        rest = ordered[self._most :]
        self._bars = ordered[: self._most]
        self._rest = bool(rest)
        if rest:
            self._bars.append((f"{len(rest)} more", sum(count for _, count in rest)))
        self.setToolTip("\n".join(f"{name}: {count:,}" for name, count in ordered[:40]))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """A row per bar."""
        return QSize(200, _ROW * len(self._bars))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell which bar was clicked."""
        number = int(event.position().y() // _ROW)
        if 0 <= number < len(self._bars) - self._rest:
            self.clicked.emit(self._bars[number][0])

    def paintEvent(self, event: QPaintEvent) -> None:
        """Name, bar, number."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        most = max((count for _, count in self._bars), default=1) or 1
        number_width = max((metrics.horizontalAdvance(f"{count:,}") for _, count in self._bars), default=0)
        room = self.width() - self._label_width - number_width - 10
        for number, (name, count) in enumerate(self._bars):
            top = number * _ROW
            painter.setPen(QColor(tokens.dim))
            words = metrics.elidedText(name, Qt.TextElideMode.ElideRight, self._label_width - 8)
            painter.drawText(QRectF(0, top, self._label_width - 8, _ROW), Qt.AlignmentFlag.AlignVCenter, words)
            length = max(2.0, room * count / most)
            path = QPainterPath()
            path.addRoundedRect(QRectF(self._label_width, top + 7, length, 10), 2, 2)
            painter.fillPath(path, QColor(tokens.curves[0]))
            painter.setPen(QColor(tokens.text))
            place = QRectF(self._label_width + length + 8, top, number_width + 8, _ROW)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, f"{count:,}")
        painter.end()


class BucketChart(BarChart):
    """Pictures per bucket."""

    def set_buckets(self, buckets: Sequence[dict[str, Any]]) -> None:
        """Show {"width", "height", "count"} of the buckets."""
        self.set_bars([(f"{bucket['width']} × {bucket['height']}", int(bucket["count"])) for bucket in buckets])
