"""The bar under a page's title that says what happened; dismissed with a click, never a dialog."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from gui.widgets.basics import IconLabel, label, row, set_property, tool

_TOKENS = {"error": "bad", "warning": "warn", "info": "accent"}


class NoteBar(QWidget):
    """Shows one note at a time; infos leave by themselves, warnings and errors stay until dismissed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame = QFrame()
        self._frame.setObjectName("note")
        self._icon = IconLabel("info", "accent")
        self._text = label(wrap=True)
        self._close = tool("close", "Dismiss this message", size=14)
        self._close.clicked.connect(self.hide)
        self._leave = QTimer(self)
        self._leave.setSingleShot(True)
        self._leave.setInterval(8000)
        self._leave.timeout.connect(self.hide)
        inner = row(self._icon, self._text, self._close, spacing=10)
        inner.setStretch(1, 1)
        inner.setContentsMargins(12, 6, 6, 6)
        self._frame.setLayout(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 0, 24, 8)
        layout.addWidget(self._frame)
        self.hide()

    @property
    def level(self) -> str:
        """ "info", "warning" or "error"."""
        return str(self._frame.property("level") or "")

    @property
    def text(self) -> str:
        """The words that are shown now."""
        return self._text.text()

    def show_note(self, text: str, level: str = "info") -> None:
        """Show a note of level "info", "warning" or "error"; it replaces the one before."""
        level = level if level in _TOKENS else "info"
        self._icon.set(level, _TOKENS[level])
        self._text.setText(text)
        set_property(self._frame, "level", level)
        self.show()
        if level == "info":
            self._leave.start()
        else:
            self._leave.stop()
