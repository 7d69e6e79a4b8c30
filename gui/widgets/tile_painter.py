"""Paints one tile of the grid of pictures: the thumbnail, its badges, and whether it is selected."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPixmap

from gui import theme

if TYPE_CHECKING:
    from gui.widgets.picture_views import Mark, Tile

_RADIUS, _BADGE, _SIGN = 6, 22, 14
#: Badges that are shown at most; the tip names all.
_MOST_BADGES = 4


class TilePainter:
    """Paints tiles with a painter that is open; `ratio` is the screen's pixels per pixel."""

    def __init__(self, painter: QPainter, ratio: float) -> None:
        self._painter = painter
        self._ratio = ratio
        self._tokens = theme.current()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)

    def paint(self, place: QRectF, tile: Tile | None, pixmap: QPixmap | None, selected: bool, current: bool) -> None:
        """A tile; without a thumbnail its ground, so that nothing moves when the picture comes."""
        painter = self._painter
        frame = QPainterPath()
        frame.addRoundedRect(place, _RADIUS, _RADIUS)
        painter.fillPath(frame, QColor(self._tokens.raised))
        if pixmap is not None and not pixmap.isNull():
            self._picture(place, frame, pixmap)
        elif pixmap is not None:
            self._sign("error" if tile is not None and tile.picture.reason else "picture", place)
        for number, mark in enumerate(tile.marks[:_MOST_BADGES] if tile is not None else ()):
            self._badge(place.translated(-(_BADGE + 4) * number, 0), mark)
        if selected:
            self._selected(place)
        elif current:
            self._border(place, 1.5)

    def _picture(self, place: QRectF, frame: QPainterPath, pixmap: QPixmap) -> None:
        size = QSize(pixmap.size()).scaled(place.size().toSize(), Qt.AspectRatioMode.KeepAspectRatio)
        target = QRectF(0, 0, size.width(), size.height())
        target.moveCenter(place.center())
        self._painter.save()
        self._painter.setClipPath(frame)
        self._painter.drawPixmap(target, pixmap, QRectF(pixmap.rect()))
        self._painter.restore()

    def _sign(self, icon: str, place: QRectF) -> None:
        """In place of a picture that nothing can decode."""
        target = QRectF(0, 0, 32, 32)
        target.moveCenter(place.center())
        self._painter.drawPixmap(target.toRect(), _drawn(icon, self._tokens.dim, 32, self._ratio))

    def _badge(self, place: QRectF, mark: Mark) -> None:
        ground = QRectF(place.right() - _BADGE - 6, place.bottom() - _BADGE - 6, _BADGE, _BADGE)
        self._painter.setPen(Qt.PenStyle.NoPen)
        self._painter.setBrush(QColor(self._tokens.surface))
        self._painter.drawEllipse(ground)
        color = getattr(self._tokens, mark.token)
        edge = (_BADGE - _SIGN) / 2
        sign = ground.adjusted(edge, edge, -edge, -edge).toRect()
        self._painter.drawPixmap(sign, _drawn(mark.icon, color, _SIGN, self._ratio))

    def _selected(self, place: QRectF) -> None:
        self._border(place, 3)
        tick = QRectF(place.left() + 8, place.top() + 8, 20, 20)
        self._painter.setPen(Qt.PenStyle.NoPen)
        self._painter.setBrush(QColor(self._tokens.accent))
        self._painter.drawEllipse(tick)
        sign = tick.adjusted(3, 3, -3, -3).toRect()
        self._painter.drawPixmap(sign, _drawn("check", self._tokens.on_accent, _SIGN, self._ratio))

    def _border(self, place: QRectF, width: float) -> None:
        self._painter.setPen(QPen(QColor(self._tokens.accent), width))
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
        half = width / 2
        self._painter.drawRoundedRect(place.adjusted(half, half, -half, -half), _RADIUS, _RADIUS)


@cache
def _drawn(name: str, color: str, size: int, ratio: float) -> QPixmap:
    """A sign in a colour of the theme."""
    return theme.icon(name, color, size).pixmap(QSize(size, size), ratio)
