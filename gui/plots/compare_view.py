"""Parts of the plot of Compare: an area that moves along x only and tells of clicks; axes readable over decades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication

from gui.plots.axis import NumberAxis, tick_text

#: Pixels from one tick of a logarithmic axis to the next, at least.
_APART = {"bottom": 64, "left": 28}


class CompareView(pg.ViewBox):
    """Signals: clicked (a point of the drawing), once it is sure to be no double click; double_clicked."""

    clicked = Signal(QPointF)
    double_clicked = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self.setMouseEnabled(x=True, y=False)
        self.disableAutoRange()
        self._place = QPointF()
        self._single = QTimer(singleShot=True, interval=QApplication.doubleClickInterval())
        self._single.timeout.connect(lambda: self.clicked.emit(self._place))

    def mouseClickEvent(self, ev: Any) -> None:
        """Wait whether a second click comes."""
        if ev.button() != Qt.MouseButton.LeftButton:
            return
        if ev.double():
            self._single.stop()
            self.double_clicked.emit()
        else:
            self._place = self.mapSceneToView(ev.scenePos())
            self._single.start()
        ev.accept()


class CompareAxis(NumberAxis):
    """A NumberAxis whose logarithmic ticks are whole numbers, 1, 2 and 5 in every decade where there is room."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        """Places of the ticks, all of one level."""
        if not self.logMode:
            return list(super().tickValues(low, high, size))
        most = max(2, int(size / _APART.get(self.orientation, 64)))
        decades = range(math.floor(low), math.ceil(high) + 1)
        for digits in (range(1, 10), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            places = [decade + math.log10(digit) for decade in decades for digit in digits]
            places = [place for place in places if low <= place <= high]
            if len(places) <= most:
                break
        if len(places) < 2:  # less than one step of the digits: places as on a straight axis
            straight = np.linspace(10.0**low, 10.0**high, min(most, 5) + 2)[1:-1]
            places = [math.log10(float(f"{value:.3g}")) for value in straight if value > 0]
        return [(1.0, places[:: max(1, -(-len(places) // most))])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """The ticks' texts."""
        if not self.logMode:
            return super().tickStrings(values, scale, spacing)
        return [tick_text(10.0**value, _spacing(10.0**value)) for value in values]


def _spacing(value: float) -> float:
    """So many digits as three significant ones need, trailing zeros left out."""
    digits = f"{value:.3g}"
    decimals = len(digits.partition(".")[2].partition("e")[0]) if "." in digits else 0
    return float(10.0**-decimals)
