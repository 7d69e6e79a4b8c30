"""What the stable losses say so far, in words: where the minimum is, whether it turned, what to look at."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.run_data import RunData
from gui.widgets.basics import card, label

#: The curve that the verdict is read from.
_TAG = "stable/validation"


class VerdictCard(QWidget):
    """The verdict on a run; judged anew when a measurement or a checkpoint came."""

    def __init__(self) -> None:
        super().__init__()
        self.head = label("", wrap=True)
        self.rest = label("", "dim", wrap=True)
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._data = RunData()
        self._sentences: list[str] = []
        # Turns of their own: judging, and the page's new layout, would together hold up the window.
        self._turn = QTimer(self, singleShot=True, interval=30)
        self._turn.timeout.connect(self._judge)
        self._words = QTimer(self, singleShot=True, interval=30)
        self._words.timeout.connect(self._say)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(card(label("Verdict", "heading"), self.head, self.rest))
        self.hide()

    def refresh(self, data: RunData) -> None:
        """Say what is known now; nothing where the held-out pictures are not measured."""
        points = len(data.curve(_TAG))
        seen = (id(data), points, len(data.checkpoints))
        if seen == self._seen:
            return
        self._seen = seen
        self._data = data
        if points:
            self._turn.start()
        else:
            self._turn.stop()
            self._words.stop()
            self.hide()

    def _judge(self) -> None:
        """Find the verdict."""
        from core.advisor import judge_run

        self._sentences = judge_run(self._data, [saved.step for saved in self._data.checkpoints]).sentences()
        self._words.start()

    def _say(self) -> None:
        """Put it on the page."""
        first, *others = self._sentences
        self.head.setText(first)
        self.rest.setText("\n".join(others))
        self.rest.setVisible(bool(others))
        self.show()
