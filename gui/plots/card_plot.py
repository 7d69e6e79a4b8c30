"""A pyqtgraph plot as the loss card has it: no frame, no buttons, axes in the theme, the grid behind the curves."""

from __future__ import annotations

from collections.abc import Mapping

import pyqtgraph as pg
from PySide6.QtCore import QSize
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from gui import theme
from gui.plots.axis import NumberAxis
from gui.theme import Tokens

#: Width of the left axis, so that plots and the film strip stand above each other.
LEFT_AXIS = 56


class CardPlot(pg.PlotWidget):
    """Subclasses style what they draw in restyle_items(), and call restyle() when it is made."""

    def __init__(self, view: pg.ViewBox, axes: Mapping[str, NumberAxis], parent: QWidget | None = None) -> None:
        """`axes`: "left" and "bottom"."""
        self.view = view
        self.axes_ = axes
        super().__init__(parent, viewBox=view, axisItems=dict(axes), background=None)
        self.hideButtons()
        self.setFrameShape(QLabel.Shape.NoFrame)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        axes["left"].setWidth(LEFT_AXIS)
        axes["bottom"].setHeight(24)
        axes["left"].behind()
        self.getPlotItem().layout.setContentsMargins(0, 6, 10, 0)
        theme.signals().changed.connect(self.restyle)

    def sizeHint(self) -> QSize:
        """As small as can still be read; the layout gives it what is left."""
        return QSize(480, 180)

    def restyle(self, *_: object) -> None:
        """Take on the theme."""
        if self.plotItem is None:  # closed, but not gone yet
            return
        tokens = theme.current()
        font = QFont(self.font())
        font.setPointSizeF(max(7.5, QApplication.font().pointSizeF() - 1))
        for axis in self.axes_.values():
            axis.restyle(tokens, font)
        self.axes_["left"].setGrid(255)
        self.restyle_items(tokens, font)

    def restyle_items(self, tokens: Tokens, font: QFont) -> None:
        """Give what is drawn the theme's colours; `font` is the axes'."""
