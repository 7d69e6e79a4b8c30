"""A picture as large as the page, over it, never modal: arrow keys walk, Escape closes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QGuiApplication, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from gui import theme
from gui.widgets.basics import button, label, row, tool
from gui.widgets.elided import Elided
from gui.widgets.picture_loader import PictureLoader


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """What the view shows.

    Attributes:
        facts: Everything that decided the picture; behind "I".
    """

    path: Path
    title: str
    text: str
    facts: str = ""


class ParameterPanel(QFrame):
    """The text that A1111 and its kin read from a picture, with a button that copies it."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.setFixedWidth(264)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.copy = button("Copy", tip="Copy the parameters as A1111 and its kin read them")
        self.copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.text.toPlainText()))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 16)
        layout.addLayout(row(label("Parameters", "heading"), None, self.copy))
        layout.addWidget(self.text, 1)

    def show_text(self, text: str) -> None:
        """Show a picture's parameters."""
        if self.text.toPlainText() != text:
            self.text.setPlainText(text)


class PictureView(QWidget):
    """Lies over `ground` and grows with it.

    Signals:
        moved: (dx, dy): an arrow key or button asks for the neighbour.
        closed: The view was closed.
        flicked: Space was pressed.
    """

    moved = Signal(int, int)
    closed = Signal()
    flicked = Signal()

    def __init__(self, ground: QWidget, loader: PictureLoader) -> None:
        super().__init__(ground)
        self._ground = ground
        self._loader = loader
        self._shown: ShownPicture | None = None
        self._action: Callable[[], None] | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._title, self._text = label("", "heading"), Elided("", "dim")
        self._facts_button = tool("info", "Parameters (I)", "text")
        self._facts_button.setCheckable(True)
        self._facts_button.toggled.connect(self._show_facts)
        self.action = button("", "grids")
        self.action.clicked.connect(self._act)
        self._close = tool("close", "Close (Esc)", "text")
        self._close.clicked.connect(self.close_view)
        self.panel = ParameterPanel()
        self._lay_out()
        ground.installEventFilter(self)
        loader.loaded.connect(self._repaint)
        theme.signals().changed.connect(self._repaint)
        self.hide()

    def _repaint(self, *_: object) -> None:
        """Another theme, or a picture that has come. No lambda: it would keep the widget alive for ever."""
        self.update()

    def _lay_out(self) -> None:
        back = tool("back", "Before (left arrow)", "text", 24)
        forward = tool("forward", "After (right arrow)", "text", 24)
        back.clicked.connect(lambda: self.moved.emit(-1, 0))
        forward.clicked.connect(lambda: self.moved.emit(1, 0))
        for widget in (back, forward, self._facts_button, self.action, self._close):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        head = row(self._title, 8, self._text, spacing=8)
        head.setStretch(2, 1)
        for widget in (self.action, self._facts_button, self._close):
            head.addWidget(widget)
        middle = QHBoxLayout()
        middle.addWidget(back)
        canvas = QWidget()
        canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        canvas.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        middle.addWidget(canvas, 1)
        middle.addWidget(forward)
        middle.addWidget(self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 12, 16, 24)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addLayout(middle, 1)
        self.panel.hide()

    def show_picture(self, shown: ShownPicture) -> None:
        """Show a picture and take the keyboard."""
        self._shown = shown
        self._title.setText(shown.title)
        self._text.setText(shown.text)
        self._facts_button.setVisible(bool(shown.facts))
        self.panel.show_text(shown.facts)
        self.setGeometry(self._ground.rect())
        self.show()
        self.raise_()
        self.setFocus()
        self.update()

    def set_action(self, text: str, action: Callable[[], None] | None) -> None:
        """Offer something to do with the picture; None offers nothing."""
        self._action = action
        self.action.setText(text)
        self.action.setVisible(action is not None)

    @property
    def shown_picture(self) -> ShownPicture | None:
        """What is shown now."""
        return self._shown if self.isVisible() else None

    def close_view(self) -> None:
        """Give the page back."""
        self.hide()
        self.closed.emit()

    def _act(self) -> None:
        if self._action is not None:
            self._action()

    def _show_facts(self, shown: bool) -> None:
        self.panel.setVisible(shown)
        self.update()

    def _picture_area(self) -> QRectF:
        top = self._title.geometry().bottom() + 16
        right = self.panel.geometry().left() - 40 if self.panel.isVisible() else self.width() - 64
        return QRectF(72, top, max(1, right - 72), max(1, self.height() - top - 24))

    def paintEvent(self, event: QPaintEvent) -> None:
        """The ground that hides the page, and the picture."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(tokens.window))
        if self._shown is None:
            painter.end()
            return
        area = self._picture_area()
        picture = self._loader.get(self._shown.path)
        if picture is None:
            painter.setPen(QColor(tokens.dim))
            painter.setFont(QFont(self.font()))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "Reading the picture")
        else:
            share = min(area.width() / picture.width(), area.height() / picture.height())
            # Small pictures are enlarged by whole factors and kept sharp: a tiny model's pixels are what they are.
            sharp = share > 2
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, not sharp)
            target = QRectF(0, 0, picture.width() * share, picture.height() * share)
            target.moveCenter(area.center())
            painter.drawPixmap(target, picture, QRectF(picture.rect()))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click beside the picture closes."""
        if not self._picture_area().contains(event.position()):
            self.close_view()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows walk, Space flicks, I shows the parameters, Escape and Enter close."""
        key = Qt.Key(event.key())
        moves = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}
        if key in moves:
            self.moved.emit(*moves[key])
        elif key == Qt.Key.Key_Space:
            self.flicked.emit()
        elif key == Qt.Key.Key_I:
            self._facts_button.toggle()
        elif key in (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.close_view()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Grow with the page."""
        if watched is self._ground and event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self._ground.rect())
        return False
