"""What the stable losses say so far, in words: the minimum, whether it turned, which checkpoints to look at."""

from __future__ import annotations

import math

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from core.run_data import Curve, RunData
from gui.widgets.basics import button, card, label, row
from gui.widgets.elided import Elided

#: The curves that the verdict is read from: without the first there is none, and that is said where the second is.
_TAGS = ("stable/validation", "stable/train")


def measuring_words(data: RunData) -> str:
    """What measuring the stable losses takes of the run's time; "" while that is not known."""
    share = data.measuring_share
    return "" if math.isnan(share) or not share else f"measuring takes {100 * share:.2g} % of the time"


class VerdictCard(QWidget):
    """The verdict on a run; judged anew when a measurement or a checkpoint came.

    Signals:
        step_asked: The user wants to see what there is at the step of a checkpoint that the verdict names.
    """

    step_asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.head = label("", wrap=True)
        self.rest = label("", "dim", wrap=True)
        self.measuring = Elided("", "dim")
        self.links: list[QPushButton] = []
        self._seen: tuple[int, ...] = ()
        self._data = RunData()
        self._sentences: list[str] = []
        self._look_at: tuple[int, ...] = ()
        # Turns of their own: judging, and the page's new layout, would together hold up the window.
        self._turn = QTimer(self, singleShot=True, interval=30)
        self._turn.timeout.connect(self._judge)
        self._words = QTimer(self, singleShot=True, interval=30)
        self._words.timeout.connect(self._say)
        self._link_row = row(spacing=8)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        head = row(label("Verdict", "heading"), None, self.measuring)
        layout.addWidget(card(head, self.head, self.rest, self._link_row))
        self.hide()

    def refresh(self, data: RunData) -> None:
        """Say what is known now; nothing where no stable loss is measured."""
        points = [len(data.curves.get(tag, Curve())) for tag in _TAGS]
        seen = (id(data), *points, len(data.checkpoints))
        if seen == self._seen:
            return
        self._seen = seen
        self._data = data
        self.measuring.say(measuring_words(data))
        if any(points):
            self._turn.start()
        else:
            self._turn.stop()
            self._words.stop()
            self.hide()

    def _judge(self) -> None:
        """Find the verdict."""
        from core.advisor import judge_run

        verdict = judge_run(self._data, [saved.step for saved in self._data.checkpoints])
        self._sentences, self._look_at = verdict.sentences(), verdict.look_at
        self._words.start()

    def _say(self) -> None:
        """Put it on the page."""
        first, *others = self._sentences
        self.head.setText(first)
        self.rest.setText("\n".join(others))
        self.rest.setVisible(bool(others))
        self._offer()
        self.show()

    def _offer(self) -> None:
        """A button for each checkpoint that the verdict names."""
        while item := self._link_row.takeAt(0):
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        self.links = []
        for step in self._look_at:
            link = button(f"Checkpoint {step:,}", "picture", tip="Show the samples nearest to this checkpoint")
            link.clicked.connect(lambda _=False, step=step: self.step_asked.emit(step))
            self.links.append(link)
            self._link_row.addWidget(link)
        self._link_row.addStretch(1)
