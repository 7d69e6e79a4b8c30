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
        # A turn of its own: together with the plots it would hold up the window.
        self._turn = QTimer(self, singleShot=True, interval=30)
        self._turn.timeout.connect(self.judge)
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
        self.setVisible(points > 0)
        self._data = data
        if points:
            self._turn.start()

    def judge(self) -> None:
        """Put the verdict into words."""
        from core.advisor import judge_run

        data = self._data
        first, *others = judge_run(data, [saved.step for saved in data.checkpoints]).sentences()
        self.head.setText(first)
        self.rest.setText("\n".join(others))
        self.rest.setVisible(bool(others))
