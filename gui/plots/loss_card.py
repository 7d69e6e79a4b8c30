"""The loss card: raw and smoothed training loss, the stable losses, minimum and usable range, and their controls."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QSizePolicy, QSlider, QVBoxLayout, QWidget

from core.run_data import AXES, Curve, RunData
from gui.plots.curve_plot import CurvePlot, Series
from gui.plots.legend import LegendEntry
from gui.plots.marks import minimum, usable_range
from gui.plots.smoothing import Smoother, weight_of
from gui.plots.timeline import AXIS_LABELS, Timeline
from gui.theme import Tokens
from gui.widgets.basics import button, label, row
from gui.widgets.elided import Elided

#: Timesteps of the noise schedule that every Stable Diffusion model is trained with.
_TIMESTEPS = 1000
#: The smoothing slider has so many places for windows of 1 to 10,000 steps.
_PLACES, _DECADES = 80, 4.0
#: Points smoothed in one go; more follow in the next turn of the event loop, so that the window keeps answering. The
#: curve is drawn again when so many have come.
_SMOOTHED_AT_ONCE = 20_000
_SMOOTHED_A_DRAWING = 200_000
#: Curve colours that buckets of timesteps run through.
_RAMP = (0, 2, 5, 1)

LOSSES = (
    Series("loss", "Training loss", lambda t: t.dim, 1.0, 80, noisy=True),
    Series("smooth", "Smoothed", lambda t: t.dim, 1.6),
    Series("stable/train", "Stable, training pictures", lambda t: t.curves[0], 2.6),
    Series("stable/validation", "Stable, held-out pictures", lambda t: t.curves[1], 2.6),
)


def window_of(place: int) -> float:
    """Steps over which a place of the slider averages."""
    return float(10 ** (_DECADES * place / _PLACES))


def bucket_series(split: str, number: int, count: int) -> Series:
    """How the curve of a timestep bucket looks: blue for little noise, over green and gold, to vermilion for much."""
    first, last = round(_TIMESTEPS * number / count), round(_TIMESTEPS * (number + 1) / count) - 1
    place = number / max(1, count - 1) * (len(_RAMP) - 1)

    def color(tokens: Tokens) -> str:
        """A mix of two neighbours on the ramp; four buckets are its four colours."""
        low = min(int(place), len(_RAMP) - 2)
        one, other = (QColor(tokens.curves[_RAMP[low + i]]) for i in (0, 1))
        parts = [(one.red(), other.red()), (one.green(), other.green()), (one.blue(), other.blue())]
        red, green, blue = (round(a + (b - a) * (place - low)) for a, b in parts)
        return QColor(red, green, blue).name()

    return Series(f"stable/{split}/{number}", f"timesteps {first}–{last}", color, 2.2)


def loss_words(value: float) -> str:
    """A loss with four digits."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


class LossCard(QFrame):
    """The plot with its legend and controls; refresh() takes in what the run's data has got."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.timeline = timeline
        self.plot = CurvePlot(timeline)
        self.legend: dict[str, LegendEntry] = {}
        self._data = RunData()
        self._smoother = Smoother(0.0)
        self._smoothed: object = None
        self._chosen_smoothing = False
        self._buckets = 0
        self._smooth_more = QTimer(self, singleShot=True, interval=1)
        self._smooth_more.timeout.connect(self._smooth_on)
        self._make_controls()
        self._lay_out()
        self._connect()
        self._show_series(LOSSES)

    def _make_controls(self) -> None:
        self.axis = QComboBox()
        for name in AXES:
            self.axis.addItem(AXIS_LABELS[name], name)
        self.axis.setToolTip("What the curves are drawn over")
        self.axis.setAccessibleName("Horizontal axis")
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0, _PLACES)
        self.smoothing.setFixedWidth(96)
        self.smoothing.setAccessibleName("Smoothing")
        self.smoothing_words = label("", "dim")
        self.smoothing_words.setFixedWidth(112)
        self.log = button("Log", tip="Logarithmic vertical axis")
        self.by_timestep = button(
            "By timestep",
            tip="The stable loss of each part of the timesteps against its first measurement: "
            "low timesteps are detail, high ones composition",
        )
        for toggle in (self.log, self.by_timestep):
            toggle.setCheckable(True)
        self.follow = button("Follow", "forward", tip="Show the whole run and follow it (double click in the plot)")
        self.follow.hide()

    def _lay_out(self) -> None:
        head = row(label("Loss", "heading"), None, self.follow, self.smoothing, self.smoothing_words, spacing=8)
        for widget in (self.log, self.by_timestep, self.axis):
            head.addWidget(widget)
        self._legend_row = QHBoxLayout()
        self._legend_row.setSpacing(12)
        legend = QWidget()
        legend.setLayout(self._legend_row)
        self._legend_row.setContentsMargins(0, 0, 0, 0)
        self.empty = label("", "dim")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 10, 12, 6)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(legend)
        layout.addWidget(self.plot, 1)
        self.plot.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(288)

    def _connect(self) -> None:
        self.axis.currentIndexChanged.connect(lambda _: self.timeline.set_axis(self.axis.currentData()))
        self.smoothing.valueChanged.connect(self._smooth_anew)
        self.smoothing.actionTriggered.connect(self._choose_smoothing)
        self.smoothing.sliderMoved.connect(self._choose_smoothing)
        self.log.toggled.connect(self.plot.set_log)
        self.by_timestep.toggled.connect(lambda _: self._switch())
        self.follow.clicked.connect(self.timeline.reset)
        self.timeline.changed.connect(lambda: self.follow.setVisible(not self.timeline.following))
        self.plot.values_changed.connect(self._read_out)
        self.smoothing.setValue(round(_PLACES * 2 / _DECADES))

    def set_data(self, data: RunData) -> None:
        """Draw another run from the next refresh on."""
        self._data = data
        self._smoothed = None
        self._buckets = 0
        self._chosen_smoothing = False
        self.by_timestep.setChecked(False)

    def refresh(self) -> None:
        """Draw what is known now."""
        self._offer_axes()
        self._fit_smoothing()
        count = self._bucket_count()
        self.by_timestep.setEnabled(count > 1)
        if self.by_timestep.isChecked():
            if count != self._buckets:
                self._switch()
            self._feed_buckets()
        else:
            self._feed_losses()
        self.plot.refresh_soon()

    def _offer_axes(self) -> None:
        """Only units that the run has readings for can be chosen."""
        known = self.timeline.available()
        model = self.axis.model()
        for place, name in enumerate(AXES):
            item = model.item(place)  # type: ignore[attr-defined]
            if item.isEnabled() != (name in known):
                item.setEnabled(name in known)

    def _feed_losses(self) -> None:
        loss = self._data.curve("loss")
        self._extend_smoothed(loss)
        self.plot.set_points("loss", loss.steps, loss.values, (id(loss), loss.cuts))
        smooth = self._smoother.values
        self.plot.set_points("smooth", loss.steps[: len(smooth)], smooth, self._smoothed)
        for split in ("train", "validation"):
            curve = self._data.curve(f"stable/{split}")
            self.plot.set_points(f"stable/{split}", curve.steps, curve.values, (id(curve), curve.cuts))
        ruler = self._data.curve("stable/validation")
        least = minimum(ruler.steps, ruler.values) if len(ruler) > 1 else None
        self.plot.set_marks(least, usable_range(ruler.steps, ruler.values))

    def _extend_smoothed(self, loss: Curve) -> None:
        """Smooth what is new; all of it after a resume, for another run, or with another window."""
        weight = weight_of(window_of(self.smoothing.value()))
        stamp = (id(loss), loss.cuts, weight)
        if stamp != self._smoothed:
            self._smoothed = stamp
            self._smoother = Smoother(weight)
        done = len(self._smoother)
        self._smoother.extend(loss.values[done : done + _SMOOTHED_AT_ONCE])
        if len(self._smoother) < len(loss):
            self._smooth_more.start()

    def _smooth_on(self) -> None:
        """Smooth the next points of a long curve; seldom draw them, for that takes longer than the smoothing."""
        loss = self._data.curve("loss")
        before = len(self._smoother)
        self._extend_smoothed(loss)
        done = len(self._smoother)
        if done == len(loss) or done // _SMOOTHED_A_DRAWING > before // _SMOOTHED_A_DRAWING:
            self.refresh()

    def _split(self) -> str:
        """The split whose buckets are shown: held-out pictures where there are any."""
        return "validation" if len(self._data.curve("stable/validation")) else "train"

    def _bucket_count(self) -> int:
        count = 0
        while f"stable/{self._split()}/{count}" in self._data.curves:
            count += 1
        return count

    def _feed_buckets(self) -> None:
        """Each bucket against its first measurement: their losses have different scales."""
        for number in range(self._buckets):
            key = f"stable/{self._split()}/{number}"
            curve = self._data.curve(key)
            first = curve.values[np.isfinite(curve.values)][:1]
            scale = 100 / first[0] if len(first) and first[0] else np.nan
            self.plot.set_points(key, curve.steps, curve.values * scale)
        self.plot.set_marks(None, None)

    def _switch(self) -> None:
        """Between the losses and their parts by timestep."""
        if self.by_timestep.isChecked():
            self._buckets = self._bucket_count()
            self._show_series([bucket_series(self._split(), n, self._buckets) for n in range(self._buckets)])
            self._feed_buckets()
        else:
            self._show_series(LOSSES)
            self._feed_losses()

    def _show_series(self, series: tuple[Series, ...] | list[Series]) -> None:
        while item := self._legend_row.takeAt(0):
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.legend = {}
        percent = series is not LOSSES
        for one in series:
            words = (lambda value: f"{value:.1f} %") if percent else loss_words
            entry = LegendEntry(one, words, "100.0 %" if percent else "0.0000")
            entry.setChecked(not self.plot.is_hidden(one.key))
            entry.toggled.connect(lambda shown, key=one.key: self.plot.set_visible(key, shown))
            self.legend[one.key] = entry
            self._legend_row.addWidget(entry)
        if percent:
            self._legend_row.addWidget(Elided(f"of the first measurement, {self._split_words()}", "dim"))
        self._legend_row.addStretch(1)
        self.plot.set_series(series)

    def _split_words(self) -> str:
        return "held-out pictures" if self._split() == "validation" else "training pictures"

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
        self.smoothing_words.setText(words)
        self.smoothing.setToolTip(f"Smoothing of the training loss: {words}")
        if not self.by_timestep.isChecked():
            self._feed_losses()
            self.plot.refresh_soon()

    def _read_out(self) -> None:
        for key, entry in self.legend.items():
            entry.set_value(self.plot.value_of(key))
