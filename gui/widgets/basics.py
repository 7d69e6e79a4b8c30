"""Small pieces that every page is made of: labels, buttons with icons of the theme, cards, empty states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QObject, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from gui import theme

Box = TypeVar("Box", bound=QBoxLayout)


def set_property(widget: QWidget, name: str, value: object) -> None:
    """Set a property that the style sheet looks at, and restyle the widget when it changed."""
    if widget.property(name) == value:
        return
    widget.setProperty(name, value)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


class _IconFollower(QObject):
    """Keeps a widget's icon in the colour of the theme; lives and dies with the widget."""

    def __init__(self, widget: QWidget, set_icon: Callable[[QIcon], None], name: str, token: str, size: int) -> None:
        super().__init__(widget)
        self._size = size
        self._set_icon = set_icon
        self.name = name
        self.token = token
        theme.signals().changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Draw the icon anew."""
        tokens = theme.current()
        icon = theme.icon(self.name, getattr(tokens, self.token), self._size)
        if self.token == "on_accent":
            grey = theme.icon(self.name, tokens.dim, self._size)
            icon.addPixmap(grey.pixmap(QSize(self._size, self._size), 2.0), QIcon.Mode.Disabled)
        self._set_icon(icon)


def set_icon(button: QAbstractButton, name: str, token: str = "text", size: int = 18) -> None:
    """Give a button an icon that follows the theme; `token` is the colour's name in gui.theme.Tokens."""
    old = button.findChild(_IconFollower, options=Qt.FindChildOption.FindDirectChildrenOnly)
    if old is not None:
        old.name, old.token = name, token
        old.refresh()
        return
    button.setIconSize(QSize(size, size))
    _IconFollower(button, button.setIcon, name, token, size)


class IconLabel(QWidget):
    """An icon that stands by itself, painted sharp on every screen."""

    def __init__(self, name: str, token: str = "dim", size: int = 18, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = QIcon()
        self.setFixedSize(size, size)
        self._follower = _IconFollower(self, self._show, name, token, size)

    def _show(self, icon: QIcon) -> None:
        self._icon = icon
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the icon."""
        painter = QPainter(self)
        self._icon.paint(painter, self.rect())
        painter.end()

    def set(self, name: str, token: str) -> None:
        """Show another icon or colour."""
        if (name, token) != (self._follower.name, self._follower.token):
            self._follower.name, self._follower.token = name, token
            self._follower.refresh()


def label(text: str = "", role: str = "", wrap: bool = False) -> QLabel:
    """A label; `role` is one of style.qss ("title", "heading", "dim", "value", "badge", "error", "warning")."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    if wrap:
        made.setWordWrap(True)
        made.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return made


def button(text: str, icon: str = "", look: str = "", tip: str = "") -> QPushButton:
    """A button; `look` is "", "primary", "quiet", "danger" or "link"."""
    made = QPushButton(text)
    if look:
        made.setProperty(look, True)
    if icon:
        tokens = {"primary": "on_accent", "danger": "bad", "link": "accent"}
        set_icon(made, icon, tokens.get(look, "text"))
    if tip:
        made.setToolTip(tip)
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    return made


def tool(icon: str, tip: str, token: str = "dim", size: int = 18) -> QToolButton:
    """A button that is only an icon; the tip says what it does and is its name for screen readers."""
    made = QToolButton()
    set_icon(made, icon, token, size)
    made.setToolTip(tip)
    made.setAccessibleName(tip)
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    return made


def line() -> QFrame:
    """A thin horizontal line."""
    made = QFrame()
    made.setProperty("line", True)
    return made


Item = QWidget | QLayout | int | None


def row(*items: Item, spacing: int = 8) -> QHBoxLayout:
    """Widgets and layouts side by side; None is a stretch, a number is a space in pixels."""
    return _fill(QHBoxLayout(), items, spacing)


def column(*items: Item, spacing: int = 8) -> QVBoxLayout:
    """Widgets and layouts above each other; None is a stretch, a number is a space in pixels."""
    return _fill(QVBoxLayout(), items, spacing)


def _fill(layout: Box, items: tuple[Item, ...], spacing: int) -> Box:
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for item in items:
        if item is None:
            layout.addStretch(1)
        elif isinstance(item, int):
            layout.addSpacing(item)
        elif isinstance(item, QLayout):
            layout.addLayout(item)
        else:
            layout.addWidget(item)
    return layout


def card(*items: Item, margins: int = 16, spacing: int = 8) -> QFrame:
    """A raised area with a border that holds the items above each other, as column() does."""
    made = QFrame()
    made.setProperty("card", True)
    layout = QVBoxLayout(made)
    _fill(layout, items, spacing)
    layout.setContentsMargins(margins, margins, margins, margins)
    return made


class _Ground(QWidget):
    """What is scrolled: as high as its layout needs at the width there is, which wrapped labels leave open."""

    def minimumSizeHint(self) -> QSize:
        """The height for the present width, so that no scroll bar comes without need."""
        layout = self.layout()
        if layout is None or not layout.hasHeightForWidth():
            return super().minimumSizeHint()
        parent = self.parentWidget()
        width = parent.width() if parent is not None else self.width()
        return QSize(layout.minimumSize().width(), layout.totalHeightForWidth(width))


class Scroller(QScrollArea):
    """Scrolls items above each other, upwards and downwards only."""

    def __init__(self, *items: Item, spacing: int = 16, margins: tuple[int, int, int, int] = (0, 0, 8, 24)) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.show_items(*items, spacing=spacing, margins=margins)

    def show_items(self, *items: Item, spacing: int = 16, margins: tuple[int, int, int, int] = (0, 0, 8, 24)) -> None:
        """Show other items; those before are deleted."""
        ground = _Ground()
        ground.setObjectName("scrolled")
        layout = QVBoxLayout(ground)
        _fill(layout, (*items, None), spacing)
        layout.setContentsMargins(*margins)
        self.setWidget(ground)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width needs another height."""
        super().resizeEvent(event)
        ground = self.widget()
        if ground is not None:
            ground.updateGeometry()


class Empty(QWidget):
    """What an empty page or panel shows: an icon, what this place is for, and the first step."""

    def __init__(self, icon: str, title: str, text: str, *actions: QWidget, width: int = 420) -> None:
        super().__init__()
        words = QWidget()
        words.setFixedWidth(width)
        heading, body = label(title, "heading", wrap=True), label(text, "dim", wrap=True)
        words.setLayout(column(heading, body))
        for part in (heading, body):
            part.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(8)
        layout.addStretch(2)
        layout.addLayout(row(None, IconLabel(icon, "dim", 40), None))
        layout.addSpacing(8)
        layout.addLayout(row(None, words, None))
        if actions:
            layout.addSpacing(8)
            layout.addLayout(row(None, *actions, None))
        layout.addStretch(3)
