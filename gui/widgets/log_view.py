"""The log of a run, folded away: its messages, and the end of what its worker printed."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QVBoxLayout

from core.run_data import RunData
from gui.widgets.basics import button, label, row, set_icon

_MOST_LINES = 2000
_TAIL_BYTES = 32 << 10


class LogView(QFrame):
    """Opens with a click on its head; reads only while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.head = button("Log", "forward", "quiet", "Messages of the run and what its worker printed")
        self.head.setCheckable(True)
        self.head.toggled.connect(self._unfold)
        self.count = label("", "dim")
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setMaximumBlockCount(_MOST_LINES)
        self.text.setFixedHeight(200)
        self.text.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 12, 4)
        layout.setSpacing(4)
        layout.addLayout(row(self.head, self.count, None))
        layout.addWidget(self.text)
        self._console = Path()
        self._position = 0
        self._told = 0

    def set_run(self, console: Path) -> None:
        """Show another run's log."""
        self._console = console
        self._position = 0
        self._told = 0
        self.text.clear()
        self.count.clear()

    def refresh(self, data: RunData) -> None:
        """Add what is new; cheap while folded."""
        warnings = sum(message.level == "warning" for message in data.messages)
        words = f"{warnings:,} warning{'s' * (warnings != 1)}" if warnings else ""
        if words != self.count.text():
            self.count.setText(words)
        if not self.head.isChecked():
            return
        for message in data.messages[self._told :]:
            place = f"step {message.step:,}: " if message.step >= 0 else ""
            self.text.appendPlainText(f"[{message.level}] {place}{message.text}")
        self._told = len(data.messages)
        if printed := self._read_console().rstrip("\n"):
            self.text.appendPlainText(printed)

    def _read_console(self) -> str:
        """What the worker printed since the last look; only the end of a long file."""
        try:
            size = self._console.stat().st_size
            if size <= self._position:
                return ""
            with self._console.open("rb") as file:
                file.seek(max(self._position, size - _TAIL_BYTES))
                data = file.read(_TAIL_BYTES)
        except OSError:
            return ""
        self._position = size
        # A progress bar rewrites its line: only the last state of it is kept.
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        return "\n".join(line.rsplit("\r", 1)[-1] for line in lines)

    def _unfold(self, shown: bool) -> None:
        self.text.setVisible(shown)
        set_icon(self.head, "less" if shown else "forward")
