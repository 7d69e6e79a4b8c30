"""The text of one caption file, edited in place: saved by itself, with its tokens and what the model will not read."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QColor, QFocusEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QVBoxLayout, QWidget

from core.data.caption_view import Counted
from core.errors import UserError
from gui import theme
from gui.widgets.basics import label, row, set_property

#: Milliseconds after the last keystroke until the text is saved, and until its tokens are counted.
_SAVE, _COUNT = 1200, 250


class CaptionField(QWidget):
    """Writes by the function that it is given, so that the page decides how a change can be undone.

    Signals:
        written: The file was written (or removed, when the text is empty).
        failed: A sentence for the user.
        uncounted: The text changed, and its tokens should be counted.
    """

    written = Signal()
    failed = Signal(str)
    uncounted = Signal()

    def __init__(self, title: str, hint: str) -> None:
        super().__init__()
        self._write: Callable[[str], None] | None = None
        self._saved = ""
        self._limit = 75
        self._counted = Counted(0)
        self.edit = _Area()
        self.edit.setPlaceholderText(hint)
        self.edit.setAccessibleName(title)
        self.edit.left.connect(self.save)
        self.tokens = label("", "dim")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row(label(title, "dim"), None, self.tokens))
        layout.addWidget(self.edit)
        self._save_later, self._count_later = self._timer(_SAVE, self.save), self._timer(_COUNT, self.uncounted.emit)
        self.edit.textChanged.connect(self._typed)
        theme.signals().changed.connect(self._recolour)

    def _timer(self, pause: int, action: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(pause)
        timer.timeout.connect(action)
        return timer

    @property
    def text(self) -> str:
        """What stands in the field."""
        return self.edit.toPlainText()

    def show_text(self, text: str, write: Callable[[str], None] | None) -> None:
        """Show another file's text; the one before is saved first. Without `write` it cannot be changed."""
        self.save()
        self._write = write
        self._saved = text
        self.edit.blockSignals(True)
        self.edit.setPlainText(text)
        self.edit.blockSignals(False)
        self.edit.setReadOnly(write is None)
        self._counted = Counted(0)
        self.tokens.setText("")
        self._mark()

    def set_text(self, text: str) -> None:
        """Type a text, as the user would."""
        self.edit.setPlainText(text)

    def _typed(self) -> None:
        self._save_later.start()
        self._count_later.start()

    def save(self) -> None:
        """Write the file if the text changed."""
        self._save_later.stop()
        text = self.text.strip()
        if self._write is None or text == self._saved.strip():
            return
        try:
            self._write(text)
        except UserError as error:
            self.failed.emit(str(error))
            return
        self._saved = text
        self.written.emit()

    # -- tokens -----------------------------------------------------------------------------------------------

    def show_count(self, counted: Counted, limit: int) -> None:
        """Say how many tokens the text has, and mark what is cut off behind the `limit`."""
        self._counted, self._limit = counted, limit
        over = counted.tokens > limit
        words = f"{counted.tokens:,} token{'s' if counted.tokens != 1 else ''}"
        self.tokens.setText(f"{words}, {limit} are read" if over else words if counted.tokens else "")
        self.tokens.setToolTip(
            "The part with the ground is cut off. Data > Longest caption reads more." if over else ""
        )
        set_property(self.tokens, "role", "warning" if over else "dim")
        self._mark()

    def _recolour(self, *_: object) -> None:
        self._mark()

    def _mark(self) -> None:
        look = QTextCharFormat()
        look.setBackground(QColor(theme.current().selection))
        look.setForeground(QColor(theme.current().dim))
        marks = []
        for start, stop in self._counted.unread:
            cursor = QTextCursor(self.edit.document())
            cursor.setPosition(min(start, len(self.text)))
            cursor.setPosition(min(stop, len(self.text)), QTextCursor.MoveMode.KeepAnchor)
            mark = QTextEdit.ExtraSelection()
            mark.cursor, mark.format = cursor, look
            marks.append(mark)
        self.edit.setExtraSelections(marks)


class _Area(QPlainTextEdit):
    """Tells when it is left.

    Signals:
        left: The keyboard has gone elsewhere.
    """

    left = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.setFixedHeight(84)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Tell it."""
        super().focusOutEvent(event)
        self.left.emit()
