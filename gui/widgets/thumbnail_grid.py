"""The grid of thumbnails: as fluid with a million pictures as with twenty, since only what is in sight exists."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip

from gui import theme
from gui.widgets.index_reader import PAGE, IndexReader, Mark, Tile
from gui.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from PySide6.QtCore import QEvent

_LEAST_EDGE, _GAP = 136, 8
#: Pages of rows that are kept.
_MOST_PAGES = 60


class ThumbnailGrid(QAbstractScrollArea):
    """Positions are computed, rows are asked for when they come into sight, pictures decoded elsewhere.

    Signals:
        selected: The Tile that was selected.
        counted: How many pictures match the filter.
    """

    selected = Signal(object)
    counted = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Pictures")
        self._reader: IndexReader | None = None
        self._text = ""
        self._count = 0
        self._current = -1
        self._pages: OrderedDict[int, list[Tile]] = OrderedDict()
        self._thumbs = Thumbnails(int(1.25 * _LEAST_EDGE * self.devicePixelRatioF()), self)
        self._thumbs.arrived.connect(lambda _: self.viewport().update())
        theme.signals().changed.connect(self._recolour)

    # -- what is shown ----------------------------------------------------------------------------------------

    def show_index(self, reader: IndexReader | None) -> None:
        """Show the pictures of an index; the grid closes the reader it had before."""
        if self._reader is not None:
            self._reader.close()
            self._reader.deleteLater()
        self._reader = reader
        self._pages.clear()
        self._current = -1
        self._set_count(0)
        if reader is not None:
            reader.counted.connect(self._counted)
            reader.page_read.connect(self._page_read)
            reader.count(self._text)

    def set_filter(self, text: str) -> None:
        """Show only the pictures with `text` in path or captions."""
        self._text = text.strip()
        self._current = -1
        if self._reader is not None:
            self._reader.count(self._text)

    def replace_tile(self, tile: Tile) -> None:
        """Take over a tile whose captions were edited; the index hears of them at the next look."""
        for tiles in self._pages.values():
            for number, old in enumerate(tiles):
                if old.picture.path == tile.picture.path:
                    tiles[number] = tile
        self.viewport().update()

    def close_reader(self) -> None:
        """End the threads: the window is closing."""
        self.show_index(None)
        self._thumbs.wait()

    def _counted(self, text: str, count: int) -> None:
        if text == self._text:
            self._pages.clear()
            self.verticalScrollBar().setValue(0)
            self._set_count(count)

    def _set_count(self, count: int) -> None:
        self._count = count
        self._measure()
        self.viewport().update()
        self.counted.emit(count)

    def _page_read(self, text: str, offset: int, tiles: list[Tile]) -> None:
        if text != self._text:
            return
        self._pages[offset // PAGE] = tiles
        self._pages.move_to_end(offset // PAGE)
        while len(self._pages) > _MOST_PAGES:
            self._pages.popitem(last=False)
        self.viewport().update()

    def tile(self, number: int) -> Tile | None:
        """The tile at a position; None while it is not read yet, which is asked for."""
        if not 0 <= number < self._count:
            return None
        page, place = divmod(number, PAGE)
        tiles = self._pages.get(page)
        if tiles is None:
            if self._reader is not None:
                self._reader.page(self._text, page * PAGE)
            return None
        return tiles[place] if place < len(tiles) else None

    # -- geometry ---------------------------------------------------------------------------------------------

    @property
    def columns(self) -> int:
        """Pictures side by side."""
        return max(1, (self.viewport().width() + _GAP) // (_LEAST_EDGE + _GAP))

    @property
    def edge(self) -> int:
        """Side of a tile: as large as the columns allow."""
        return (self.viewport().width() + _GAP) // self.columns - _GAP

    def _measure(self) -> None:
        rows = -(-self._count // self.columns)
        height = rows * (self.edge + _GAP) - _GAP
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, height - self.viewport().height()))
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep((self.edge + _GAP) // 2)

    def _place(self, number: int) -> QRect:
        """Where a picture stands in the viewport."""
        row, column = divmod(number, self.columns)
        top = row * (self.edge + _GAP) - self.verticalScrollBar().value()
        return QRect(column * (self.edge + _GAP), top, self.edge, self.edge)

    def _visible(self) -> Iterator[int]:
        top = self.verticalScrollBar().value()
        first = top // (self.edge + _GAP) * self.columns
        last = (top + self.viewport().height()) // (self.edge + _GAP) * self.columns + self.columns
        return iter(range(first, min(last, self._count)))

    def number_at(self, place: QPoint) -> int:
        """Position of the picture at a point of the viewport, -1 where there is none."""
        found = [number for number in self._visible() if self._place(number).contains(place)]
        return found[0] if found else -1

    # -- painting ---------------------------------------------------------------------------------------------

    def _recolour(self, *_: object) -> None:
        self.viewport().update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The tiles in sight; what is missing is asked for and painted when it comes."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        wanted = []
        for number in self._visible():
            tile = self.tile(number)
            pixmap = None
            if tile is not None:
                pixmap = self._thumbs.get(tile.picture.path)
                if pixmap is None:
                    wanted.append(tile.picture.path)
            self._paint_tile(painter, QRectF(self._place(number)), tile, pixmap, number == self._current)
        painter.end()
        self._thumbs.want(wanted)

    def _paint_tile(
        self, painter: QPainter, place: QRectF, tile: Tile | None, pixmap: QPixmap | None, current: bool
    ) -> None:
        tokens = theme.current()
        frame = QPainterPath()
        frame.addRoundedRect(place, 6, 6)
        painter.fillPath(frame, QColor(tokens.raised))
        if pixmap is not None and not pixmap.isNull():
            size = QSize(pixmap.size()).scaled(place.size().toSize(), Qt.AspectRatioMode.KeepAspectRatio)
            target = QRectF(0, 0, size.width(), size.height())
            target.moveCenter(place.center())
            painter.save()
            painter.setClipPath(frame)
            painter.drawPixmap(target, pixmap, QRectF(pixmap.rect()))
            painter.restore()
        for number, mark in enumerate(tile.marks if tile is not None else ()):
            self._paint_badge(painter, place.translated(-26 * number, 0), mark)
        if current:
            painter.setPen(QPen(QColor(tokens.accent), 3))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(place.adjusted(1.5, 1.5, -1.5, -1.5), 6, 6)

    def _paint_badge(self, painter: QPainter, place: QRectF, mark: Mark) -> None:
        tokens = theme.current()
        ground = QRectF(place.right() - 28, place.bottom() - 28, 22, 22)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.surface))
        painter.drawEllipse(ground)
        color = getattr(tokens, mark.token)
        painter.drawPixmap(ground.adjusted(4, 4, -4, -4).toRect(), _badge(mark.icon, color, self.devicePixelRatioF()))

    # -- hands ------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the first visible picture in sight when the columns change."""
        first = next(self._visible(), 0)
        self._measure()
        self.verticalScrollBar().setValue(first // self.columns * (self.edge + _GAP))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select."""
        self.select(self.number_at(event.position().toPoint()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrow keys walk."""
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -self.columns,
            Qt.Key.Key_Down: self.columns,
            Qt.Key.Key_Home: -self._count,
            Qt.Key.Key_End: self._count,
        }
        step = steps.get(Qt.Key(event.key()))
        if step is None or not self._count:
            super().keyPressEvent(event)
            return
        self.select(min(max(self._current + step, 0), self._count - 1))

    def select(self, number: int) -> None:
        """Select the picture at a position and bring it into sight."""
        if not 0 <= number < self._count:
            return
        self._current = number
        place = self._place(number)
        bar = self.verticalScrollBar()
        if place.top() < 0:
            bar.setValue(bar.value() + place.top())
        elif place.bottom() > self.viewport().height():
            bar.setValue(bar.value() + place.bottom() - self.viewport().height() + _GAP)
        self.viewport().update()
        tile = self.tile(number)
        if tile is not None:
            self.selected.emit(tile)

    def viewportEvent(self, event: QEvent) -> bool:
        """The tip of a picture: its name, size and what is remarkable."""
        if isinstance(event, QHelpEvent):
            tile = self.tile(self.number_at(event.pos()))
            if tile is not None:
                picture = tile.picture
                words = [
                    picture.path,
                    f"{picture.width} × {picture.height}",
                    *(mark.text for mark in tile.marks),
                ]
                QToolTip.showText(event.globalPos(), "\n".join(words), self)
            return True
        return super().viewportEvent(event)


@cache
def _badge(name: str, color: str, ratio: float) -> QPixmap:
    """A badge's sign in a colour of the theme."""
    return theme.icon(name, color, 14).pixmap(QSize(14, 14), ratio)
