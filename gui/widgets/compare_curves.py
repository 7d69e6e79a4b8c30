"""The card of the compared curves: which curve over which axis, smoothed how much, and the plot."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QSizePolicy, QSlider, QVBoxLayout

from core.compare import METRICS, Compared, axes_of, line, minimum_of, start_value
from core.run_data import AXES, Floats
from gui.plots.compare_plot import ComparePlot, RunLine
from gui.plots.smoothing import Smoother, weight_of
from gui.plots.timeline import AXIS_LABELS
from gui.widgets.basics import button, label, row
from gui.widgets.elided import Elided

#: Places of the smoothing slider, over windows of 1 to 10,000 points, and where it stands at first.
_PLACES, _DECADES, _FIRST = 80, 4.0, 40


def value_words(value: float) -> str:
    """A curve's value: losses with five digits, rates as powers."""
    return f"{value:.5f}" if 1e-3 <= abs(value) < 1e2 else f"{value:,.4g}"


class CurvesCard(QFrame):
    """show_runs() draws; what is drawn is chosen here.

    Signals:
        question_changed: Another curve or another axis was chosen.
        run_clicked: A run's curve was clicked, at this step.
    """

    question_changed = Signal()
    run_clicked = Signal(str, float)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.plot = ComparePlot()
        self._runs: dict[str, Compared] = {}
        self._factors: dict[str, float] = {}
        self._known: dict[tuple[object, ...], tuple[Floats, Floats]] = {}
        self._make_controls()
        self._lay_out()
        self._connect()
        self._say_smoothing()
        self._allow()

    def _make_controls(self) -> None:
        # Not "metric": that is what Qt asks every paint device for.
        self.which = QComboBox()
        self.which.setAccessibleName("Curve")
        for one in METRICS.values():
            self.which.addItem(one.label, one.key)
        self.axis = QComboBox()
        self.axis.setAccessibleName("Horizontal axis")
        for name in AXES:
            self.axis.addItem(AXIS_LABELS[name], name)
        for box, letters in ((self.which, 14), (self.axis, 8)):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(letters)
        self.which.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.which.setMaximumWidth(272)
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0, _PLACES)
        self.smoothing.setValue(_FIRST)
        self.smoothing.setFixedWidth(80)
        self.smoothing.setAccessibleName("Smoothing")
        self.smoothing_words = label("", "dim")
        self.log_x = button("Log x", tip="Logarithmic horizontal axis: minima of slow and fast runs side by side")
        self.log_y = button("Log y", tip="Logarithmic vertical axis")
        self.near = button(
            "Useful part", tip="Cut off what lies above the first measurement: it is worse than no training"
        )
        for toggle in (self.near, self.log_x, self.log_y):
            toggle.setCheckable(True)
        self.near.setChecked(True)
        self.whole = button("All", "reset", tip="Show the whole of all runs (double click in the plot)")
        self.words = Elided("", "dim")

    def _lay_out(self) -> None:
        head = row(self.which, label("over", "dim"), self.axis, 0, self.smoothing, self.smoothing_words)
        head.insertStretch(3, 1)
        head.setStretch(0, 100)
        for widget in (self.near, self.log_x, self.log_y, self.whole):
            head.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 6)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.words)
        self.setMinimumHeight(220)

    def _connect(self) -> None:
        self.which.currentIndexChanged.connect(lambda _: self._ask())
        self.axis.currentIndexChanged.connect(lambda _: self._ask())
        self.smoothing.valueChanged.connect(lambda _: self._smooth_anew())
        self.log_x.toggled.connect(lambda on: self.plot.set_log(x=on))
        self.log_y.toggled.connect(lambda on: self.plot.set_log(y=on))
        self.near.toggled.connect(lambda _: self._ask_whole())
        self.whole.clicked.connect(self.plot.reset)
        self.plot.clicked.connect(self._click)

    @property
    def question(self) -> tuple[str, str]:
        """(metric, axis) that are chosen."""
        return str(self.which.currentData()), str(self.axis.currentData())

    @property
    def title(self) -> str:
        """What the plot shows, for a picture of it."""
        return self.which.currentText()

    @property
    def axis_title(self) -> str:
        """What it is drawn over."""
        scaled = any(factor != 1 for factor in self._factors.values())
        return self.axis.currentText() + (", scaled" if scaled else "")

    def show_runs(self, runs: Sequence[Compared]) -> None:
        """Draw these runs."""
        self._runs = {run.id: run for run in runs}
        self._known = {key: found for key, found in self._known.items() if key[0] in self._runs}
        self._offer()
        self._draw()

    def set_factors(self, factors: dict[str, float]) -> None:
        """Multiply the x of runs by these factors; empty: draw them as they are."""
        if factors != self._factors:
            self._factors = factors
            self._ask_whole()

    def _offer(self) -> None:
        """Only curves and axes that some run has can be chosen; one that none has any more gives way."""
        runs = self._runs.values()
        axes = {axis for run in runs for axis in axes_of(run.data)}
        metrics = {key for key in METRICS if any(len(line(run.data, key)[0]) for run in runs)}
        for box, known in ((self.axis, axes), (self.which, metrics)):
            with QSignalBlocker(box):
                for place in range(box.count()):
                    box.model().item(place).setEnabled(not known or box.itemData(place) in known)  # type: ignore[attr-defined]
                if known and box.currentData() not in known:
                    box.setCurrentIndex(next(i for i in range(box.count()) if box.itemData(i) in known))
        self._allow()

    def _allow(self) -> None:
        noisy = METRICS[self.question[0]].noisy
        self.smoothing.setVisible(noisy)
        self.smoothing_words.setVisible(noisy)
        self.near.setVisible(METRICS[self.question[0]].is_loss and not noisy)

    def _ask_whole(self) -> None:
        self.plot.reset()
        self._draw()

    def _ask(self) -> None:
        self._allow()
        self._ask_whole()
        self.question_changed.emit()

    def _smooth_anew(self) -> None:
        self._say_smoothing()
        self._draw()

    def _say_smoothing(self) -> None:
        window = self._window()
        self.smoothing_words.setText(f"over {window:,} points" if window > 1 else "not smoothed")
        self.smoothing_words.setFixedWidth(112)

    def _window(self) -> int:
        return round(10 ** (_DECADES * self.smoothing.value() / _PLACES))

    def _draw(self) -> None:
        metric, axis = self.question
        noisy = METRICS[metric].noisy
        window = self._window() if noisy else 1
        lines, left_out = [], []
        for run in self._runs.values():
            x, y = self._points(run, metric, axis, window)
            if not len(x):
                left_out.append(run.label)
                continue
            factor = self._factors.get(run.id, 1.0)
            low = minimum_of(run.data, metric, axis)
            mark = (low[0] * factor, low[1]) if low is not None else None
            lines.append(RunLine(run.id, run.label, run.notes.color, x * factor if factor != 1 else x, y, mark))
        starts = [start for run in self._runs.values() if (start := start_value(run.data, metric)) is not None]
        self.plot.ceiling = max(starts) if starts and self.near.isChecked() else None
        self.plot.set_lines(lines, noisy=noisy and window < 5)
        self.words.say(_left_out(left_out) if self._runs else "")
        self.words.setVisible(bool(left_out))

    def _points(self, run: Compared, metric: str, axis: str, window: int) -> tuple[Floats, Floats]:
        """A run's curve in the axis' unit, smoothed; what was computed before is kept while the run has not grown."""
        steps, values = line(run.data, metric)
        if not len(steps) or axis not in axes_of(run.data):
            return np.empty(0), np.empty(0)
        key = (run.id, metric, axis, window, len(steps), float(steps[-1]))
        if key not in self._known:
            self._known = {one: found for one, found in self._known.items() if one[0] != run.id}
            if window > 1:
                smoother = Smoother(weight_of(window))
                smoother.extend(values)
                values = smoother.values
            self._known[key] = run.data.x_of(steps, axis), values
        return self._known[key]

    def _click(self, key: str, x: float) -> None:
        run = self._runs.get(key)
        if run is None:
            return
        x /= self._factors.get(key, 1.0)
        last = float(run.data.last_step)
        steps = np.linspace(0.0, last, 4097)
        step = float(np.interp(x, run.data.x_of(steps, self.question[1]), steps))
        self.run_clicked.emit(key, min(max(math.floor(step + 0.5), 0.0), last))


def _left_out(names: Sequence[str]) -> str:
    """Which runs are not drawn."""
    if not names:
        return ""
    some = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"Not drawn, for they have no such readings: {some}"
