"""The menu of choices: each with its name and, where the registry knows it, a line that says what it is for."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from gui import theme

_HELP_ROLE = Qt.ItemDataRole.ToolTipRole
Index = QModelIndex | QPersistentModelIndex


class _TwoLines(QStyledItemDelegate):
    """Paints a choice's name with its help under it."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """One line, or more where there is a help text."""
        text = str(index.data(_HELP_ROLE) or "")
        metrics = option.fontMetrics
        height = metrics.height() + 12
        if text:
            place = metrics.boundingRect(QRect(0, 0, 376, 1000), Qt.TextFlag.TextWordWrap, text)
            height += place.height() + 2
            return QSize(400, height)
        return QSize(metrics.horizontalAdvance(str(index.data(Qt.ItemDataRole.DisplayRole))) + 24, height)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Ground of the chosen line, name, help."""
        tokens = theme.current()
        painter.save()
        chosen = bool(option.state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver))
        if chosen:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.selection))
            painter.drawRoundedRect(option.rect, 4, 4)
        place = option.rect.adjusted(10, 6, -10, -6)
        painter.setPen(QColor(tokens.text))
        painter.drawText(place, Qt.AlignmentFlag.AlignTop, str(index.data(Qt.ItemDataRole.DisplayRole)))
        place.setTop(place.top() + option.fontMetrics.height() + 2)
        painter.setPen(QColor(tokens.dim))
        painter.drawText(place, Qt.TextFlag.TextWordWrap, str(index.data(_HELP_ROLE) or ""))
        painter.restore()


class ChoiceBox(QComboBox):
    """A combo box that the wheel does not change by accident.

    Its data are the values, its texts the labels of the components in `folder` (of core.registry), "" for plain values.
    """

    def __init__(self, values: Sequence[str], folder: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMaxVisibleItems(12)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for value in values:
            name, help_text = _spoken(folder, value)
            self.addItem(name, value)
            self.setItemData(self.count() - 1, help_text or None, _HELP_ROLE)
        self.setItemDelegate(_TwoLines(self))
        if folder:
            self.view().setMinimumWidth(420)

    def choose(self, value: str) -> None:
        """Show a value; an unknown one is added as it stands, so that nothing is changed silently."""
        index = self.findData(value)
        if index < 0:
            self.addItem(f"{value} (unknown)", value)
            index = self.count() - 1
        self.setCurrentIndex(index)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The wheel scrolls the form."""
        event.ignore()


def _spoken(folder: str, value: str) -> tuple[str, str]:
    """(label, help) of a choice."""
    if not folder:
        return value, ""
    from core import registry

    try:
        module = registry.components(folder)[value]
    except (KeyError, ModuleNotFoundError):
        return value, ""
    return str(getattr(module, "LABEL", value)), str(getattr(module, "HELP", ""))
