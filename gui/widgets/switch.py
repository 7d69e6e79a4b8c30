"""An on/off switch that paints itself in the colours of the theme."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QWidget

from gui import theme


class Switch(QAbstractButton):
    """A checkable switch; space and click toggle it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(40, 24)

    def sizeHint(self) -> QSize:
        """Its one size."""
        return QSize(40, 24)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Track, knob, and a ring when focused."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        on = self.isChecked()
        track = QRectF(2, 3, 36, 18)
        painter.setPen(QColor(tokens.accent if on else tokens.dim))
        painter.setBrush(QColor(tokens.accent if on else tokens.surface))
        painter.drawRoundedRect(track, 9, 9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.on_accent if on else tokens.dim))
        painter.drawEllipse(QRectF(23 if on else 5, 6, 12, 12))
        if self.hasFocus():
            painter.setPen(QColor(tokens.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(0.5, 1.5, 39, 21), 10.5, 10.5)
        painter.end()
