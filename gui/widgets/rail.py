"""The rail of pages on the left: icons with labels, collapsible to icons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QEnterEvent, QFocusEvent, QFont, QIcon, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from core.paths import RESOURCES
from gui import theme
from gui.widgets.basics import label, row, set_icon, tool

WIDE, NARROW = 176, 56


@dataclass(frozen=True, slots=True)
class PagePlace:
    """One line of the table of pages.

    Attributes:
        target: "module:Class" of the page; imported when the page is first shown.
    """

    name: str
    title: str
    icon: str
    target: str


class RailButton(QAbstractButton):
    """One page in the rail; paints itself so that the label can leave without the icon moving."""

    def __init__(self, place: PagePlace, number: int) -> None:
        super().__init__()
        self.place = place
        self.setText(place.title)
        self.setToolTip(f"{place.title}  (Ctrl+{number})")
        self.setAccessibleName(place.title)
        self.setCheckable(True)
        self.setFixedHeight(40)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._icons: dict[str, QIcon] = {}
        self._alive = False
        self._by_keyboard = False
        theme.signals().changed.connect(self._forget_icons)

    def set_alive(self, alive: bool) -> None:
        """Show the dot that says that something is at work behind this page."""
        if alive != self._alive:
            self._alive = alive
            self.update()

    def _forget_icons(self, *_: object) -> None:
        self._icons.clear()
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the ring only to those who walk by keyboard."""
        self._by_keyboard = event.reason() in (
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
        )
        super().focusInEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        """Repaint with the hover ground."""
        self.update()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        """Repaint without the hover ground."""
        self.update()
        super().leaveEvent(event)

    def sizeHint(self) -> QSize:
        """Wide; the layout narrows it."""
        return QSize(WIDE - 16, 40)

    def minimumSizeHint(self) -> QSize:
        """Narrow."""
        return QSize(NARROW - 16, 40)

    def _icon(self, color: str) -> QIcon:
        if color not in self._icons:
            self._icons[color] = theme.icon(self.place.icon, color)
        return self._icons[color]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Ground, icon, label, dot."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = tokens.selection if self.isChecked() else tokens.raised if self.underMouse() else ""
        ring = self.hasFocus() and self._by_keyboard
        if ground or ring:
            painter.setPen(QColor(tokens.accent) if ring else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(ground) if ground else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        color = tokens.accent if self.isChecked() else tokens.dim
        self._icon(color).paint(painter, 10, 10, 20, 20)
        if self.width() > 80:
            font = QFont(self.font())
            font.setWeight(QFont.Weight.DemiBold if self.isChecked() else QFont.Weight.Normal)
            painter.setFont(font)
            painter.setPen(QColor(tokens.text))
            painter.drawText(self.rect().adjusted(42, 0, -8, 0), Qt.AlignmentFlag.AlignVCenter, self.text())
        if self._alive:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.good))
            x = self.width() - 18 if self.width() > 80 else self.width() - 12
            painter.drawEllipse(QRectF(x, 16 if self.width() > 80 else 6, 8, 8))
        painter.end()


class _Mark(QWidget):
    """The program's icon, painted sharp at every scale."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(28, 28)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the icon."""
        from PySide6.QtSvg import QSvgRenderer

        painter = QPainter(self)
        QSvgRenderer(str(RESOURCES / "icons" / "app.svg")).render(painter, QRectF(self.rect()))
        painter.end()


class Rail(QFrame):
    """The list of pages.

    Signals:
        chosen: Name of the page that was clicked.
        collapsed_changed: Whether only the icons are shown now.
    """

    chosen = Signal(str)
    collapsed_changed = Signal(bool)

    def __init__(self, places: Sequence[PagePlace]) -> None:
        super().__init__()
        self.setObjectName("rail")
        self.buttons: dict[str, RailButton] = {}
        self.collapsed = False
        self._group = QButtonGroup(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 16, 8, 8)
        layout.setSpacing(4)
        layout.addLayout(self._head())
        layout.addSpacing(16)
        for number, place in enumerate(places, 1):
            button = RailButton(place, number)
            button.clicked.connect(lambda _=False, name=place.name: self.chosen.emit(name))
            self._group.addButton(button)
            self.buttons[place.name] = button
            if place.name == "help":
                layout.addStretch(1)
            layout.addWidget(button)
        self._toggle = tool("collapse", "Show only the icons")
        self._toggle.clicked.connect(lambda: self.set_collapsed(not self.collapsed))
        layout.addLayout(row(5, self._toggle, None, spacing=0))
        self.setFixedWidth(WIDE)

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.setContentsMargins(6, 0, 0, 0)
        head.setSpacing(10)
        self._name = label("Burnish", "heading")
        head.addWidget(_Mark())
        head.addWidget(self._name, 1)
        return head

    def set_current(self, name: str) -> None:
        """Mark a page as the one in front."""
        self.buttons[name].setChecked(True)

    def set_collapsed(self, collapsed: bool) -> None:
        """Show icons only, or icons and labels."""
        self.collapsed = collapsed
        self._name.setVisible(not collapsed)
        set_icon(self._toggle, "expand" if collapsed else "collapse", "dim")
        self._toggle.setToolTip("Show the names of the pages" if collapsed else "Show only the icons")
        self.setFixedWidth(NARROW if collapsed else WIDE)
        self.collapsed_changed.emit(collapsed)
