"""The grid of thumbnails: as fluid with 12 million pictures as with twenty, since only what is in sight exists."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip

from gui import theme
from gui.widgets.grid_layout import LEAST_EDGE, GridLayout
from gui.widgets.index_reader import PAGE, IndexReader
from gui.widgets.picture_views import Tile, View
from gui.widgets.selection import Selection
from gui.widgets.thumbnails import Thumbnails
from gui.widgets.tile_painter import TilePainter

if TYPE_CHECKING:
    from PySide6.QtCore import QEvent

#: Pages of tiles that are kept.
_MOST_PAGES = 60


class ThumbnailGrid(QAbstractScrollArea):
    """Positions are computed, tiles are asked for when they come into sight, pictures decoded elsewhere.

    Signals:
        selected: The Tile that has the keyboard now.
        refreshed: The same picture's Tile, when it was read anew.
        selection_changed: How many pictures are selected.
        counted: How many pictures are shown, and whether the search for them is over.
        menu_wanted: A point on the screen where the menu of the selected pictures should open.
        opened: The Tile that was double-clicked.
    """

    selected = Signal(object)
    refreshed = Signal(object)
    selection_changed = Signal(int)
    counted = Signal(int, bool)
    menu_wanted = Signal(QPoint)
    opened = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Pictures")
        self.selection = Selection()
        self.view: View | None = None
        self._reader: IndexReader | None = None
        self._layout = GridLayout(0, 1, 1)
        self._pages: OrderedDict[int, list[Tile | None]] = OrderedDict()
        self._stale: set[int] = set()
        self._told = -1
        self._thumbs = Thumbnails(int(1.25 * LEAST_EDGE * self.devicePixelRatioF()), self)
        self._thumbs.arrived.connect(self._repaint)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        self.viewport().update()

    # -- what is shown ----------------------------------------------------------------------------------------

    def show_index(self, reader: IndexReader | None) -> None:
        """Show what a reader says; the grid closes the reader it had before."""
        if self._reader is not None:
            self._reader.close()
            self._reader.deleteLater()
        self._reader = reader
        self.view = None
        self._forget()
        self._set_count(0)
        if reader is not None:
            reader.view_changed.connect(self._show_view)
            reader.page_read.connect(self._page_read)
            reader.facts_changed.connect(self.reread)

    def _show_view(self, view: View) -> None:
        """Another filter begins at its top; the same one again stays where it is, with what is selected."""
        before, self.view = self.view, view
        if before is None or before.wanted != view.wanted:
            self._forget()
            self._set_count(view.count)
            self.verticalScrollBar().setValue(0)
        elif before.number != view.number:
            self.reread()
            if before.count != view.count:
                self._forget()
            self._set_count(view.count)
        else:
            self._pages.pop(before.count // PAGE, None)
            self._set_count(view.count)

    def _forget(self) -> None:
        self._pages.clear()
        self._stale.clear()
        self._told = -1
        self.selection.clear()
        self.selection_changed.emit(0)

    def reread(self, *_: object) -> None:
        """Read the tiles anew, and show the old ones until the new ones are here."""
        self._stale = set(self._pages)
        self.viewport().update()

    def _set_count(self, count: int) -> None:
        self._measure(count)
        self.viewport().update()
        self.counted.emit(count, self.view is None or self.view.complete)

    def replace_tile(self, tile: Tile) -> None:
        """Take over a tile whose captions were edited."""
        for tiles in self._pages.values():
            for number, old in enumerate(tiles):
                if old is not None and old.picture.path == tile.picture.path:
                    tiles[number] = tile
        self.viewport().update()

    def close_reader(self) -> None:
        """End the threads: the window is closing."""
        self.show_index(None)
        self._thumbs.wait()

    def _page_read(self, view: int, page: int, tiles: list[Tile | None]) -> None:
        if self.view is None or view != self.view.number:
            return
        self._pages[page] = tiles
        self._pages.move_to_end(page)
        self._stale.discard(page)
        while len(self._pages) > _MOST_PAGES:
            self._pages.popitem(last=False)
        if self.selection.current // PAGE == page:
            again = self.tile(self.selection.current) if self._told == self.selection.current else None
            if again is not None:
                self.refreshed.emit(again)
            self._tell_current()
        self.viewport().update()

    @property
    def count(self) -> int:
        """How many pictures are shown."""
        return self._layout.count

    def tile(self, position: int) -> Tile | None:
        """The tile at a position; None while it is not read yet, which is asked for."""
        if self.view is None or not 0 <= position < self.count:
            return None
        page, place = divmod(position, PAGE)
        tiles = self._pages.get(page)
        if (tiles is None or page in self._stale) and self._reader is not None:
            self._reader.page(self.view, page)
        return tiles[place] if tiles is not None and place < len(tiles) else None

    # -- geometry ---------------------------------------------------------------------------------------------

    def _measure(self, count: int) -> None:
        self._layout = layout = GridLayout(count, self.viewport().width(), self.viewport().height())
        bar = self.verticalScrollBar()
        bar.setRange(0, layout.maximum)
        bar.setPageStep(layout.page)
        bar.setSingleStep(max(1, layout.parts // 3))

    def _visible(self) -> range:
        return self._layout.visible(self.verticalScrollBar().value())

    def _place(self, position: int) -> QRect:
        layout = self._layout
        top = layout.top(position, self.verticalScrollBar().value())
        return QRect(layout.left(position), top, layout.edge, layout.edge)

    def number_at(self, point: QPoint) -> int:
        """Position of the picture at a point of the viewport, -1 where there is none."""
        return self._layout.at(point.x(), point.y(), self.verticalScrollBar().value())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the first visible picture in sight when the columns change."""
        first = next(iter(self._visible()), 0)
        self._measure(self.count)
        self.verticalScrollBar().setValue(self._layout.value_for(first))

    # -- painting ---------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """The tiles in sight; what is missing is asked for and painted when it comes."""
        painter = QPainter(self.viewport())
        tiles = TilePainter(painter, self.devicePixelRatioF())
        wanted = []
        for position in self._visible():
            tile = self.tile(position)
            pixmap = None
            if tile is not None:
                pixmap = self._thumbs.get(tile.picture.path)
                if pixmap is None:
                    wanted.append(tile.picture.path)
            current = position == self.selection.current and self.hasFocus()
            tiles.paint(QRectF(self._place(position)), tile, pixmap, position in self.selection, current)
        if not self.count:
            self._paint_nothing(painter)
        painter.end()
        self._thumbs.want(wanted)

    def _paint_nothing(self, painter: QPainter) -> None:
        painter.setPen(QColor(theme.current().dim))
        over = self.view is not None and self.view.complete
        words = "No picture passes these filters." if over else "Searching …"
        area = self.viewport().rect().adjusted(0, 0, 0, -self.viewport().height() // 3)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, words)

    # -- hands ------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select one; ctrl adds or takes out, shift selects up to here. A right click keeps what is selected."""
        position = self.number_at(event.position().toPoint())
        if position < 0:
            return
        if event.button() == Qt.MouseButton.RightButton:
            if position not in self.selection:
                self.select(position)
            return
        held = event.modifiers()
        control = bool(held & Qt.KeyboardModifier.ControlModifier)
        if held & Qt.KeyboardModifier.ShiftModifier:
            self.selection.extend(position, add=control)
        elif control:
            self.selection.toggle(position)
        else:
            self.selection.only(position)
        self._selection_moved()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open the picture."""
        tile = self.tile(self.number_at(event.position().toPoint()))
        if tile is not None:
            self.opened.emit(tile)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """The menu of what is selected, at the pointer or at the picture that has the keyboard."""
        if len(self.selection):
            at_keyboard = event.reason() == QContextMenuEvent.Reason.Keyboard
            place = self.viewport().mapToGlobal(self._place(self.selection.current).center())
            self.menu_wanted.emit(place if at_keyboard else event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows and page keys walk, with shift they select; ctrl+A selects all, Escape nothing, space one."""
        key, held = Qt.Key(event.key()), event.modifiers()
        step = self._steps().get(key)
        if step is not None and self.count:
            position = min(max(self.selection.current + step, 0), self.count - 1)
            if held & Qt.KeyboardModifier.ShiftModifier:
                self.selection.extend(position)
                self._selection_moved()
            else:
                self.select(position)
        elif key == Qt.Key.Key_A and held & Qt.KeyboardModifier.ControlModifier:
            self.select_all()
        elif key == Qt.Key.Key_Escape and len(self.selection):
            self.selection.clear()
            self._selection_moved()
        elif key == Qt.Key.Key_Space and self.selection.current >= 0:
            self.selection.toggle(self.selection.current)
            self._selection_moved()
        else:
            super().keyPressEvent(event)

    def _steps(self) -> dict[Qt.Key, int]:
        """How far the keys walk."""
        across = self._layout.columns
        screen = max(1, self.viewport().height() // self._layout.pitch) * across
        first = self.selection.current < 0
        return {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -across,
            Qt.Key.Key_Down: 1 if first else across,
            Qt.Key.Key_PageUp: -screen,
            Qt.Key.Key_PageDown: screen,
            Qt.Key.Key_Home: -self.count,
            Qt.Key.Key_End: self.count,
        }

    def select(self, position: int) -> None:
        """Select the picture at a position and bring it into sight."""
        if 0 <= position < self.count:
            self.selection.only(position)
            self._selection_moved()

    def select_all(self) -> None:
        """Select everything that is shown."""
        self.selection.all(self.count)
        self._selection_moved()

    def _selection_moved(self) -> None:
        bar = self.verticalScrollBar()
        if 0 <= self.selection.current < self.count:
            bar.setValue(self._layout.reveal(self.selection.current, bar.value()))
        self.viewport().update()
        self.selection_changed.emit(len(self.selection))
        self._tell_current()

    def _tell_current(self) -> None:
        """Say which tile has the keyboard, once it is read."""
        current = self.selection.current
        tile = self.tile(current) if current != self._told else None
        if tile is not None:
            self._told = current
            self.selected.emit(tile)

    def viewportEvent(self, event: QEvent) -> bool:
        """The tip of a picture: its name, size and what is remarkable."""
        if isinstance(event, QHelpEvent):
            tile = self.tile(self.number_at(event.pos()))
            if tile is not None:
                picture = tile.picture
                size = [f"{picture.width} × {picture.height}"] if picture.width else []
                words = [picture.path, *size, *(mark.text for mark in tile.marks)]
                QToolTip.showText(event.globalPos(), "\n".join(words), self)
            return True
        return super().viewportEvent(event)
