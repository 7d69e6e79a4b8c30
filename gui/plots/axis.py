"""An axis with thousands separated and only as many digits as tell two ticks apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyqtgraph as pg
from PySide6.QtGui import QFont

from core.quantities import show_rounded
from gui.theme import Tokens


def tick_text(value: float, spacing: float) -> str:
    """A tick's number: "12,000", "0.125", "1e-6"."""
    if value == 0:
        return "0"
    if abs(value) < 1e-4 or abs(value) >= 1e9:
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    digits = max(0, -math.floor(math.log10(spacing) + 1e-9)) if spacing > 0 else 3
    return f"{value:,.{min(digits, 8)}f}"


def log_tick_text(exponent: float) -> str:
    """A tick of a logarithmic axis by its exponent: "0.1", "0.02", "200", "1e-5"."""
    value = 10.0**exponent
    if 1e-4 <= value < 1e5:
        return show_rounded(value, 2)
    text = f"{value:.1g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


class NumberAxis(pg.AxisItem):
    """Left or bottom axis of a curve plot."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.enableAutoSIPrefix(False)
        self.setTickDensity(1.8 if orientation == "left" else 1.0)
        self.setStyle(tickLength=0, autoExpandTextSpace=False, tickTextOffset=8, maxTickLevel=0)

    def behind(self) -> NumberAxis:
        """Draw its grid behind the curves, where pyqtgraph has it over them."""
        self.setZValue(-1000)
        return self

    def restyle(self, tokens: Tokens, font: QFont) -> None:
        """Take on a theme."""
        small = QFont(font)
        small.setFeature(QFont.Tag("tnum"), 1)
        self.setStyle(tickFont=small)
        self.setPen(pg.mkPen(tokens.border))
        self.setTextPen(pg.mkPen(tokens.dim))

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """The ticks' texts."""
        if self.logMode:
            return [log_tick_text(value) for value in values]
        return [tick_text(value * scale, spacing * scale) for value in values]
