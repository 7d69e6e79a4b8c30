"""What stands on a curve plot beside its curves: minimum, usable range, bookmarks, pin, crosshair, zero line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF

from core.run_data import Floats
from gui.plots.timeline import Timeline
from gui.theme import Tokens

#: Letters of a bookmark that its flag shows.
_LETTERS = 18


def _short(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…"


class PlotMarks:
    """Items of one plot; they belong to it, and draw() puts them in their places."""

    def __init__(self, view: pg.ViewBox, timeline: Timeline) -> None:
        self.minimum: tuple[float, float] | None = None
        self.usable: tuple[float, float] | None = None
        self.flags: Sequence[tuple[float, str]] = ()
        self.zero = False
        self._view = view
        self._timeline = timeline
        self._flag_pen, self._flag_color, self._font = pg.mkPen(None), "#000000", QFont()
        self._ground = pg.mkBrush(None)
        self._flag_items: list[tuple[pg.InfiniteLine, pg.TextItem]] = []
        self._region = pg.LinearRegionItem(movable=False)
        self._region_text = pg.TextItem(anchor=(0, 0))
        self._mark = pg.ScatterPlotItem(size=11, pxMode=True)
        self._mark_text = pg.TextItem(anchor=(0.5, 0))
        self.cross = pg.InfiniteLine(angle=90, movable=False)
        self._pin = pg.InfiniteLine(angle=90, movable=False)
        self._zero = pg.InfiniteLine(angle=0, movable=False)
        depths = {self._region: -20, self._region_text: 20, self._mark: 30, self._mark_text: 31, self.cross: 40}
        for item, depth in {**depths, self._pin: 25, self._zero: -10}.items():
            self._add(item, depth)

    def _add(self, item: pg.GraphicsObject, depth: int) -> None:
        item.setZValue(depth)
        item.hide()
        self._view.addItem(item, ignoreBounds=True)

    def set_flags(self, flags: Sequence[tuple[float, str]]) -> None:
        """Flags at these steps, with these words."""
        self.flags = tuple(flags)
        while len(self._flag_items) < len(self.flags):
            pair = pg.InfiniteLine(angle=90, movable=False), pg.TextItem(anchor=(0, 1))
            for item in pair:
                self._add(item, 22)
            self._flag_items.append(pair)
        self._style_flags()

    def draw(self, low: float, high: float, bend: Callable[[Floats], Floats]) -> None:
        """Place all for a y range; `bend` maps values to the y axis."""
        for item in (self._region, self._region_text, self._mark, self._mark_text):
            item.hide()
        self._zero.setVisible(self.zero)
        self._pin.setVisible(self._timeline.pinned is not None)
        if self._timeline.pinned is not None:
            self._pin.setPos(self._x(self._timeline.pinned))
        if self.usable is not None:
            self._draw_range(high)
        if self.minimum is not None:
            step, value = self.minimum
            self._draw_minimum(self._x(step), float(bend(np.array([value]))[0]), low, high)
        self._draw_flags(low)

    def _x(self, step: float) -> float:
        return float(self._timeline.forward(np.array([step]))[0])

    def _draw_range(self, high: float) -> None:
        left, right = map(float, self._timeline.forward(np.array(self.usable)))
        self._region.setRegion((left, right))
        self._region_text.setPos(max(left, self._timeline.low), high)
        self._region.show()
        self._region_text.setVisible(left < self._timeline.high and right > self._timeline.low)

    def _draw_minimum(self, x: float, y: float, low: float, high: float) -> None:
        assert self.minimum is not None
        step, value = self.minimum
        self._mark.setData([x], [y])
        self._mark_text.setText(f"min {value:.4g} at step {step:,.0f}")
        self._mark_text.setPos(x, y)
        # The words stay inside the plot: over the mark, or under it near the top.
        across = (x - self._timeline.low) / (self._timeline.high - self._timeline.low)
        up = 1.3 if (y - low) / (high - low) < 0.8 else -0.3
        self._mark_text.setAnchor((min(1.0, max(0.0, (across - 0.1) / 0.8)), up))
        self._mark.show()
        self._mark_text.setVisible(self._timeline.low <= x <= self._timeline.high)

    def _draw_flags(self, low: float) -> None:
        """A line at each bookmark; its words at the foot, where the next flag leaves room for them."""
        pixel = float(self._view.viewPixelSize()[0]) or 1.0
        metrics = QFontMetricsF(self._font)
        places = [self._x(step) for step, _ in self.flags]
        end = self._timeline.high
        for number, (line, words) in enumerate(self._flag_items):
            shown = number < len(self.flags) and self._timeline.low <= places[number] <= self._timeline.high
            line.setVisible(shown)
            words.setVisible(False)
            if not shown:
                continue
            x, text = places[number], _short(self.flags[number][1])
            width = (metrics.horizontalAdvance(text) + 12) * pixel
            line.setPos(x)
            after = places[number + 1] if number + 1 < len(places) else float("inf")
            left = x + width <= end or x - width < self._timeline.low
            words.setAnchor((0, 1) if left else (1, 1))
            words.setPos(x, low)
            words.setVisible(bool(text) and (not left or x + width <= after))

    def flag_near(self, x: float, pixels: float = 6) -> float | None:
        """The step of the flag that is no farther than so many pixels from a place on the axis."""
        reach = pixels * float(self._view.viewPixelSize()[0])
        near = [(abs(self._x(step) - x), step) for step, _ in self.flags]
        distance, step = min(near, default=(np.inf, 0.0))
        return step if distance <= reach else None

    def restyle(self, tokens: Tokens, font: QFont) -> None:
        """Take on a theme."""
        shade, ground = QColor(tokens.good), QColor(tokens.surface)
        shade.setAlpha(28)
        ground.setAlpha(190)
        self._font, self._ground = font, pg.mkBrush(ground)
        self._flag_pen, self._flag_color = pg.mkPen(tokens.accent, style=Qt.PenStyle.DotLine), tokens.accent
        self._region.setBrush(shade)
        for border in self._region.lines:
            border.setPen(pg.mkPen(None))
        self._region_text.setText("usable range", color=tokens.good)
        self._mark_text.setColor(tokens.text)
        self._mark_text.fill = self._region_text.fill = self._ground
        self._mark.setPen(pg.mkPen(tokens.surface, width=2))
        self._mark.setBrush(pg.mkBrush(tokens.text))
        for text in (self._region_text, self._mark_text):
            text.setFont(font)
        self._pin.setPen(pg.mkPen(tokens.accent))
        self._zero.setPen(pg.mkPen(tokens.dim))
        self.cross.setPen(pg.mkPen(tokens.dim, style=Qt.PenStyle.DashLine))
        self._style_flags()

    def _style_flags(self) -> None:
        for (line, words), (_, text) in zip(self._flag_items, self.flags, strict=False):
            line.setPen(self._flag_pen)
            words.setFont(self._font)
            words.fill = self._ground
            words.setText(_short(text), color=self._flag_color)


def with_zero(low: float, high: float) -> tuple[float, float]:
    """A y range that shows the zero line with some room on either side."""
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low)
    return (low - room if low == 0 else low), (high + room if high == 0 else high)
