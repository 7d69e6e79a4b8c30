"""The loss card: one run's losses in five views, over the run and over the timestep, with legend and controls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QComboBox, QFrame, QSizePolicy, QSlider, QStackedLayout, QVBoxLayout, QWidget

from core.run_data import AXES, RunData
from gui.plots.curve_plot import CurvePlot
from gui.plots.draws_card import DrawsPanel, HistogramPanel
from gui.plots.draws_source import DrawsSource
from gui.plots.legend import LegendEntry, LegendRow
from gui.plots.loss_views import CURVE_VIEWS, CurveView
from gui.plots.timeline import AXIS_LABELS, Timeline
from gui.widgets.basics import button, label, row, tool
from gui.widgets.elided import Elided
from gui.widgets.segments import Segments

#: The smoothing slider has so many places for windows of 1 to 10,000 steps.
_PLACES, _DECADES = 80, 4.0
#: The views over the timestep, which have plots of their own.
_PANELS = (DrawsPanel, HistogramPanel)
#: While a long curve is smoothed piece by piece it is drawn again once in so many pieces: that takes longer.
_PIECES_A_DRAWING = 10


def window_of(place: int) -> float:
    """Steps over which a place of the slider averages."""
    return float(10 ** (_DECADES * place / _PLACES))


class LossCard(QFrame):
    """Plots with their legend and controls; refresh() takes in what the run's data has got."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.timeline = timeline
        self.plot = CurvePlot(timeline)
        self.source = DrawsSource(self)
        self.curve_views: dict[str, CurveView] = {made.name: made for made in (view() for view in CURVE_VIEWS)}
        self.panels: dict[str, DrawsPanel | HistogramPanel] = {}
        self._data = RunData()
        self._chosen_smoothing = False
        self._told: set[str] = set()
        self._pieces = 0
        self._density: tuple[int, int] | None = None
        self._smooth_more = QTimer(self, singleShot=True, interval=1)
        self._smooth_more.timeout.connect(self._smooth_on)
        self._make_controls()
        self._lay_out()
        self._connect()
        self._switch()

    def _make_controls(self) -> None:
        views: list[Any] = [*self.curve_views.values(), *_PANELS]
        self.views = Segments([(view.name, view.label, view.tip) for view in views])
        self.axis = QComboBox()
        for name in AXES:
            self.axis.addItem(AXIS_LABELS[name], name)
        self.axis.setToolTip("What the curves are drawn over")
        self.axis.setAccessibleName("Horizontal axis")
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0, _PLACES)
        self.smoothing.setFixedWidth(96)
        self.smoothing.setAccessibleName("Smoothing")
        self.smoothing_words = Elided("", "dim")
        self.log = button("Log", tip="Logarithmic vertical axis")
        self.log.setCheckable(True)
        self.follow = tool("forward", "Show the whole run and follow it (double click in the plot)")
        self.follow.hide()

    def _lay_out(self) -> None:
        head = row(self.views, None, self.follow, self.smoothing, self.smoothing_words, self.log, self.axis)
        self.legend_row = LegendRow()
        curves = QWidget()
        below = QVBoxLayout(curves)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(4)
        below.addWidget(self.legend_row)
        below.addWidget(self.plot, 1)
        self.plot.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.empty = label("", "dim", wrap=True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedLayout()
        for page in (curves, self.empty):
            self._stack.addWidget(page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 10, 12, 6)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addLayout(self._stack, 1)
        self.setMinimumHeight(288)

    def _connect(self) -> None:
        self.axis.currentIndexChanged.connect(lambda _: self.timeline.set_axis(self.axis.currentData()))
        self.smoothing.valueChanged.connect(self._smooth_anew)
        self.smoothing.actionTriggered.connect(self._choose_smoothing)
        self.smoothing.sliderMoved.connect(self._choose_smoothing)
        self.log.toggled.connect(lambda _: self._bend())
        self.views.chosen.connect(lambda _: self._switch())
        self.legend_row.toggled.connect(self._toggled)
        self.follow.clicked.connect(self.timeline.reset)
        self.timeline.changed.connect(self._offer_follow)
        self.plot.values_changed.connect(self._read_out)
        self.source.changed.connect(self._draws_changed)
        self.smoothing.setValue(round(_PLACES * 2 / _DECADES))

    # -- the run ----------------------------------------------------------------------------------------------

    def set_data(self, data: RunData, path: Path | None = None, density: tuple[int, int] | None = None) -> None:
        """Draw another run from the next refresh on.

        `path` is its folder, where its draws are; `density` the first and last timestep, where all between are drawn
        alike.
        """
        self._data = data
        self._chosen_smoothing = False
        self._told = set()
        self.curve_views = {made.name: made for made in (view() for view in CURVE_VIEWS)}
        for key in self.plot.hidden():
            self.plot.set_visible(key, True)
        self._density = density
        for panel in self.panels.values():
            self._tell(panel)
        self.source.set_run(path, data)
        self.views.choose(CURVE_VIEWS[0].name)
        self._show_series()

    def refresh(self) -> None:
        """Draw what is known now."""
        self._offer_axes()
        self._fit_smoothing()
        self.source.refresh()
        view = self._view()
        if view is None:
            panel = self.panel(self.views.current)
            panel.refresh(self._data)
            self._show(panel, panel.empty(self._data, self.source))
            return
        series = view.series(self._data, self.source.draws)
        if {one.key for one in series} != set(self.legend):
            self._show_series()
        self._feed()
        self._show(self._stack.widget(0), view.empty(self._data))
        self.legend_row.say(view.remark(self._data))

    @property
    def legend(self) -> dict[str, LegendEntry]:
        """Entries of the curves that are drawn over the run."""
        return self.legend_row.entries

    def _view(self) -> CurveView | None:
        """The view that is shown, where it is one over the run."""
        return self.curve_views.get(self.views.current)

    def _show(self, page: QWidget, why_empty: str) -> None:
        """The plot, or the sentence that says why there is none."""
        self.empty.setText(why_empty)
        self._stack.setCurrentWidget(self.empty if why_empty else page)

    def _draws_changed(self) -> None:
        for panel in self.panels.values():
            self._tell(panel)
        self.refresh()

    def panel(self, name: str) -> DrawsPanel | HistogramPanel:
        """A view over the timestep, made when it is first asked for."""
        if name not in self.panels:
            made = self.panels[name] = next(kind for kind in _PANELS if kind.name == name)()
            self._tell(made)
            self._stack.addWidget(made)
        return self.panels[name]

    def _tell(self, panel: DrawsPanel | HistogramPanel) -> None:
        """What a view over the timestep draws."""
        panel.show_draws(self.source.draws)
        if isinstance(panel, HistogramPanel):
            panel.density = self._density

    # -- the views --------------------------------------------------------------------------------------------

    def _switch(self) -> None:
        """Another view: its controls, curves and words."""
        view = self._view()
        over_run = view is not None
        self.axis.setVisible(over_run)
        self.log.setVisible(view is not None and view.can_log)
        for widget in (self.smoothing, self.smoothing_words):
            widget.setVisible(view is not None and view.smooths)
        self._offer_follow()
        if view is not None:
            self.plot.set_zero(view.zero)
            self._show_series()
        self._bend()
        self.refresh()

    def _show_series(self) -> None:
        view = self._view()
        if view is None:
            return
        draws = self.source.draws
        for key in view.hidden(self._data, draws) - self._told:
            self.plot.set_visible(key, False)
        series = view.series(self._data, draws)
        self.legend_row.show_series(series[::-1] if view.top_first else series, view.words, view.widest)
        for key, entry in self.legend.items():
            entry.blockSignals(True)
            entry.setChecked(not self.plot.is_hidden(key))
            entry.blockSignals(False)
            entry.updateGeometry()
        self.legend_row.fit()
        self.plot.set_series(series)

    def _toggled(self, key: str, shown: bool) -> None:
        """The user decides about a curve; from now on nobody else does."""
        self._told.add(key)
        self.plot.set_visible(key, shown)

    def _feed(self) -> None:
        view = self._view()
        if view is None:
            return
        if not view.feed(self.plot, self._data, self.source.draws, window_of(self.smoothing.value())):
            self._smooth_more.start()
        self.plot.refresh_soon()

    def _bend(self) -> None:
        view = self._view()
        self.plot.set_log(view is not None and view.can_log and self.log.isChecked())

    def _offer_follow(self) -> None:
        self.follow.setVisible(self._view() is not None and not self.timeline.following)

    def _offer_axes(self) -> None:
        """Only units that the run has readings for can be chosen."""
        known = self.timeline.available()
        model = self.axis.model()
        for place, name in enumerate(AXES):
            item = model.item(place)  # type: ignore[attr-defined]
            if item.isEnabled() != (name in known):
                item.setEnabled(name in known)

    # -- smoothing --------------------------------------------------------------------------------------------

    def _smooth_on(self) -> None:
        """Smooth the next piece of a long curve; seldom draw it, for that takes longer than the smoothing."""
        view = self._view()
        if view is None:
            return
        self._pieces += 1
        if view.feed(self.plot, self._data, self.source.draws, window_of(self.smoothing.value())):
            self._pieces = 0
        else:
            self._smooth_more.start()
        if self._pieces % _PIECES_A_DRAWING == 0:
            self.plot.refresh_soon()

    def _choose_smoothing(self, *_: object) -> None:
        self._chosen_smoothing = True

    def _fit_smoothing(self) -> None:
        """Until the user chooses, average over a twenty-fifth of the planned run, at most over 100 steps."""
        started = self._data.started
        if self._chosen_smoothing or started is None:
            return
        window = min(100.0, max(1.0, started.total_steps / 25))
        self.smoothing.setValue(round(_PLACES * math.log10(window) / _DECADES))

    def _smooth_anew(self) -> None:
        steps = window_of(self.smoothing.value())
        words = f"over {round(steps):,} steps" if steps >= 1.5 else "not smoothed"
        self.smoothing_words.say(words)
        self.smoothing.setToolTip(f"Smoothing of the training loss: {words}")
        if (view := self._view()) is not None and view.smooths:
            self._feed()

    def _read_out(self) -> None:
        for key, entry in self.legend.items():
            entry.set_value(self.plot.value_of(key))
