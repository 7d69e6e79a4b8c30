"""Curves of many runs over each other: each over its own x, decimated to the pixels there are, one crosshair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QGraphicsView, QLabel, QWidget

from core.run_data import Floats
from gui import theme
from gui.plots.compare_view import CompareAxis, CompareView
from gui.plots.decimate import Blocks, decimate_columns, inner_range, thin
from gui.plots.timeline import nearest
from gui.run_colors import color

#: Part of noisy curves that the y range may leave out at either end.
_NOISE_CUT = 0.01
#: Pixels a column at most, as it is while the plot is panned where more curves than these are drawn.
_MOVING_COLUMN, _MANY = 3, 12
#: More points than this are drawn by thin lines without antialiasing.
_MOST_SMOOTH = 12_000
#: Room over the ceiling, as a part of what lies under it.
_OVER = 0.6
#: Milliseconds after the last movement until all is drawn finely again.
_REST_MS = 140
#: A click or the pointer means a curve that is no farther than so many pixels.
_REACH = 28.0
_NONE = np.empty(0)


@dataclass(frozen=True)
class RunLine:
    """A run's curve as it is drawn.

    Attributes:
        key: The run.
        color: Number of its colour.
        x, y: In the units of the axes, x ascending.
        minimum: (x, y) to mark.
    """

    key: str
    label: str
    color: int
    x: Floats
    y: Floats
    minimum: tuple[float, float] | None = None


class ComparePlot(pg.PlotWidget):
    """Curves of many runs.

    Signals:
        values_changed: The crosshair has moved, or left; see value_of() and current.
        clicked: A run's curve was clicked, at this x.
        painted: The plot was painted.
    """

    values_changed = Signal()
    clicked = Signal(str, float)
    painted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        self.view = CompareView()
        self._axes = {side: CompareAxis(side) for side in ("left", "bottom")}
        super().__init__(parent, viewBox=self.view, axisItems=self._axes, background=None)
        self.lines: dict[str, RunLine] = {}
        self.cursor: float | None = None
        self.current = ""
        self.chosen = ""
        self.log_x = self.log_y = False
        self.noisy = False
        #: Values above this may leave the plot at its top, where that keeps the lowest part readable.
        self.ceiling: float | None = None
        self._items: dict[str, pg.PlotCurveItem] = {}
        self._blocks: dict[str, Blocks] = {}
        self._range: tuple[float, float] | None = None
        self._moving = False
        self._refresh_timer = QTimer(self, singleShot=True, interval=4)
        self._refresh_timer.timeout.connect(self.refresh)
        self._rest_timer = QTimer(self, singleShot=True, interval=_REST_MS)
        self._rest_timer.timeout.connect(self._rest)
        self._build()
        self.restyle()

    def _build(self) -> None:
        self.hideButtons()
        self.setFrameShape(QLabel.Shape.NoFrame)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.BoundingRectViewportUpdate)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self._axes["left"].setWidth(64)
        self._axes["bottom"].setHeight(24)
        self.getPlotItem().layout.setContentsMargins(0, 6, 10, 0)
        self._marks = pg.ScatterPlotItem(size=10, pxMode=True)
        self._marks.setZValue(30)
        self._dots = pg.ScatterPlotItem(size=7, pxMode=True)
        self._dots.setZValue(45)
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._cross.setZValue(40)
        self._cross.hide()
        for item in (self._marks, self._dots, self._cross):
            self.view.addItem(item, ignoreBounds=True)
        self._words = QLabel(self)
        self._words.setProperty("role", "badge")
        self._words.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._words.hide()
        self.view.sigRangeChangedManually.connect(self._moved)
        self.view.double_clicked.connect(self.reset)
        self.view.clicked.connect(self._click)
        theme.signals().changed.connect(self.restyle)

    # -- what is shown ----------------------------------------------------------------------------------------

    def set_lines(self, lines: Sequence[RunLine], *, noisy: bool = False) -> None:
        """Draw these curves from now on; the range stays if the user has chosen one."""
        self.noisy = noisy
        for key in [key for key in self._items if key not in {line.key for line in lines}]:
            self.view.removeItem(self._items.pop(key))
            self._blocks.pop(key, None)
        self.lines = {line.key: line for line in lines}
        for line in lines:
            if line.key not in self._items:
                self._items[line.key] = pg.PlotCurveItem(skipFiniteCheck=True)
                self.view.addItem(self._items[line.key], ignoreBounds=True)
            self._blocks[line.key] = Blocks()
        if self.chosen not in self.lines:
            self.chosen = ""
        self.refresh_soon()

    def set_log(self, *, x: bool | None = None, y: bool | None = None) -> None:
        """Logarithmic or linear axes; another x axis shows everything again."""
        if x is not None and x != self.log_x:
            self.log_x = x
            self._range = None
        self.log_y = self.log_y if y is None else y
        self._axes["left"].setLogMode(False, self.log_y)
        self._axes["bottom"].setLogMode(self.log_x, False)
        self.refresh()  # now: an axis must not be painted with the other kind's range

    def choose(self, key: str) -> None:
        """Bring a run's curve to the front; "" none."""
        if key != self.chosen:
            self.chosen = key if key in self.lines else ""
            self.refresh_soon()

    def reset(self) -> None:
        """Show everything."""
        self._range = None
        self.refresh_soon()

    def value_of(self, key: str) -> float:
        """A run's value at the crosshair; nan where it has none there."""
        line = self.lines.get(key)
        if line is None or self.cursor is None or not len(line.x):
            return float("nan")
        if not line.x[0] <= self.cursor <= line.x[-1]:
            return float("nan")
        return float(line.y[nearest(line.x, self.cursor) or 0])

    def points_drawn(self) -> int:
        """Points on the screen after decimation, of all curves."""
        return sum(len(item.xData) for item in self._items.values() if item.xData is not None)

    def sizeHint(self) -> QSize:
        """As small as can still be read."""
        return QSize(420, 200)

    # -- drawing ----------------------------------------------------------------------------------------------

    def refresh_soon(self) -> None:
        """Draw anew when the event loop comes round; several wishes become one."""
        if not self._refresh_timer.isActive():
            self._refresh_timer.start()

    def refresh(self) -> None:
        """Draw what the range shows now."""
        self._refresh_timer.stop()
        if self.plotItem is None:
            return
        low, high = self._range or self._whole()
        edges = np.linspace(low, high, max(16, int(self.view.width()) // self._column()) + 1)
        edges = 10.0**edges if self.log_x else edges
        drawn = {key: self._columns(line, edges) for key, line in self.lines.items()}
        bottom, top = self._fit(drawn)
        least = 0.7 * (top - bottom) / max(1.0, self.view.height())
        thinned = drawn if self.noisy else {key: thin(x, y, least) for key, (x, y) in drawn.items()}
        fine = sum(len(x) for x, _ in thinned.values()) <= _MOST_SMOOTH and not (self._moving and len(drawn) > _MANY)
        for place, (key, (x, y)) in enumerate(thinned.items()):
            self._draw(key, x, y, fine, place)
        self.view.setRange(xRange=(low, high), yRange=(bottom, top), padding=0, disableAutoRange=False)
        if not self._moving:  # the marks stand at their places, however the range moves
            self._draw_marks()
        self._show_cursor()

    def _column(self) -> int:
        """Pixels a column: more where many curves are drawn, and while they move."""
        if self._moving and len(self.lines) > _MANY:
            return 2 * _MOVING_COLUMN if self.noisy else _MOVING_COLUMN
        return min(_MOVING_COLUMN, max(1, math.ceil(2 * len(self.lines) * self.view.width() / _MOST_SMOOTH)))

    def _whole(self) -> tuple[float, float]:
        """The range of all curves, with a margin, in the unit of the drawing; under a ceiling only what lies there."""
        ends = []
        for line in self.lines.values():
            x = line.x[line.x > 0] if self.log_x else line.x
            if self.ceiling is not None and len(under := np.flatnonzero(line.y <= self.ceiling)):
                x = x[: len(x) - (len(line.x) - 1 - int(under[-1]))]
            if len(x):
                ends.append((float(x[0]), float(x[-1])))
        if not ends:
            return 0.0, 1.0
        low, high = min(a for a, _ in ends), max(b for _, b in ends)
        if self.log_x:
            low, high = np.log10(low), np.log10(high)
        span = (high - low) or 1.0
        return float(low - 0.01 * span), float(high + 0.015 * span)

    def _columns(self, line: RunLine, edges: Floats) -> tuple[Floats, Floats]:
        """What is drawn of a curve, in the units of the drawing."""
        x, y = decimate_columns(line.x, line.y, edges, self._blocks[line.key])
        if self.log_x:
            x, y = x[x > 0], y[x > 0]
            x = np.log10(x)
        return x, self._bend(y)

    def _bend(self, values: Floats) -> Floats:
        if not self.log_y:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(values), np.nan)

    def _fit(self, drawn: dict[str, tuple[Floats, Floats]]) -> tuple[float, float]:
        """The y range of what is drawn; of noisy curves without their spikes."""
        known = [values for _, y in drawn.values() if len(values := y[np.isfinite(y)])]
        if not known:
            return 0.0, 1.0
        ranges = [inner_range(values, _NOISE_CUT if self.noisy else 0.0) for values in known]
        low, high = min(a for a, _ in ranges), max(b for _, b in ranges)
        if self.ceiling is not None:
            limit = float(self._bend(np.array([self.ceiling]))[0])
            high = min(high, limit + _OVER * (limit - low)) if limit > low else high
        span = (high - low) or max(abs(high), 1e-6) * 0.2
        return low - 0.06 * span, high + 0.06 * span

    def _draw(self, key: str, x: Floats, y: Floats, fine: bool, place: int) -> None:
        item, line = self._items[key], self.lines[key]
        shade = QColor(color(line.color, theme.current()))
        in_front = key in (self.chosen, self.current)
        if self.chosen and not in_front:
            shade.setAlpha(120)
        width = (2.8 if in_front else 1.8) if fine else (2 if in_front else 1)
        item.setPen(pg.mkPen(shade, width=width))
        item.setZValue(25 if in_front else place / 100)
        item.setData(x, y, connect="all" if bool(np.isfinite(y).all()) else "finite", antialias=fine)

    def _draw_marks(self) -> None:
        tokens = theme.current()
        marked = [line for line in self.lines.values() if line.minimum is not None]
        if self.log_x:
            marked = [line for line in marked if line.minimum and line.minimum[0] > 0]
        spots = np.array([line.minimum for line in marked], dtype=np.float64).reshape(-1, 2)
        x = np.log10(spots[:, 0]) if self.log_x else spots[:, 0]
        pens = [pg.mkPen(color(line.color, tokens), width=2.5) for line in marked]
        self._marks.setData(x, self._bend(spots[:, 1]), pen=pens or None, brush=pg.mkBrush(tokens.surface))

    # -- the pointer ------------------------------------------------------------------------------------------

    def _moved(self, *_: object) -> None:
        """The user pans or zooms: draw quickly now, finely when it rests."""
        low, high = self.view.viewRange()[0]
        self._range = (float(low), float(high))
        self._moving = True
        self._rest_timer.start()
        self.refresh_soon()

    def _rest(self) -> None:
        self._moving = False
        self.refresh()

    def _click(self, place: QPointF) -> None:
        key = self._near(place)
        if key:
            x = place.x()
            self.clicked.emit(key, float(10.0**x if self.log_x else x))

    def _near(self, place: QPointF) -> str:
        """The run whose curve is nearest over or under a point of the drawing, if one is near."""
        x = float(10.0 ** place.x() if self.log_x else place.x())
        before, self.cursor = self.cursor, x
        values = np.array([self.value_of(key) for key in self.lines])
        self.cursor = before
        if not len(values):
            return ""
        height = float(np.ptp(self.view.viewRange()[1])) or 1.0
        off = np.abs(self._bend(values) - place.y()) * self.view.height() / height
        if not np.isfinite(off).any() or float(np.nanmin(off)) > _REACH:
            return ""
        return list(self.lines)[int(np.nanargmin(off))]

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        """The crosshair follows the pointer."""
        super().mouseMoveEvent(ev)
        scene = self.mapToScene(ev.position().toPoint())
        if not self.view.sceneBoundingRect().contains(scene):
            self.point_at(None)
            return
        self.point_at(self.view.mapSceneToView(scene))

    def leaveEvent(self, ev: QEvent) -> None:
        """It goes when the pointer goes."""
        super().leaveEvent(ev)
        self.point_at(None)

    def point_at(self, place: QPointF | None) -> None:
        """Put the crosshair at a point of the drawing; None takes it away."""
        before = self.current
        self.cursor = None if place is None else float(10.0 ** place.x() if self.log_x else place.x())
        self.current = "" if place is None else self._near(place)
        if self.current != before and not self._moving:
            self.refresh_soon()
        self._show_cursor()
        self.values_changed.emit()

    def _show_cursor(self) -> None:
        shown = self.cursor is not None and bool(self.lines) and not self._moving
        self._cross.setVisible(shown)
        self._dots.setVisible(shown)
        self._words.setVisible(shown)
        if not shown or self.cursor is None:
            return
        x = float(np.log10(self.cursor)) if self.log_x and self.cursor > 0 else self.cursor
        self._cross.setPos(x)
        known = [(line, value) for key, line in self.lines.items() if np.isfinite(value := self.value_of(key))]
        heights = self._bend(np.array([value for _, value in known]))
        tokens = theme.current()
        brushes = [pg.mkBrush(color(line.color, tokens)) for line, _ in known]
        self._dots.setData(np.full(len(known), x), heights, pen=pg.mkPen(tokens.surface), brush=brushes or None)
        self._place_words()

    def _place_words(self) -> None:
        """x, and the curve under the pointer with its value, beside the crosshair."""
        assert self.cursor is not None
        text = f"{self.cursor:,.0f}" if abs(self.cursor) >= 100 else f"{self.cursor:.3g}"
        line = self.lines.get(self.current)
        if line is not None:
            text += f"  ·  {line.label}: {self.value_of(line.key):.5g}"
        self._words.setText(text)
        self._words.adjustSize()
        at = self.mapFromScene(self._cross.mapToScene(QPointF(0, 0)))
        left = min(max(at.x() + 8, 0), self.width() - self._words.width() - 8)
        self._words.move(int(left), 8)

    # -- looks ------------------------------------------------------------------------------------------------

    def restyle(self, *_: object) -> None:
        """Take on the theme."""
        tokens = theme.current()
        for axis in self._axes.values():
            axis.restyle(tokens, QApplication.font())
        self._cross.setPen(pg.mkPen(tokens.dim, width=1))
        self.refresh_soon()

    def paintEvent(self, ev: QPaintEvent) -> None:
        """Paint, and tell."""
        super().paintEvent(ev)
        self.painted.emit()

    def draw_into(self, painter: QPainter, place: QRectF) -> None:
        """Paint the plot without the crosshair, as lines where the device keeps lines (SVG)."""
        self.point_at(None)
        self.refresh()
        self.scene().prepareForPaint()
        self.render(painter, place, self.viewport().rect())
