"""The colour of a run: a number kept in its folder, the same in every page and in both themes."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap

from gui import theme
from gui.theme import Tokens

#: Tones of each colour of the palette; there are so many colours as both together.
_TONES = 3
MANY = len(theme.LIGHT.curves) * _TONES


def color(number: int, tokens: Tokens) -> str:
    """A run's colour: first the palette as it is, then nearer to the ground, then nearer to the text."""
    tone, place = divmod(number % MANY, len(tokens.curves))
    plain = QColor(tokens.curves[place])
    if not tone:
        return plain.name()
    other, share = (QColor(tokens.surface), 0.42) if tone == 1 else (QColor(tokens.text), 0.45)
    parts = ((plain.red(), other.red()), (plain.green(), other.green()), (plain.blue(), other.blue()))
    return QColor(*(round(a + share * (b - a)) for a, b in parts)).name()


def swatch(number: int, size: int = 12) -> QIcon:
    """A dot in a run's colour in the present theme, for lists and tables; no dot for a run without a colour."""
    return _dot(color(number, theme.current()) if number >= 0 else "", size)


@lru_cache(maxsize=4 * MANY)
def _dot(tone: str, size: int) -> QIcon:
    """A dot of a colour, "" for an empty one; tables of many runs ask for each again and again."""
    made = QIcon()
    for factor in (1, 2):
        picture = QPixmap(size * factor, size * factor)
        picture.fill(Qt.GlobalColor.transparent)
        if tone:
            painter = QPainter(picture)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tone))
            painter.drawEllipse(picture.rect().adjusted(factor, factor, -factor, -factor))
            painter.end()
        picture.setDevicePixelRatio(factor)
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # a selected row must not tint it
            made.addPixmap(picture, mode)
    return made
