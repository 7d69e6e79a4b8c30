"""Lays curves over one of them by scaling x: the factors, those of the square-root rule, and what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from core.compare import METRICS, Compared, Difference
from core.compare_scale import Laid, Rule, lay_over, rules, words
from core.errors import UserError
from gui.plots.timeline import AXIS_LABELS
from gui.run_colors import swatch
from gui.widgets.background import Background
from gui.widgets.basics import button, label, row

log = logging.getLogger(__name__)

_HEADS = ("Run", "Factor", "Range that fits", "Square-root rule", "Left between the curves", "Coincide")


@dataclass(frozen=True)
class Question:
    """What is laid over each other."""

    runs: list[Compared]
    varied: list[Difference]
    metric: str
    axis: str


class ScalePanel(QWidget):
    """Signals: scaled ({run id: factor} to draw with; empty: as the curves are)."""

    scaled = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        self.reference = QComboBox()
        self.reference.setAccessibleName("Run that the others are laid over")
        self.reference.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.reference.setMinimumContentsLength(18)
        self.find = button(
            "Lay over each other", "twins", "primary", "Find the factor of x at which each curve fits best"
        )
        self.draw = QCheckBox("Draw the curves scaled")
        self.draw.setEnabled(False)
        self.words = label("", "dim", wrap=True)
        self.table = QTableWidget(0, len(_HEADS))
        self.table.setHorizontalHeaderLabels(_HEADS)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setShowGrid(False)
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.found: list[Laid] = []
        self._question = Question([], [], "validation", "step")
        self._works = Background(self)
        self._works.done.connect(self._show)
        self._works.failed.connect(self._refuse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(row(label("On", "dim"), self.reference, self.find, self.draw, None))
        layout.addWidget(self.words)
        layout.addWidget(self.table, 1)
        self.find.clicked.connect(self.lay)
        self.draw.toggled.connect(lambda _: self.scaled.emit(self.factors()))

    @property
    def busy(self) -> bool:
        """Whether factors are being looked for."""
        return self._works.busy

    def set_question(self, question: Question) -> None:
        """Other runs, another curve or axis: what was found before holds no more."""
        same = [run.id for run in question.runs] == [run.id for run in self._question.runs]
        same = same and (question.metric, question.axis) == (self._question.metric, self._question.axis)
        self._question = question
        held = self.reference.currentData()
        with QSignalBlocker(self.reference):
            self.reference.clear()
            for run in question.runs:
                self.reference.addItem(swatch(run.notes.color), run.label, run.id)
            self.reference.setCurrentIndex(max(0, self.reference.findData(held)))
        self.find.setEnabled(len(question.runs) > 1)
        if not same:
            self._forget()

    def factors(self) -> dict[str, float]:
        """{run id: factor} while the curves are to be drawn scaled, else nothing."""
        return {laid.run: laid.scale for laid in self.found} if self.draw.isChecked() else {}

    def lay(self) -> None:
        """Find the factors in another thread."""
        asked, reference = self._question, max(0, self.reference.currentIndex())
        self.words.setText("Laying the curves over each other…")
        self._works.start(_laying(asked, reference))

    def _forget(self) -> None:
        self._works.forget()
        self.found = []
        self.table.setRowCount(0)
        self.table.hide()
        self.draw.setEnabled(False)
        self.draw.setChecked(False)
        axis, curve = AXIS_LABELS[self._question.axis].lower(), METRICS[self._question.metric].label
        self.words.setText(
            f"Multiplies each run's {axis} by the factor at which its curve ({curve}) lies "
            "on the chosen one. Runs that do so learn the same, only faster or slower: a way to test rules such as "
            "rate = base · sqrt(batch)."
        )

    def _show(self, answer: tuple[list[Laid], list[Rule]]) -> None:
        self.found, told = answer
        self.words.setText(" ".join(words(self.found, told)))
        by_id = {run.id: run for run in self._question.runs}
        self.table.show()
        self.table.setRowCount(len(self.found))
        for place, laid in enumerate(self.found):
            run = by_id[laid.run]
            for column, text in enumerate(_texts(laid)):
                cell = QTableWidgetItem(text)
                if column == 0:
                    cell = QTableWidgetItem(swatch(run.notes.color), run.label)
                cell.setToolTip(laid.problem)
                self.table.setItem(place, column, cell)
        self.draw.setEnabled(True)
        self.draw.setChecked(True)
        self.scaled.emit(self.factors())

    def _refuse(self, error: Exception) -> None:
        if not isinstance(error, UserError):
            log.error("Curves could not be laid over each other", exc_info=error)
        self._forget()
        self.words.setText(str(error))


def _laying(asked: Question, reference: int) -> Callable[[], Any]:
    def lay() -> tuple[list[Laid], list[Rule]]:
        found = lay_over(asked.runs, asked.metric, asked.axis, reference)
        return found, rules(found, asked.varied)

    return lay


def _texts(laid: Laid) -> Sequence[str]:
    """The cells of a row after the name."""
    told = "not known" if laid.foretold is None else f"{laid.foretold:.3g}"
    match = laid.match
    if match is None:
        return (
            "",
            "" if laid.problem else "1",
            "",
            told if laid.problem else "",
            laid.problem or "the others lie on it",
            "",
        )
    agrees = "" if laid.foretold is None else " (coincides)" if laid.agrees else " (does not)"
    left = f"{match.difference:.2g}  (unscaled {match.unscaled:.2g}, noise {match.noise:.2g})"
    verdict = "as they are" if match.coincides_unscaled else "scaled" if match.coincides else "no"
    span = f"{match.scale_from:.3g} to {match.scale_to:.3g}"
    return ("", f"{match.scale:.3g}", span, told + agrees, left, verdict)
