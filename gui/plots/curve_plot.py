"""The curve plot: a million points a curve within one frame, drawn over the shared time axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFont, QMouseEvent, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QGraphicsView, QLabel, QWidget

from core.run_data import Floats
from gui import theme
from gui.plots.axis import NumberAxis
from gui.plots.card_plot import CardPlot
from gui.plots.decimate import Blocks, decimate_columns, inner_range, thin
from gui.plots.plot_marks import PlotMarks, with_zero
from gui.plots.timeline import Timeline, nearest
from gui.theme import Tokens

#: A curve whose line goes up and down by more pixels than this is drawn without antialiasing: it would be a grey band.
_SMOOTH_TRAVEL = 4_000
#: Pixels a column of a bold curve: its pen is wider than one.
_BOLD_COLUMN = 2
#: Curves of this width or more are measurements, whose points are marked by dots while there are few.
_BOLD = 2.0
#: Points are marked by dots while a curve shows no more than so many.
_MOST_DOTS = 60
#: Part of a noisy curve that the y range may leave out at either end, where there is nothing else to fit.
_NOISE_CUT = 0.02
#: Room under and over the bold curves, as parts of their own span: there the noisy ones show.
_ROOM_BELOW, _ROOM_ABOVE = 0.35, 0.45

_NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class Series:
    """How one curve looks and what it is called.

    Attributes:
        color: The colour in a theme; it belongs to the meaning and is the same everywhere.
        noisy: Drawn faint, behind, without antialiasing; its spikes do not stretch the y axis.
        tip: What it is, where the label does not say it all.
    """

    key: str
    label: str
    color: Callable[[Tokens], str]
    width: float = 2.0
    alpha: int = 255
    noisy: bool = False
    dashed: bool = False
    tip: str = ""


class _View(pg.ViewBox):
    """Pans and zooms along x only; tells of clicks."""

    clicked = Signal(float)
    double_clicked = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self.setMouseEnabled(x=True, y=False)
        self.disableAutoRange()
        self._place: float = 0.0
        self._single = QTimer(singleShot=True, interval=QApplication.doubleClickInterval())
        self._single.timeout.connect(lambda: self.clicked.emit(self._place))

    def mouseClickEvent(self, ev: object) -> None:
        """A click, once it is sure to be no double click."""
        if ev.button() != Qt.MouseButton.LeftButton:  # type: ignore[attr-defined]
            return
        if ev.double():  # type: ignore[attr-defined]
            self._single.stop()
            self.double_clicked.emit()
        else:
            self._place = self.mapSceneToView(ev.scenePos()).x()  # type: ignore[attr-defined]
            self._single.start()
        ev.accept()  # type: ignore[attr-defined]


class CurvePlot(CardPlot):
    """Curves against the timeline.

    Signals:
        values_changed: The values under the crosshair (or the last ones) are others; see value_of().
        painted: The plot was painted.
    """

    values_changed = Signal()
    painted = Signal()

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        super().__init__(_View(), {side: NumberAxis(side) for side in ("left", "bottom")}, parent)
        self.timeline = timeline
        self.series: dict[str, Series] = {}
        self._points: dict[str, tuple[Floats, Floats]] = {}
        self._blocks: dict[str, Blocks] = {}
        self._stamps: dict[str, object] = {}
        self._lines: dict[str, pg.PlotCurveItem] = {}
        self._dots: dict[str, pg.ScatterPlotItem] = {}
        self._hidden: set[str] = set()
        self._log = False
        self._refresh_timer = QTimer(self, singleShot=True, interval=4)
        self._refresh_timer.timeout.connect(self.refresh)
        self._build()
        self._connect()
        self.restyle()

    def _build(self) -> None:
        # A region of several rectangles would make the raster engine fifty times slower at the noisy curve.
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.BoundingRectViewportUpdate)
        self.marks = PlotMarks(self.view, self.timeline)
        self._place_label = QLabel(self)
        self._place_label.setProperty("role", "badge")
        self._place_label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._place_label.hide()

    def _connect(self) -> None:
        self.view.sigRangeChangedManually.connect(lambda *_: self.timeline.set_range(*self.view.viewRange()[0]))
        self.view.double_clicked.connect(self.timeline.reset)
        self.view.clicked.connect(self._clicked)
        self.timeline.changed.connect(self.refresh_soon)
        self.timeline.cursor_changed.connect(self._show_cursor)

    def _clicked(self, x: float) -> None:
        """Tell the step that was clicked; near a bookmark's flag it is the bookmark's."""
        flag = self.marks.flag_near(x)
        self.timeline.clicked.emit(float(self.timeline.inverse(np.array([x]))[0]) if flag is None else flag)

    def set_series(self, series: Iterable[Series]) -> None:
        """Draw these curves, the first one behind; points that are known by key stay."""
        self.series = {one.key: one for one in series}
        for key in [key for key in self._lines if key not in self.series]:
            self.view.removeItem(self._lines.pop(key))
            self.view.removeItem(self._dots.pop(key))
        for depth, key in enumerate(self.series):
            if key not in self._lines:
                self._lines[key] = pg.PlotCurveItem(skipFiniteCheck=True)
                self._dots[key] = pg.ScatterPlotItem(size=6, pxMode=True)
                self.view.addItem(self._lines[key], ignoreBounds=True)
                self.view.addItem(self._dots[key], ignoreBounds=True)
            for item in (self._lines[key], self._dots[key]):
                item.setZValue(depth)
        self._style_curves(theme.current())
        self.refresh_soon()

    def set_points(self, key: str, steps: Floats, values: Floats, stamp: object = None) -> None:
        """A curve's points by ascending step; drawn at the next refresh.

        Points that only grow keep their `stamp`; another one says that earlier points have changed.
        """
        self._points[key] = (steps, values)
        self._blocks.setdefault(key, Blocks())
        self._stamps[key] = stamp

    def set_marks(self, minimum: tuple[float, float] | None, usable: tuple[float, float] | None) -> None:
        """Mark the minimum (step, value) and shade the usable range (steps); None for what there is not."""
        self.marks.minimum, self.marks.usable = minimum, usable

    def set_flags(self, flags: Iterable[tuple[float, str]]) -> None:
        """Bookmarks: steps with a few words each."""
        self.marks.set_flags(sorted(flags))
        self.refresh_soon()

    def set_zero(self, shown: bool) -> None:
        """Draw a line at 0 and keep it in the range."""
        self.marks.zero = shown

    def set_visible(self, key: str, visible: bool) -> None:
        """Show or hide a curve."""
        (self._hidden.discard if visible else self._hidden.add)(key)
        self.refresh_soon()

    def is_hidden(self, key: str) -> bool:
        """Whether a curve was hidden by set_visible()."""
        return key in self._hidden

    def hidden(self) -> list[str]:
        """Curves that were hidden."""
        return sorted(self._hidden)

    def set_log(self, log: bool) -> None:
        """Logarithmic or linear y axis."""
        self._log = log
        self.axes_["left"].setLogMode(False, log)
        self.refresh_soon()

    def value_of(self, key: str) -> float:
        """A curve's value at the crosshair, or its last one; nan when it has none."""
        steps, values = self._points.get(key, (_NONE, _NONE))
        place = len(steps) - 1 if self.timeline.cursor is None else nearest(steps, self.timeline.cursor)
        return float(values[place]) if place is not None and place >= 0 else float("nan")

    def points_drawn(self, key: str) -> int:
        """Points that a curve has on the screen, after decimation."""
        return len(self._lines[key].xData) if key in self._lines and self._lines[key].xData is not None else 0

    def paintEvent(self, ev: QPaintEvent) -> None:
        """Paint, and tell."""
        super().paintEvent(ev)
        self.painted.emit()

    def plot_edges(self) -> tuple[int, int]:
        """Left and right border of the curves inside this widget, in pixels."""
        area = self.view.sceneBoundingRect()
        left = self.mapFromScene(area.topLeft()).x()
        return left, self.mapFromScene(area.topRight()).x()

    def refresh_soon(self) -> None:
        """Draw anew when the event loop comes round; several wishes become one."""
        if not self._refresh_timer.isActive():
            self._refresh_timer.start()

    def refresh(self) -> None:
        """Draw what the range shows now."""
        self._refresh_timer.stop()
        if self.plotItem is None:
            return
        pixels = max(16, int(self.view.width()))
        fine, coarse = self.timeline.edges(pixels), self.timeline.edges(pixels // _BOLD_COLUMN)
        shown = [one for key, one in self.series.items() if key not in self._hidden]
        drawn = {one.key: self._columns(one.key, fine if one.noisy else coarse) for one in shown}
        low, high = self._fit(drawn)
        if self.marks.zero and not self._log:
            low, high = with_zero(low, high)
        height = max(1.0, self.view.height()) / (high - low)
        for key in self.series:
            x, y = thin(*drawn.get(key, (_NONE, _NONE)), 0.7 / height)
            rough = bool(len(y)) and float(np.nansum(np.abs(np.diff(y)))) * height > _SMOOTH_TRAVEL
            self._draw(key, x, y, rough or self.series[key].noisy)
        self.view.setRange(
            xRange=(self.timeline.low, self.timeline.high), yRange=(low, high), padding=0, disableAutoRange=False
        )
        self.marks.draw(low, high, self._bend)
        self._show_cursor()

    def _columns(self, key: str, edges: Floats) -> tuple[Floats, Floats]:
        """What is drawn of a curve, in the units of the axes."""
        points = self._points.get(key, (_NONE, _NONE))
        steps, values = decimate_columns(*points, edges, self._blocks.get(key), self._stamps.get(key))
        return self.timeline.forward(steps), self._bend(values)

    def _bend(self, values: Floats) -> Floats:
        """Values in the unit of the y axis: themselves, or exponents of ten."""
        if not self._log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(values), np.nan)

    def _draw(self, key: str, x: Floats, y: Floats, rough: bool) -> None:
        line, dots = self._lines[key], self._dots[key]
        if self.series[key].noisy:
            self._lines[key].setPen(self._pen(self.series[key], dense=len(x) > self.view.width()))
        whole = bool(np.isfinite(y).all())
        line.setData(x, y, connect="all" if whole else "finite", antialias=not rough)
        few = 0 < len(x) <= _MOST_DOTS and self.series[key].width >= _BOLD
        dots.setData(x if few else _NONE, y if few else _NONE)

    def _fit(self, drawn: dict[str, tuple[Floats, Floats]]) -> tuple[float, float]:
        """The y range: the bold curves fill the plot, a noisy one may leave it; alone it is fitted but for spikes.

        No room is left below zero for values that are all above it.
        """
        known = {key: y[np.isfinite(y)] for key, (_, y) in drawn.items()}
        bold = [y for key, y in known.items() if len(y) and not self.series[key].noisy]
        noisy = [y for key, y in known.items() if len(y) and self.series[key].noisy]
        if not bold and not noisy:
            return 0.0, 1.0
        cut = 0.0 if bold else _NOISE_CUT
        ranges = [inner_range(y, cut) for y in bold or noisy]
        low, high = min(one for one, _ in ranges), max(other for _, other in ranges)
        span = (high - low) or max(abs(high), 1e-6) * 0.2
        below, above = (_ROOM_BELOW, _ROOM_ABOVE) if noisy and bold else (0.1, 0.1)
        bottom = low - below * span
        return max(0.0, bottom) if low > 0 and not self._log else bottom, high + above * span

    def _show_cursor(self) -> None:
        if self.plotItem is None:
            return
        step = self.timeline.cursor
        shown = step is not None
        self.marks.cross.setVisible(shown)
        self._place_label.setVisible(shown)
        if step is not None:
            x = float(self.timeline.forward(np.array([step]))[0])
            self.marks.cross.setPos(x)
            self._place_label.setText(self.timeline.words(step))
            self._place_label.adjustSize()
            left, right = self.plot_edges()
            middle = self.mapFromScene(self.view.mapViewToScene(QPointF(x, 0))).x()
            width = self._place_label.width()
            self._place_label.move(
                int(min(max(middle - width / 2, left), right - width)), self.height() - self._place_label.height()
            )
        self.values_changed.emit()

    def restyle_items(self, tokens: Tokens, font: QFont) -> None:
        """Curves and marks."""
        self.marks.restyle(tokens, font)
        self._style_curves(tokens)

    def _style_curves(self, tokens: Tokens) -> None:
        for key, one in self.series.items():
            self._lines[key].setPen(self._pen(one))
            self._dots[key].setPen(pg.mkPen(None))
            self._dots[key].setBrush(pg.mkBrush(one.color(tokens)))

    @staticmethod
    def _pen(one: Series, dense: bool = False) -> object:
        """A curve's pen; fainter where a noisy curve fills its pixels wholly."""
        color = QColor(one.color(theme.current()))
        color.setAlpha(one.alpha // 2 if dense else one.alpha)
        return pg.mkPen(color, width=one.width, style=Qt.PenStyle.DashLine if one.dashed else Qt.PenStyle.SolidLine)

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        """Move the crosshair of all plots."""
        super().mouseMoveEvent(ev)
        place = self.mapToScene(ev.position().toPoint())
        if self.view.sceneBoundingRect().contains(place):
            x = self.view.mapSceneToView(place).x()
            self.timeline.set_cursor(float(self.timeline.inverse(np.array([x]))[0]))
        else:
            self.timeline.set_cursor(None)

    def leaveEvent(self, ev: QEvent) -> None:
        """Take the crosshair away."""
        super().leaveEvent(ev)
        self.timeline.set_cursor(None)

    def resizeEvent(self, ev: QResizeEvent) -> None:
        """Another width has other pixel columns."""
        super().resizeEvent(ev)
        if hasattr(self, "_refresh_timer"):
            self.refresh_soon()
