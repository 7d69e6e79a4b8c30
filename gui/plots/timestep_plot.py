"""Plots over the timestep instead of the run: what was lost at each, old draws to new ones, and how often each came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QColor, QFont, QMouseEvent
from PySide6.QtWidgets import QWidget

from core.run_data import Floats
from core.timestep_views import BINS, TIMESTEPS, Draws
from gui import theme
from gui.plots.card_plot import CardPlot
from gui.plots.compare_view import CompareAxis
from gui.plots.decimate import inner_range
from gui.plots.loss_views import loss_words, mix
from gui.theme import Tokens

#: Curve colours from the first step to the last.
AGES = (0, 3, 1)
#: Shades of age that are told apart; each is drawn in one go.
_SHADES = 24
#: Part of the points that the y range may leave out at either end.
_CUT = 0.002
_NONE = np.empty(0)


@dataclass(frozen=True)
class Means:
    """The stable losses of all buckets at one step, drawn as marks.

    Attributes:
        age: 0 for the run's first step, 1 for its last.
        losses: (buckets,)
    """

    age: float
    losses: Floats


class TimestepPlot(CardPlot):
    """A plot whose x axis is the timestep; it neither pans nor zooms.

    Signals:
        pointed: The timestep under the pointer, or -1.
    """

    pointed = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        view = pg.ViewBox(enableMenu=False, defaultPadding=0.0, enableMouse=False)
        super().__init__(view, {side: CompareAxis(side) for side in ("left", "bottom")}, parent)
        view.disableAutoRange()
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._cross.setZValue(60)
        self._cross.hide()
        view.addItem(self._cross, ignoreBounds=True)

    def set_heights(self, low: float, high: float) -> None:
        """The y range, and all timesteps across."""
        self.view.setRange(xRange=(-4, TIMESTEPS + 4), yRange=(low, high), padding=0, disableAutoRange=False)

    def words(self, timestep: float) -> str:
        """What is known of a timestep; "" where nothing is, or for -1."""
        return ""

    def restyle_items(self, tokens: Tokens, font: QFont) -> None:
        """The crosshair."""
        self._cross.setPen(pg.mkPen(tokens.dim, style=Qt.PenStyle.DashLine))

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        """The crosshair, and the timestep that it stands at."""
        super().mouseMoveEvent(ev)
        place = self.mapToScene(ev.position().toPoint())
        x = self.view.mapSceneToView(place).x()
        inside = self.view.sceneBoundingRect().contains(place) and 0 <= x < TIMESTEPS
        self._point(float(x) if inside else -1.0)

    def leaveEvent(self, ev: QEvent) -> None:
        """Take the crosshair away."""
        super().leaveEvent(ev)
        self._point(-1.0)

    def _point(self, timestep: float) -> None:
        self._cross.setVisible(timestep >= 0)
        self._cross.setPos(timestep)
        self.pointed.emit(timestep)


class DrawsPlot(TimestepPlot):
    """Loss over the timestep, logarithmic: a dot for each use of a picture, the fit, and the stable losses' means."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Loss over the timestep")
        self.draws: Draws | None = None
        self.means: Sequence[Means] = ()
        self.axes_["left"].setLogMode(False, True)
        self._dots = [pg.ScatterPlotItem(size=3.5, pxMode=True, pen=None) for _ in range(_SHADES)]
        self._edge, self._fit = pg.PlotCurveItem(antialias=True), pg.PlotCurveItem(antialias=True)
        self._marks = pg.ScatterPlotItem(size=14, pxMode=True, symbol="d")
        for depth, item in enumerate((*self._dots, self._edge, self._fit, self._marks)):
            item.setZValue(depth)
            self.view.addItem(item, ignoreBounds=True)
        self.restyle()

    def show_draws(self, draws: Draws, means: Sequence[Means]) -> None:
        """Draw these; losses that have no logarithm are left out."""
        self.draws, self.means = draws, means
        known = np.isfinite(draws.losses) & (draws.losses > 0)
        x, y, steps = draws.timesteps[known], np.log10(draws.losses[known]), draws.steps[known]
        first, last = (float(steps[0]), float(steps[-1])) if len(steps) else (0.0, 1.0)
        shades = np.minimum(_SHADES - 1, ((steps - first) / max(1.0, last - first) * _SHADES).astype(np.int64))
        for shade, dots in enumerate(self._dots):
            mine = shades == shade
            dots.setData(x[mine], y[mine])
        self._draw_fit()
        self._draw_means()
        low, high = inner_range(y, _CUT) if len(y) else (-3.0, 0.0)
        room = 0.06 * (high - low) + 0.02
        self.set_heights(low - room, high + room)

    def _draw_fit(self) -> None:
        fit = self.draws.fit if self.draws is not None else None
        x = np.arange(0, TIMESTEPS, 4.0)
        for line in (self._edge, self._fit):
            line.setData(*((x, np.log10(np.maximum(fit.expected(x), 1e-12))) if fit is not None else (_NONE, _NONE)))

    def _draw_means(self) -> None:
        tokens = theme.current()
        x, y, brushes = [], [], []
        for means in self.means:
            count = len(means.losses)
            for number, loss in enumerate(means.losses.tolist()):
                if loss > 0:
                    x.append(TIMESTEPS * (number + 0.5) / count)
                    y.append(float(np.log10(loss)))
                    brushes.append(pg.mkBrush(mix(tokens, AGES, means.age)))
        self._marks.setData(x, y, **({"brush": brushes} if brushes else {}))

    def expected(self, timestep: float) -> float:
        """The fit's loss at a timestep; nan without a fit."""
        fit = self.draws.fit if self.draws is not None else None
        return float(fit.expected(np.array([timestep]))[0]) if fit is not None and timestep >= 0 else float("nan")

    def words(self, timestep: float) -> str:
        """What is known of a timestep, for the legend."""
        value = self.expected(timestep)
        return f"timestep {timestep:.0f}: {loss_words(value)} expected" if np.isfinite(value) else ""

    def restyle_items(self, tokens: Tokens, font: QFont) -> None:
        """What is drawn, and the crosshair."""
        super().restyle_items(tokens, font)
        for shade, dots in enumerate(self._dots):
            color = QColor(mix(tokens, AGES, shade / (_SHADES - 1)))
            color.setAlpha(120)
            dots.setBrush(pg.mkBrush(color))
        self._edge.setPen(pg.mkPen(tokens.surface, width=3.5))
        self._fit.setPen(pg.mkPen(tokens.text, width=2))
        self._marks.setPen(pg.mkPen(tokens.text, width=1.5))
        self._draw_means()


class HistogramPlot(TimestepPlot):
    """How often the timesteps of each part of the schedule were drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Histogram of the drawn timesteps")
        self.bins = np.zeros(BINS, np.int64)
        self.expected: tuple[int, int] | None = None
        self._bars = pg.BarGraphItem(x0=np.arange(BINS) * TIMESTEPS / BINS, width=TIMESTEPS / BINS * 0.86, height=0)
        self._line = pg.PlotCurveItem()
        for item in (self._bars, self._line):
            self.view.addItem(item, ignoreBounds=True)
        self.restyle()

    def show_bins(self, bins: np.ndarray, expected: tuple[int, int] | None) -> None:
        """Draw the counts; `expected`: the first and last timestep where all between are drawn alike, else None."""
        self.bins, self.expected = bins, expected
        self._bars.setOpts(height=bins)
        x, y = self.wanted()
        if len(x):
            self._line.setData(np.append(x, TIMESTEPS), y, stepMode="center")
        self._line.setVisible(bool(len(x)))
        top = max(float(bins.max()), float(y.max()) if len(y) else 0.0, 1.0)
        self.set_heights(0, 1.08 * top)

    def wanted(self) -> tuple[Floats, Floats]:
        """(left edges of the bars, counts that are expected by the settings); empty where that is not known."""
        if self.expected is None:
            return _NONE, _NONE
        first, last = self.expected
        edges = np.linspace(0, TIMESTEPS, BINS + 1)
        inside = np.clip(np.minimum(edges[1:], last + 1) - np.maximum(edges[:-1], first), 0, None)
        return edges[:-1], inside / max(1.0, inside.sum()) * float(self.bins.sum())

    def words(self, timestep: float) -> str:
        """The bar under the pointer, for the legend."""
        if timestep < 0:
            return ""
        place = min(BINS - 1, int(timestep * BINS / TIMESTEPS))
        first, last = place * TIMESTEPS // BINS, (place + 1) * TIMESTEPS // BINS - 1
        text = f"timesteps {first}–{last}: {self.bins[place]:,}"
        y = self.wanted()[1]
        return f"{text}, expected {y[place]:,.0f}" if len(y) else text

    def restyle_items(self, tokens: Tokens, font: QFont) -> None:
        """What is drawn, and the crosshair."""
        super().restyle_items(tokens, font)
        shade = QColor(tokens.curves[0])
        shade.setAlpha(150)
        self._bars.setOpts(brush=pg.mkBrush(shade), pen=pg.mkPen(None))
        self._line.setPen(pg.mkPen(tokens.text, width=2, style=Qt.PenStyle.DashLine))
