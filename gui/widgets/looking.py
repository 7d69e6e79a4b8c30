"""What is shown while pictures are looked at: a card where there is nothing else yet, a slim line above the grid."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from gui.widgets.basics import button, card, column, label, row


class Looking(QWidget):
    """Title, how far it is, Stop.

    Signals:
        stopped: Stop was clicked.
    """

    stopped = Signal()

    def __init__(self, slim: bool) -> None:
        super().__init__()
        self._words, self._bar = label("", "dim"), QProgressBar()
        self._title = label("Looking at the pictures", "" if slim else "heading")
        stop = button("Stop", "stop", "quiet" if slim else "")
        stop.clicked.connect(self.stopped)
        if slim:
            layout = QHBoxLayout(self)
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(12)
            for widget, stretch in ((self._title, 0), (self._bar, 1), (self._words, 0), (stop, 0)):
                layout.addWidget(widget, stretch)
            return
        made = card(self._title, self._words, self._bar, row(None, stop), margins=24)
        made.setFixedWidth(440)
        ground = QVBoxLayout(self)
        ground.setContentsMargins(0, 0, 0, 0)
        ground.addLayout(column(None, row(None, made, None), None))

    def begin(self, title: str, words: str = "") -> None:
        """Nothing is known yet of how far it is."""
        self._title.setText(title)
        self._words.setText(words)
        self._bar.setRange(0, 0)

    def tell(self, done: int, total: int) -> None:
        """How far it is."""
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(done)
        self._words.setText(f"{done:,} of {total:,}")
