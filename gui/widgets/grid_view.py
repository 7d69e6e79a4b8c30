"""The picture grid: cells fade in as they come, headers stay, the wheel zooms at the pointer, keys walk and flick."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QSizePolicy, QStyle, QToolTip, QWidget

from core.events import Cell
from gui import theme
from gui.widgets.picture_loader import PictureLoader

Place = tuple[int, int]

_FADE_SECONDS = 0.14
_HEAD, _GAP, _PAD = 30, 6, 8
_SIDE_LEAST, _SIDE_MOST, _SIDE_SHARE = 56, 168, 0.24
_EDGES = (128, 256, 512, 0)
_ZOOM = 1.0015
_WIDEST, _NARROWEST = 4096.0, 12.0


class GridView(QWidget):
    """Shows the cells of one sub-grid.

    Signals:
        current_changed: Another cell (or None) is framed.
        opened: A cell should be shown in full size.
    """

    current_changed = Signal(object)
    opened = Signal(object)

    def __init__(self, loader: PictureLoader) -> None:
        super().__init__()
        self._loader = loader
        self._folder = Path()
        self._columns: Sequence[str] = ()
        self._rows: Sequence[str] = ()
        self._cells: dict[Place, Cell] = {}
        self._born: dict[Place, float] = {}
        self._aspect = 1.0
        self._width = 128.0
        self._offset = QPointF()
        self._fitting = True
        self._history: list[Place] = []
        self._drag: QPointF | None = None
        self._dragged = False
        self._fade = QTimer(self, interval=16)
        self._fade.timeout.connect(self._step_fade)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Picture grid")
        loader.loaded.connect(self._repaint)
        theme.signals().changed.connect(self._repaint)

    # -- content ----------------------------------------------------------------------------------------------

    def _repaint(self, *_: object) -> None:
        """Another theme, or a picture that has come. No lambda: it would keep the widget alive for ever."""
        self.update()

    def sizeHint(self) -> QSize:
        """Some cells; the layout gives it what is left."""
        return QSize(560, 400)

    def set_grid(self, folder: Path, columns: Sequence[str], rows: Sequence[str]) -> None:
        """Begin a grid (or another of its sub-grids): labels of columns and rows; no cell has come yet."""
        same = (folder, list(columns), list(rows)) == (self._folder, list(self._columns), list(self._rows))
        self._folder, self._columns, self._rows = folder, columns, rows
        self._cells.clear()
        self._born.clear()
        if not same:
            self._history.clear()
            self._fitting = True
            self._fit()
        self.update()

    def add_cell(self, cell: Cell, fade: bool = True) -> None:
        """A picture has come."""
        place = (cell.x, cell.y)
        self._cells[place] = cell
        if fade and self._animated():
            self._born[place] = time.monotonic()
            self._fade.start()
        if not self._history:
            self._go(place)
        self.update()

    def set_aspect(self, aspect: float) -> None:
        """Width by height of the pictures."""
        if aspect > 0 and aspect != self._aspect:
            self._aspect = aspect
            self._fit()

    @property
    def cells(self) -> dict[Place, Cell]:
        """What has come, by (column, row)."""
        return self._cells

    @property
    def current(self) -> Cell | None:
        """The framed cell."""
        return self._cells.get(self._history[-1]) if self._history else None

    def _animated(self) -> bool:
        """Whether the system wants motion."""
        return self.style().styleHint(QStyle.StyleHint.SH_Widget_Animation_Duration) > 0

    def _step_fade(self) -> None:
        now = time.monotonic()
        self._born = {place: born for place, born in self._born.items() if now - born < _FADE_SECONDS}
        if not self._born:
            self._fade.stop()
        self.update()

    # -- geometry ---------------------------------------------------------------------------------------------

    def _side(self) -> float:
        """Width of the row headers."""
        metrics = QFontMetricsF(self.font())
        widest = max((metrics.horizontalAdvance(row) for row in self._rows), default=0.0)
        most = max(_SIDE_LEAST, min(_SIDE_MOST, _SIDE_SHARE * self.width()))
        return min(max(widest + 2 * _PAD, _SIDE_LEAST), most) if any(self._rows) else 0.0

    def _head(self) -> float:
        return _HEAD if any(self._columns) else 0.0

    def _area(self) -> QRectF:
        """Where the pictures are."""
        return QRectF(self._side(), self._head(), self.width() - self._side(), self.height() - self._head())

    def _cell_size(self) -> tuple[float, float]:
        return self._width, self._width / self._aspect

    def cell_rect(self, place: Place) -> QRectF:
        """Where a cell is on the widget."""
        width, height = self._cell_size()
        area = self._area()
        left = area.left() + self._offset.x() + place[0] * (width + _GAP)
        top = area.top() + self._offset.y() + place[1] * (height + _GAP)
        return QRectF(left, top, width, height)

    def fit(self) -> None:
        """Show the whole grid, and keep it whole when the window changes."""
        self._fitting = True
        self._fit()

    def _fit(self) -> None:
        if not self._fitting or not self._columns or not self._rows:
            return
        area = self._area()
        across, down = len(self._columns), len(self._rows)
        wide = (area.width() - _GAP * (across - 1)) / across
        high = (area.height() - _GAP * (down - 1)) / down * self._aspect
        self._width = max(_NARROWEST, min(wide, high))
        self._offset = QPointF(0, 0)
        self.update()

    def zoom(self, factor: float, at: QPointF) -> None:
        """Zoom so that the point under `at` stays."""
        before = self._width
        self._width = min(_WIDEST, max(_NARROWEST, before * factor))
        share = self._width / before
        area = self._area()
        point = at - area.topLeft()
        self._offset = point - (point - self._offset) * share
        self._fitting = False
        self._keep_inside()

    def _keep_inside(self) -> None:
        """Never lose the grid out of sight."""
        width, height = self._cell_size()
        area = self._area()
        whole = (len(self._columns) * (width + _GAP) - _GAP, len(self._rows) * (height + _GAP) - _GAP)
        least = (min(0.0, area.width() - whole[0]), min(0.0, area.height() - whole[1]))
        self._offset = QPointF(min(0.0, max(least[0], self._offset.x())), min(0.0, max(least[1], self._offset.y())))
        self.update()

    def _under(self, point: QPointF) -> Place | None:
        if not self._area().contains(point):
            return None
        places = ((x, y) for x in range(len(self._columns)) for y in range(len(self._rows)))
        return next((place for place in places if self.cell_rect(place).contains(point)), None)

    # -- painting ---------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """The cells in sight, then the headers over them."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        painter.setClipRect(area)
        for x in range(len(self._columns)):
            for y in range(len(self._rows)):
                rect = self.cell_rect((x, y))
                if rect.intersects(area):
                    self._paint_cell(painter, (x, y), rect, tokens)
        painter.setClipping(False)
        self._paint_headers(painter, area, tokens)
        if self.hasFocus() and not self._cells:
            painter.setPen(QPen(QColor(tokens.accent), 1))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_cell(self, painter: QPainter, place: Place, rect: QRectF, tokens: theme.Tokens) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.raised))
        painter.drawRoundedRect(rect, 3, 3)
        cell = self._cells.get(place)
        picture = self._picture(cell, rect) if cell is not None else None
        if picture is not None:
            born = self._born.get(place)
            painter.setOpacity(1.0 if born is None else min(1.0, (time.monotonic() - born) / _FADE_SECONDS))
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, rect.width() < 2 * picture.width())
            painter.drawPixmap(rect, picture, QRectF(picture.rect()))
            painter.setOpacity(1.0)
        if self._history and self._history[-1] == place:
            painter.setPen(QPen(QColor(tokens.accent), 3))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.adjusted(1.5, 1.5, -1.5, -1.5), 3, 3)

    def _picture(self, cell: Cell, rect: QRectF) -> QPixmap | None:
        """The smallest reading that is sharp enough; a coarser one while that is on its way."""
        path = self._folder / cell.path
        needed = max(rect.width(), rect.height()) * self.devicePixelRatioF()
        wanted = next((edge for edge in _EDGES if edge >= needed), 0)
        picture = self._loader.get(path, wanted)
        if picture is None:
            known = (self._loader.peek(path, edge) for edge in _EDGES if edge != wanted)
            picture = next((found for found in known if found is not None), None)
        if picture is not None and len(self._cells) == 1:
            self.set_aspect(picture.width() / max(1, picture.height()))
        return picture

    def _paint_headers(self, painter: QPainter, area: QRectF, tokens: theme.Tokens) -> None:
        painter.setFont(QFont(QApplication.font()))
        metrics = QFontMetricsF(painter.font())
        current = self._history[-1] if self._history else (-1, -1)
        painter.fillRect(QRectF(0, 0, self.width(), area.top()), QColor(tokens.window))
        painter.fillRect(QRectF(0, 0, area.left(), self.height()), QColor(tokens.window))
        painter.setClipRect(QRectF(area.left(), 0, area.width(), area.top()))
        for x, text in enumerate(self._columns):
            rect = self.cell_rect((x, 0))
            place = QRectF(rect.left(), 0, rect.width(), area.top())
            painter.setPen(QColor(tokens.text if current[0] == x else tokens.dim))
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, place.width())
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, shown)
        painter.setClipRect(QRectF(0, area.top(), area.left(), area.height()))
        for y, text in enumerate(self._rows):
            rect = self.cell_rect((0, y))
            place = QRectF(0, rect.top(), area.left() - _PAD, rect.height())
            painter.setPen(QColor(tokens.text if current[1] == y else tokens.dim))
            flags = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft) | Qt.TextFlag.TextWordWrap.value
            painter.drawText(place, flags, text)
        painter.setClipping(False)

    # -- walking ----------------------------------------------------------------------------------------------

    def _go(self, place: Place) -> None:
        """Frame a cell; the one before stays known for flicking."""
        if not self._history or self._history[-1] != place:
            self._history = [*self._history[-1:], place]
            self.current_changed.emit(self.current)
            self._show_place(place)
            self.update()

    def _show_place(self, place: Place) -> None:
        """Pan as little as makes the cell visible."""
        if self._fitting:
            return
        rect, area = self.cell_rect(place), self._area()
        across = min(0.0, area.right() - rect.right()) or max(0.0, area.left() - rect.left())
        down = min(0.0, area.bottom() - rect.bottom()) or max(0.0, area.top() - rect.top())
        self._offset += QPointF(across, down)
        self._keep_inside()

    def walk(self, across: int, down: int) -> None:
        """Frame the neighbour."""
        if not self._columns or not self._rows:
            return
        x, y = self._history[-1] if self._history else (0, 0)
        self._go((min(max(x + across, 0), len(self._columns) - 1), min(max(y + down, 0), len(self._rows) - 1)))

    def flick(self) -> None:
        """Back to the cell before, and again."""
        if len(self._history) == 2:
            self._go(self._history[0])

    def open_current(self) -> None:
        """Ask for the framed cell in full size."""
        if self.current is not None:
            self.opened.emit(self.current)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows walk, Space flicks, Enter opens, 0 fits, + and - zoom."""
        key = Qt.Key(event.key())
        moves = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}
        if key in moves:
            self.walk(*moves[key])
        elif key == Qt.Key.Key_Space:
            self.flick()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_current()
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Minus):
            self.zoom(1.25 if key == Qt.Key.Key_Plus else 0.8, self._area().center())
        else:
            super().keyPressEvent(event)

    # -- mouse ------------------------------------------------------------------------------------------------

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom at the pointer."""
        self.zoom(_ZOOM ** event.angleDelta().y(), event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to pan."""
        self._drag, self._dragged = event.position(), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan; or say a header's whole text."""
        if self._drag is None:
            self._tell(event.position().toPoint(), event.globalPosition().toPoint())
            return
        moved = event.position() - self._drag
        if self._dragged or moved.manhattanLength() > QApplication.startDragDistance():
            self._dragged, self._fitting = True, False
            self._drag = event.position()
            self._offset += moved
            self._keep_inside()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click frames a cell."""
        place = self._under(event.position())
        if not self._dragged and place is not None:
            self._go(place)
        self._drag = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """A double click opens a cell, or fits the grid when it is beside one."""
        if self._under(event.position()) is None:
            self.fit()
        else:
            self.open_current()

    def _tell(self, at: QPoint, where: QPoint) -> None:
        area = self._area()
        for texts, inside, side in ((self._columns, at.y() < area.top(), 0), (self._rows, at.x() < area.left(), 1)):
            for number, text in enumerate(texts if inside else ()):
                rect = self.cell_rect((number, 0) if side == 0 else (0, number))
                if (rect.left() <= at.x() <= rect.right()) if side == 0 else (rect.top() <= at.y() <= rect.bottom()):
                    QToolTip.showText(where, text, self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A fitted grid stays whole."""
        self._fit()
        super().resizeEvent(event)

    def focusInEvent(self, event: QEvent) -> None:
        """Frame a cell, so that the arrow keys have a beginning."""
        if not self._history and self._cells:
            self._go(next(iter(self._cells)))
        super().focusInEvent(event)  # type: ignore[arg-type]
