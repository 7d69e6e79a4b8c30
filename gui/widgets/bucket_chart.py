"""Bars with a name and a number each: pictures per bucket, the most frequent tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
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
        self._active = ""
        self.setMouseTracking(True)
        self._over = -1
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
        self._over = -1
        self.updateGeometry()
        self.update()

    @property
    def bars(self) -> list[tuple[str, int]]:
        """What is shown, for tests and screen readers."""
        return self._bars

    def set_active(self, name: str) -> None:
        """The bar that filters now."""
        if name != self._active:
            self._active = name
            self.update()

    def _number_at(self, height: float) -> int:
        """The bar at a height that can be clicked, -1 where there is none."""
        number = int(height // _ROW)
        return number if 0 <= number < len(self._bars) - self._rest else -1

    def sizeHint(self) -> QSize:
        """A row per bar."""
        return QSize(200, _ROW * len(self._bars))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell which bar was clicked."""
        number = self._number_at(event.position().y())
        if number >= 0:
            self.clicked.emit(self._bars[number][0])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what a click would take, and its whole name where it is cut."""
        number = self._number_at(event.position().y())
        if number != self._over:
            self._over = number
            self.setToolTip(f"{self._bars[number][0]}: {self._bars[number][1]:,}" if number >= 0 else "")
            shape = Qt.CursorShape.PointingHandCursor if number >= 0 else Qt.CursorShape.ArrowCursor
            self.setCursor(shape)
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer."""
        self._over = -1
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Name, bar, number."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        most = max((count for _, count in self._bars), default=1) or 1
        number_width = max((metrics.horizontalAdvance(f"{count:,}") for _, count in self._bars), default=0)
        room = self.width() - self._label_width - number_width - 10
        first, last = event.rect().top() // _ROW, event.rect().bottom() // _ROW + 1
        for number in range(first, min(last, len(self._bars))):
            name, count = self._bars[number]
            top = number * _ROW
            if number == self._over or name == self._active:
                ground = QPainterPath()
                ground.addRoundedRect(QRectF(-4, top, self.width() + 8, _ROW), 4, 4)
                painter.fillPath(ground, QColor(tokens.selection if name == self._active else tokens.raised))
            painter.setPen(QColor(tokens.text if name == self._active else tokens.dim))
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
    """Pictures per bucket.

    Signals:
        bucket_clicked: (width, height) of the bucket.
    """

    bucket_clicked = Signal(object)

    def __init__(self, most: int = 12) -> None:
        super().__init__(most)
        self._sizes: dict[str, tuple[int, int]] = {}
        self.clicked.connect(lambda name: self.bucket_clicked.emit(self._sizes[name]))

    def set_buckets(self, buckets: Sequence[dict[str, Any]]) -> None:
        """Show {"width", "height", "count"} of the buckets."""
        counts = {(int(one["width"]), int(one["height"])): int(one["count"]) for one in buckets}
        self._sizes = {bucket_words(size): size for size in counts}
        self.set_bars([(bucket_words(size), count) for size, count in counts.items()])


def bucket_words(size: tuple[int, int]) -> str:
    """A bucket as people read it."""
    return f"{size[0]} × {size[1]}"
