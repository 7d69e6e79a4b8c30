"""The aligned minima: for each run its lowest loss with its uncertainty, and what it took until there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from core.compare import Compared, leaders
from core.energy import co2_words
from core.quantities import show_number, show_seconds
from gui import theme
from gui.run_colors import swatch

#: The column of the values under the pointer.
_HERE = 2
_KEY = Qt.ItemDataRole.UserRole
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
#: Verdicts as they stand in a column.
_VERDICTS = {"turned": "turned", "settled": "level", "": ""}


@dataclass(frozen=True)
class Column:
    """A column: what it shows of a run, how it is written, and why someone looks at it."""

    title: str
    tip: str
    value: Callable[[Compared], Any]
    words: Callable[[Any, Compared], str]


def _plain(number: float, _run: Compared) -> str:
    return f"{number:,.0f}"


def _step_words(step: float, run: Compared) -> str:
    low, high = run.result.step_from, run.result.step_to
    if low is None or high is None or round(low) >= round(high):
        return f"{step:,.0f}"
    return f"{step:,.0f}  ({low:,.0f} to {high:,.0f})"


def _loss_words(loss: float, run: Compared) -> str:
    error = run.result.loss_error
    return f"{loss:.5f} ± {error:.5f}" if error else f"{loss:.5f}"


COLUMNS = (
    Column(
        "Lowest",
        "The lowest measured loss of the held-out pictures",
        lambda r: r.lowest and r.lowest[1],
        lambda v, r: f"{v:.5f}",
    ),
    Column(
        "at step",
        "Its step, with the range in which the minimum lies (95 %)",
        lambda r: r.lowest and r.lowest[0],
        _step_words,
    ),
    Column(
        "Minimum",
        "The bottom of a parabola through the points around the lowest one, with its 95 % interval: less at the "
        "mercy of noise than the lowest point. Runs are compared by it.",
        lambda r: r.result.loss,
        _loss_words,
    ),
    Column("Images", "Pictures seen until the minimum", lambda r: r.result.images, _plain),
    Column("Epochs", "Epochs until the minimum", lambda r: r.result.epochs, lambda v, r: f"{v:.2f}"),
    Column("Rate", "Full learning rate of the UNet", lambda r: r.result.rate, lambda v, r: show_number(v)),
    Column("Batch", "Effective batch: pictures per step", lambda r: r.result.batch, _plain),
    Column("Time", "Time worked until the minimum", lambda r: r.result.hours, lambda v, r: show_seconds(3600 * v)),
    Column("kWh", "Energy until the minimum", lambda r: r.result.kwh or None, lambda v, r: f"{v:.3g}"),
    Column("Money", "Its cost", lambda r: r.result.cost or None, lambda v, r: f"{v:.3g} {r.result.currency}"),
    Column("CO2", "What that energy stands for", lambda r: r.result.co2_grams, lambda v, r: co2_words(v)),
    Column("Verdict", "What the curve says", lambda r: r.result.verdict, lambda v, r: _VERDICTS.get(v, v)),
)


class _Cell(QTableWidgetItem):
    """A cell that is ordered by its value; cells without one come last."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        mine, theirs = self.data(_KEY), other.data(_KEY)
        if mine is None or theirs is None:
            return mine is not None
        return bool(mine < theirs)


class MinimaTable(QTableWidget):
    """A row for each run; columns that no run has a value for are hidden.

    Signals:
        current_changed: A run's row was gone to (its id).
    """

    current_changed = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, 3 + len(COLUMNS))
        self._runs: list[Compared] = []
        self._rows: dict[str, QTableWidgetItem] = {}
        self.setHorizontalHeaderLabels(["Run", "", "Here", *(column.title for column in COLUMNS)])
        for place, column in enumerate(COLUMNS, 3):
            self.horizontalHeaderItem(place).setToolTip(column.tip)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(30)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setAccessibleName("Minima of the runs")
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        # Fitted once after each filling: a header that follows its contents measures all rows at every cell.
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        self.horizontalHeaderItem(2).setToolTip("The value under the pointer in the plot")
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(2, 84)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.itemSelectionChanged.connect(self._selected)
        theme.signals().changed.connect(self._recolor)

    def show_runs(self, runs: Sequence[Compared]) -> None:
        """Show these runs; the order that the user has chosen stays."""
        held = self.current_id()
        self._runs = list(runs)
        best = leaders(runs)
        with QSignalBlocker(self):
            self.setSortingEnabled(False)
            self.setRowCount(len(runs))
            self._rows = {}
            for row, run in enumerate(runs):
                self._fill(row, run, best)
            self.setSortingEnabled(True)
        for place, column in enumerate(COLUMNS, 3):
            self.setColumnHidden(place, all(column.value(run) in (None, "") for run in runs))
        self.setColumnHidden(1, len(runs) < 2)
        for place in range(self.columnCount()):
            if place != _HERE:
                self.resizeColumnToContents(place)
        self.select_run(held)

    def _fill(self, row: int, run: Compared, best: list[str]) -> None:
        name = _Cell(swatch(run.notes.color), run.label)
        name.setData(_KEY, run.label.lower())
        name.setData(_KEY + 1, run.id)
        name.setToolTip(f"{run.name}\n{run.path}" + (f"\n{run.notes.note}" if run.notes.note else ""))
        self._rows[run.id] = name
        self.setItem(row, 0, name)
        self.setItem(row, 1, self._standing(run, best))
        self.setItem(row, 2, _Cell(""))
        for place, column in enumerate(COLUMNS, 3):
            value = column.value(run)
            cell = _Cell("" if value is None else column.words(value, run))
            cell.setData(_KEY, value)
            if isinstance(value, int | float):
                cell.setTextAlignment(_RIGHT)
            if column.title == "Minimum" and best == [run.id] and len(self._runs) > 1:
                font = QFont(cell.font())
                font.setBold(True)
                cell.setFont(font)
            self.setItem(row, place, cell)

    def _standing(self, run: Compared, best: list[str]) -> QTableWidgetItem:
        """ "best" only where the difference is more than noise; those that cannot be told apart are called so."""
        words, tip = "", ""
        if run.id in best:
            alone = len(best) == 1
            words = "best" if alone else "as good"
            tip = (
                "Its minimum is lower than every other by more than the noise."
                if alone
                else f"{len(best)} runs cannot be told apart: the intervals of their minima reach each other."
            )
        cell = _Cell(words)
        cell.setData(_KEY, best.index(run.id) if run.id in best else len(best))
        cell.setToolTip(tip)
        return cell

    def show_values(self, values: dict[str, float] | None, words: Callable[[float], str]) -> None:
        """Fill the column of values under the pointer; None empties it."""
        with QSignalBlocker(self):
            for key, name in self._rows.items():
                value = (values or {}).get(key, float("nan"))
                self.item(name.row(), 2).setText(words(value) if value == value else "")

    def current_id(self) -> str:
        """The id of the run whose row is selected, "" without one."""
        rows = self.selectionModel().selectedRows() if self.selectionModel() else []
        return str(self.item(rows[0].row(), 0).data(_KEY + 1)) if rows else ""

    def select_run(self, key: str) -> None:
        """Select a run's row without telling anyone; "" none."""
        with QSignalBlocker(self):
            self.clearSelection()
            if key in self._rows:
                self.selectRow(self._rows[key].row())

    def _selected(self) -> None:
        if key := self.current_id():
            self.current_changed.emit(key)

    def _recolor(self, *_: object) -> None:
        by_id = {run.id: run for run in self._runs}
        for key, item in self._rows.items():
            item.setIcon(swatch(by_id[key].notes.color))
