"""One axis of a grid: what changes along it, its values as typed, and what they mean as chips."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QSizePolicy, QVBoxLayout, QWidget

from core.schema import Entry
from gui import theme
from gui.forms import editors
from gui.settings_model import SettingsModel
from gui.widgets.basics import label, row

_MOST_CHIPS = 18
_HEIGHT, _GAP, _PAD = 22, 6, 9


class Chips(QWidget):
    """Short texts as chips in as many lines as they need."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        """Another theme, or a picture that has come. No lambda: it would keep the widget alive for ever."""
        self.update()

    @property
    def texts(self) -> list[str]:
        """What the chips say."""
        return self._texts

    def set_texts(self, texts: Sequence[str]) -> None:
        """Show these; many are cut to their beginning and a count."""
        shown = list(texts[:_MOST_CHIPS])
        if len(texts) > _MOST_CHIPS:
            shown.append(f"and {len(texts) - _MOST_CHIPS:,} more")
        if shown != self._texts:
            self._texts = shown
            self.setFixedHeight(self.heightForWidth(self.width()))
            self.update()

    def _font(self) -> QFont:
        font = QFont(QApplication.font())
        font.setPointSizeF(max(7.5, font.pointSizeF() - 1))
        return font

    def _places(self, width: int) -> list[tuple[QRectF, str]]:
        metrics = QFontMetricsF(self._font())
        places, left, top = [], 0.0, 0.0
        for text in self._texts:
            text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(20, width - 2 * _PAD))
            wide = metrics.horizontalAdvance(text) + 2 * _PAD
            if left and left + wide > width:
                left, top = 0.0, top + _HEIGHT + _GAP
            places.append((QRectF(left, top, wide, _HEIGHT), text))
            left += wide + _GAP
        return places

    def heightForWidth(self, width: int) -> int:
        """As many lines as the chips need."""
        places = self._places(width)
        return round(places[-1][0].bottom()) if places else 0

    def sizeHint(self) -> QSize:
        """The height for the present width."""
        return QSize(200, self.heightForWidth(max(self.width(), 200)))

    def resizeEvent(self, event: object) -> None:
        """Another width may need other lines."""
        height = self.heightForWidth(self.width())
        if height != self.height():
            self.setFixedHeight(height)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the chips."""
        tokens = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._font())
        for place, text in self._places(self.width()):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.raised))
            painter.drawRoundedRect(place, _HEIGHT / 2, _HEIGHT / 2)
            painter.setPen(QColor(tokens.text))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)
        painter.end()


class AxisEditor(QWidget):
    """Edits the page of one axis of the grid's settings; show_values() and show_problem() answer."""

    def __init__(self, settings: SettingsModel, page: str) -> None:
        super().__init__()
        self.page = page
        self._settings = settings
        self._kind, self._values = (entry for entry in settings.entries.values() if entry.page == page)
        self.kind, self.values = editors.make(self._kind), editors.make(self._values)
        self.chips = Chips()
        self.problem = label("", "error", wrap=True)
        name = label(page.upper(), "badge")
        name.setAlignment(Qt.AlignmentFlag.AlignCenter)
        name.setFixedWidth(28)
        name.setToolTip(self._kind.option.help)
        self.kind.field().setMinimumWidth(120)
        self.values.field().setToolTip(self._values.option.help)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        head = row(name, self.kind)
        head.setStretch(1, 1)
        layout.addLayout(head)
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(36, 0, 0, 0)
        body.setSpacing(6)
        for widget in (self.values, self.chips, self.problem):
            body.addWidget(widget)
        layout.addWidget(self._body)
        for editor, entry in ((self.kind, self._kind), (self.values, self._values)):
            editor.edited.connect(lambda value, key=entry.key: settings.set(key, value))
            editor.left.connect(settings.end_edit)
        settings.value_changed.connect(self._value_changed)
        settings.preset_changed.connect(self.refresh)
        self.refresh()

    def keys(self) -> tuple[str, str]:
        """Keys of the two options: what changes, and its values."""
        return self._kind.key, self._values.key

    def _value_changed(self, key: str) -> None:
        if key in self.keys():
            self.refresh()

    def refresh(self) -> None:
        """Show the present values."""
        self.kind.show_value(self._settings.value(self._kind.key))
        self.values.show_value(self._settings.value(self._values.key))
        self._body.setVisible(self._settings.value(self._kind.key) != self.unused())

    def unused(self) -> str:
        """The kind that means that nothing changes along this axis: the first of the menu."""
        return _first_choice(self._kind)

    def show_values(self, texts: Sequence[str]) -> None:
        """Show what the values mean."""
        self.problem.hide()
        self.chips.set_texts([text for text in texts if text])
        self.chips.show()

    def show_problem(self, text: str) -> None:
        """Say why the values cannot be read."""
        self.chips.hide()
        self.problem.setText(text)
        self.problem.show()


def _first_choice(entry: Entry) -> str:
    return str(entry.choices[0])
