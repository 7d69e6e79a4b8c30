"""A small card with one number and its course over the shared time axis, painted without a plot library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, QTimer
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QApplication, QSizePolicy, QWidget

from core.run_data import Floats
from gui import theme
from gui.plots.decimate import Blocks, decimate_columns, inner_range, thin
from gui.plots.timeline import Timeline, nearest

_NONE = np.empty(0)
_PAD = 12
#: Milliseconds after which a card follows another range; neighbours take turns.
_TURNS = cycle((8, 16, 24, 32))


@dataclass(frozen=True, slots=True)
class SparkLine:
    """One course in a small card.

    Attributes:
        label: Before the number; "" where there is only one course.
        color: Index into the theme's curve colours.
        stamp: The same as long as the points only grow.
    """

    steps: Floats
    values: Floats
    label: str = ""
    color: int = 4
    stamp: object = None


class Spark(QWidget):
    """Title, present value (or the one under the crosshair) and the course."""

    def __init__(
        self,
        timeline: Timeline,
        title: str,
        words: Callable[[float], str],
        bounds: tuple[float | None, float | None] = (0.0, None),
        framed: bool = True,
    ) -> None:
        """`words` writes a value with its unit; `bounds` fix an end of the y axis, None lets it follow the values."""
        super().__init__()
        self.timeline = timeline
        self.title = title
        self.bounds = bounds
        self.note = ""
        self.detail = ""
        self._words = words
        self._framed = framed
        self._lines: Sequence[SparkLine] = ()
        self._blocks: list[Blocks] = []
        self._strokes: list[_Stroke] | None = None
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName(title)
        self._turn = QTimer(self, singleShot=True, interval=next(_TURNS))
        self._turn.timeout.connect(self._stale)
        timeline.changed.connect(self._stale_soon)
        timeline.cursor_changed.connect(self.update)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        """Another theme, or a picture that has come. No lambda: it would keep the widget alive for ever."""
        self.update()

    def sizeHint(self) -> QSize:
        """One row of the Monitor page."""
        return QSize(200, 76 if self._framed else 60)

    def minimumSizeHint(self) -> QSize:
        """As high as its size hint."""
        return QSize(120, self.sizeHint().height())

    def set_lines(self, lines: Sequence[SparkLine], note: str = "") -> None:
        """Show these courses; `note` is said instead of a number where there is none."""
        self._lines = lines
        self._blocks += [Blocks() for _ in range(len(lines) - len(self._blocks))]
        self.note = note
        self._stale()

    def set_detail(self, text: str, tip: str = "") -> None:
        """A few dim words beside the title, and all there is to say as the card's tip."""
        self.setToolTip(tip)
        if text != self.detail:
            self.detail = text
            self.update()

    def value_words(self) -> str:
        """The numbers as they are written at the top."""
        parts = []
        for line in self._lines:
            cursor = self.timeline.cursor
            place = len(line.steps) - 1 if cursor is None else nearest(line.steps, cursor)
            if place is None or place < 0 or not np.isfinite(line.values[place]):
                continue
            text = self._words(float(line.values[place]))
            parts.append(f"{line.label} {text}".strip())
        return "   ".join(parts) or self.note or "–"

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the card; the courses are computed only when they have changed."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._framed:
            painter.setPen(QPen(QColor(tokens.border), 1))
            painter.setBrush(QColor(tokens.surface))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        self._paint_words(painter, tokens)
        area = self._area()
        if self._strokes is None:
            self._strokes = self._compute(area)
        for stroke in self._strokes:
            stroke.paint(painter, tokens)
        self._paint_cursor(painter, area, tokens)
        painter.end()

    def _stale_soon(self) -> None:
        """Another range: each card in a turn of its own, for all of them in one frame would hold up the window."""
        if not self._turn.isActive():
            self._turn.start()

    def _stale(self) -> None:
        """The range, the values or the size are others; a turn that waits has nothing left to do."""
        self._turn.stop()
        self._strokes = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width has other pixel columns."""
        self._stale()

    def _area(self) -> QRectF:
        pad = _PAD if self._framed else 0
        top = 10 + QFontMetricsF(self.font()).height() + 6
        return QRectF(pad, top, self.width() - 2 * pad, self.height() - top - (pad if self._framed else 4))

    def _paint_words(self, painter: QPainter, tokens: theme.Tokens) -> None:
        pad = _PAD if self._framed else 0
        small = QFont(QApplication.font())
        small.setPointSizeF(max(7.5, small.pointSizeF() - 1))
        painter.setFont(small)
        painter.setPen(QColor(tokens.dim))
        row = QRectF(pad, 8, self.width() - 2 * pad, QFontMetricsF(self.font()).height() + 2)
        title = f"{self.title} · {self.detail}" if self.detail else self.title
        painter.drawText(row, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
        bold = QFont(QApplication.font())
        bold.setWeight(QFont.Weight.DemiBold)
        bold.setFeature(QFont.Tag("tnum"), 1)
        room = row.width() - QFontMetricsF(small).horizontalAdvance(title) - 10
        words = self.value_words()
        painter.setPen(QColor(tokens.text if words not in ("–", self.note) else tokens.dim))
        painter.setFont(bold if words != self.note else small)
        words = QFontMetricsF(painter.font()).elidedText(words, Qt.TextElideMode.ElideRight, room)
        painter.drawText(row, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)

    def _y_range(self) -> tuple[float, float]:
        lows, highs = [], []
        edges = self.timeline.edges(2)
        for line in self._lines:
            first, last = np.searchsorted(line.steps, (edges[0], edges[-1]))
            known = line.values[max(0, first - 1) : last + 1]
            known = known[:: max(1, len(known) // 2048)]
            known = known[np.isfinite(known)]
            if len(known):
                low, high = inner_range(known, 0.005)
                lows.append(low)
                highs.append(high)
        low = self.bounds[0] if self.bounds[0] is not None else min(lows, default=0.0)
        high = self.bounds[1] if self.bounds[1] is not None else max(highs, default=1.0) * 1.05
        if high <= low:
            return low - 0.5 * (abs(low) or 1), low + 0.5 * (abs(low) or 1)
        return low, high

    def _compute(self, area: QRectF) -> list[_Stroke]:
        """All courses, the first one on top."""
        low, high = self._y_range()
        found = []
        for line, blocks in reversed(list(zip(self._lines, self._blocks, strict=False))):
            edges = self.timeline.edges(int(area.width()))
            steps, values = decimate_columns(line.steps, line.values, edges, blocks, line.stamp)
            steps, values = thin(steps, values, 0.7 * (high - low) / max(1.0, area.height()))
            x = (self.timeline.forward(steps) - self.timeline.low) / (self.timeline.high - self.timeline.low)
            x = area.left() + np.clip(x, 0, 1) * area.width()
            y = area.bottom() - np.clip((values - low) / (high - low), 0, 1) * area.height()
            for piece in _pieces(np.isfinite(y)):
                found.append(_stroke(x[piece], y[piece], line.color, area, fill=len(self._lines) == 1))
        return found

    def _paint_cursor(self, painter: QPainter, area: QRectF, tokens: theme.Tokens) -> None:
        if self.timeline.cursor is None or not self._lines:
            return
        place = float(self.timeline.forward(np.array([self.timeline.cursor]))[0])
        share = (place - self.timeline.low) / (self.timeline.high - self.timeline.low)
        if 0 <= share <= 1:
            painter.setPen(QPen(QColor(tokens.dim), 1, Qt.PenStyle.DashLine))
            x = round(area.left() + share * area.width()) + 0.5
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the crosshair of all plots."""
        area = self._area()
        share = (event.position().x() - area.left()) / max(1.0, area.width())
        place = self.timeline.low + share * (self.timeline.high - self.timeline.low)
        inside = 0 <= share <= 1 and bool(self._lines)
        self.timeline.set_cursor(float(self.timeline.inverse(np.array([place]))[0]) if inside else None)

    def leaveEvent(self, event: QEvent) -> None:
        """Take the crosshair away."""
        self.timeline.set_cursor(None)


@dataclass(frozen=True, slots=True)
class _Stroke:
    """One unbroken piece of a course, ready to be painted.

    Attributes:
        line: A smooth course; empty where `columns` holds a noisy one as one upright line for each pixel column.
        ground: The area under it; empty where several courses share the card.
    """

    color: int
    line: QPolygonF
    columns: list[QLineF]
    ground: QPolygonF

    def paint(self, painter: QPainter, tokens: theme.Tokens) -> None:
        """Ground, then line. A noisy course is painted without antialiasing: it would be a grey band, and slow."""
        color = QColor(tokens.curves[self.color % len(tokens.curves)])
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        if not self.ground.isEmpty():
            shade = QColor(color)
            shade.setAlpha(34)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(shade)
            painter.drawPolygon(self.ground)
        if self.columns:
            painter.setPen(QPen(color, 1))
            painter.drawLines(self.columns)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        painter.setPen(QPen(color, 1.5))
        painter.drawPolyline(self.line)


def _stroke(x: Floats, y: Floats, color: int, area: QRectF, fill: bool) -> _Stroke:
    """A piece of a course between two gaps; all in pixels."""
    if len(x) == 1:
        x, y = np.array([x[0], x[0] + 2]), np.repeat(y, 2)
    dense = len(x) > 1.2 * area.width()
    points = [QPointF(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    columns = [QLineF(one, other) for one, other in pairwise(points)] if dense else []
    ground = QPolygonF()
    if fill:
        foot = area.bottom()
        upper = points[:: 2 if dense else 1]
        ground = QPolygonF([QPointF(points[0].x(), foot), *upper, QPointF(points[-1].x(), foot)])
    return _Stroke(color, QPolygonF([] if dense else points), columns, ground)


def _pieces(known: np.ndarray) -> list[slice]:
    """Stretches of true."""
    borders = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(borders[0::2], borders[1::2], strict=True)]
