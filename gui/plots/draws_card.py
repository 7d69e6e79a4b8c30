"""The two views of the loss card over the timestep, with their words: the draws' losses, and how often each came."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.quantities import show_share
from core.run_data import Curve, RunData
from core.timestep_views import Draws
from gui.plots.draws_source import DrawsSource
from gui.plots.legend import AgeBar
from gui.plots.loss_views import bucket_count, mix
from gui.plots.timestep_plot import AGES, DrawsPlot, HistogramPlot, Means, TimestepPlot
from gui.widgets.basics import row
from gui.widgets.elided import Elided

_NO_DRAWS = (
    "This run did not keep which timestep each picture got and what it lost there. New runs do, unless “Keep timesteps "
    "and losses” is off (Training page, Validation)."
)
_NOT_TOLD = (
    "The files of the other trainer do not say which timesteps were drawn. Where they hold a curve “timestep” beside "
    "the loss, this view shows them."
)
_NONE_YET = "The first draws appear here with the first steps."
_READING = "Reading the draws…"


class TimestepPanel(QWidget):
    """One line of words over a plot over the timestep."""

    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    tip: ClassVar[str] = ""

    def __init__(self, plot: TimestepPlot, *before: QWidget) -> None:
        super().__init__()
        self.plot = plot
        self.draws: Draws | None = None
        self.words, self.here = Elided("", "dim"), Elided("", "value")
        line = row(*before, self.words, None, self.here, spacing=12)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(line)
        layout.addWidget(plot, 1)
        for one in (self.words, self.here, *before):
            one.setFixedHeight(24)
        plot.pointed.connect(self._pointed)

    def _pointed(self, timestep: float) -> None:
        self.here.say(self.plot.words(timestep))

    def empty(self, data: RunData, source: DrawsSource) -> str:
        """Why there is nothing to see; "" where there is something."""
        if source.draws is not None and source.draws.count:
            return ""
        if source.busy:
            return _READING
        if data.started is None and data.last_step:
            return _NOT_TOLD
        return _NO_DRAWS if data.ended is not None or data.last_step else _NONE_YET

    def show_draws(self, draws: Draws | None) -> None:
        """Others are to be drawn, when the view is in front."""
        self.draws = draws

    def refresh(self, data: RunData) -> None:
        """Take in what else the run has got."""


class DrawsPanel(TimestepPanel):
    """Loss over the timestep."""

    name = "draws"
    label = "Over the timestep"
    tip = "What a picture loses at each timestep: this, not the model, is what makes the training loss jump"

    def __init__(self) -> None:
        self.ages = AgeBar(lambda tokens, share: mix(tokens, AGES, share))
        self._drawn: tuple[Draws, int, int] | None = None
        self._dots = DrawsPlot()
        super().__init__(self._dots, self.ages)

    def refresh(self, data: RunData) -> None:
        """Draw when there are other draws or another measurement."""
        draws = self.draws
        if draws is None or not draws.count:
            return
        steps = data.curves.get("stable/train", Curve()).steps
        if self._drawn is not None and self._drawn[0] is draws and self._drawn[1:] == (id(data), len(steps)):
            return
        self._drawn = draws, id(data), len(steps)
        last = float(draws.steps[-1])
        means = stable_means(data, float(draws.steps[0]), last)
        self._dots.show_draws(draws, means)
        self.ages.set_ends(float(draws.steps[0]), last)
        self.words.say(_draws_words(draws, bool(means)))


def _draws_words(draws: Draws, marked: bool) -> str:
    """What the line and the marks are."""
    parts = []
    if draws.fit is not None:
        parts.append(f"line: expected loss, explains {show_share(max(0.0, draws.fit.r2_log))} of the jumps")
    if marked:
        parts.append("diamonds: stable loss at the start and now")
    return "  ·  ".join(parts)


def stable_means(data: RunData, first: float, last: float) -> list[Means]:
    """The stable losses of the training pictures' buckets, first and latest, aged between two steps."""
    count = bucket_count(data, "train")
    curves = [data.curve(f"stable/train/{number}") for number in range(count)]
    points = min((len(curve) for curve in curves), default=0)
    found = []
    for place in sorted({0, points - 1} if points else set()):
        age = (float(curves[0].steps[place]) - first) / max(1.0, last - first)
        losses = np.array([curve.values[place] for curve in curves])
        found.append(Means(min(1.0, max(0.0, age)), losses))
    return found


class HistogramPanel(TimestepPanel):
    """Histogram of the drawn timesteps."""

    name = "histogram"
    label = "Drawn timesteps"
    tip = "How often each timestep was trained on: whether the chosen density of timesteps does what you meant"

    def __init__(self) -> None:
        self.density: tuple[int, int] | None = None
        self._drawn: Draws | None = None
        self._bars = HistogramPlot()
        super().__init__(self._bars)

    def refresh(self, data: RunData) -> None:
        """Draw when there are other draws."""
        draws = self.draws
        if draws is None or not draws.count or (draws is self._drawn and self.density == self._bars.expected):
            return
        self._drawn = draws
        self._bars.show_bins(draws.bins, self.density)
        words = f"{draws.count:,} uses of pictures, by timestep (0: hardly any noise, 999: noise alone)"
        self.words.say(words + ("  ·  dashed: every timestep alike" if self.density else ""))
