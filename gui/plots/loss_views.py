"""The views of the loss card that are curves over the run: which curves, fed how, with which words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PySide6.QtGui import QColor

from core.run_data import Curve, Floats, RunData
from core.timestep_views import TIMESTEPS, Draws, gap
from gui.plots.curve_plot import CurvePlot, Series
from gui.plots.marks import minimum, usable_range
from gui.plots.smoothing import SmoothCurve
from gui.theme import Tokens

#: Curve colours that buckets of timesteps run through.
_RAMP = (0, 2, 5, 1)
_TRAIN, _VALIDATION = "Stable, training pictures", "Stable, held-out pictures"
#: What other programs call a debiased training loss.
_THEIR_DEBIASED = ("debiased", "loss/debiased")

LOSSES = (
    Series("loss", "Training loss", lambda t: t.dim, 1.0, 80, noisy=True),
    Series("smooth", "Smoothed", lambda t: t.dim, 1.6),
    Series(
        "debiased",
        "Debiased",
        lambda t: t.curves[2],
        1.8,
        tip="The training loss freed of the luck of its timesteps, smoothed: what is left moves when the model does",
    ),
    Series(
        "raw/train",
        "Not averaged, training",
        lambda t: t.curves[0],
        1.6,
        dashed=True,
        tip="The trained weights on the training pictures; the solid curve is their average (EMA, schedule-free)",
    ),
    Series(
        "raw/validation",
        "Not averaged, held-out",
        lambda t: t.curves[1],
        1.6,
        dashed=True,
        tip="The trained weights on the held-out pictures; the solid curve is their average (EMA, schedule-free)",
    ),
    Series("stable/train", _TRAIN, lambda t: t.curves[0], 2.6),
    Series("stable/validation", _VALIDATION, lambda t: t.curves[1], 2.6),
)


def loss_words(value: float) -> str:
    """A loss with four digits."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def mix(tokens: Tokens, ramp: Sequence[int], share: float) -> str:
    """A colour between neighbours of a ramp of curve colours; `share` 0 is its first, 1 its last."""
    place = share * (len(ramp) - 1)
    low = min(int(place), len(ramp) - 2)
    one, other = (QColor(tokens.curves[ramp[low + i]]) for i in (0, 1))
    parts = [(one.red(), other.red()), (one.green(), other.green()), (one.blue(), other.blue())]
    return QColor(*(round(a + (b - a) * (place - low)) for a, b in parts)).name()


def bucket_series(split: str, number: int, count: int) -> Series:
    """How the curve of a timestep bucket looks: blue for little noise, over green and gold, to vermilion for much."""
    first, last = round(TIMESTEPS * number / count), round(TIMESTEPS * (number + 1) / count) - 1
    share = number / max(1, count - 1)
    return Series(f"stable/{split}/{number}", f"timesteps {first}–{last}", lambda t: mix(t, _RAMP, share), 2.2)


def bucket_split(data: RunData) -> str:
    """The split whose buckets are shown: held-out pictures where there are any."""
    return "validation" if len(data.curves.get("stable/validation", Curve())) else "train"


def bucket_count(data: RunData, split: str) -> int:
    """Timestep buckets that a split was measured in."""
    count = 0
    while f"stable/{split}/{count}" in data.curves:
        count += 1
    return count


class CurveView(ABC):
    """One view; show() names its curves, feed() hands over their points."""

    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    tip: ClassVar[str] = ""
    #: The longest value, for which the legend leaves room.
    widest: ClassVar[str] = "0.0000"
    smooths: ClassVar[bool] = False
    #: Whether the legend begins with the curve that is drawn last, on top of the others.
    top_first: ClassVar[bool] = False
    can_log: ClassVar[bool] = True
    zero: ClassVar[bool] = False

    @abstractmethod
    def series(self, data: RunData, draws: Draws | None) -> list[Series]:
        """The curves that there are."""

    @abstractmethod
    def feed(self, plot: CurvePlot, data: RunData, draws: Draws | None, window: float) -> bool:
        """Hand over all points, smoothed over `window` steps; False when more of them must still be smoothed."""

    def words(self, value: float) -> str:
        """A value in the legend."""
        return loss_words(value)

    def hidden(self, data: RunData, draws: Draws | None) -> set[str]:
        """Curves that are hidden until they are asked for."""
        return set()

    def remark(self, data: RunData) -> str:
        """Dim words after the legend."""
        return ""

    def empty(self, data: RunData) -> str:
        """Why there is nothing to see, and what would change that; "" where there is something."""
        return ""


class LossesView(CurveView):
    """Training loss, raw, smoothed and debiased, and the stable losses."""

    name = "losses"
    label = "Loss"
    tip = "Whether the model learns: the bold curves fall while it does; the held-out one rises when it learns by heart"
    smooths = True
    top_first = True

    def __init__(self) -> None:
        self.smooth, self.debiased = SmoothCurve(), SmoothCurve()

    def series(self, data: RunData, draws: Draws | None) -> list[Series]:
        """Those that the run has; the usual four also before their first point."""
        have = {key for key in ("raw/train", "raw/validation") if len(data.curves.get(key, Curve()))}
        if _debiased(data, draws) is not None:
            have.add("debiased")
        optional = ("raw/train", "raw/validation", "debiased")
        return [one for one in LOSSES if one.key not in optional or one.key in have]

    def hidden(self, data: RunData, draws: Draws | None) -> set[str]:
        """The smoothed curve, where the debiased one says the same with less noise."""
        return {"smooth"} if _debiased(data, draws) is not None else set()

    def feed(self, plot: CurvePlot, data: RunData, draws: Draws | None, window: float) -> bool:
        """Points and marks."""
        loss = data.curve("loss")
        plot.set_points("loss", loss.steps, loss.values, (id(loss), loss.cuts))
        done = _feed_smooth(plot, "smooth", loss, self.smooth, window, (id(loss), loss.cuts))
        found = _debiased(data, draws)
        if found is not None:
            curve, source = found
            # Where only every n-th step was kept, fewer points are as many steps.
            apart = max(1, round(float(np.ptp(curve.steps[[0, -1]])) / max(1, len(curve) - 1)))
            done &= _feed_smooth(plot, "debiased", curve, self.debiased, max(1.0, window / apart), source)
        for key in ("stable/train", "stable/validation", "raw/train", "raw/validation"):
            curve = data.curve(key) if key.startswith("stable") else data.curves.get(key, Curve())
            plot.set_points(key, curve.steps, curve.values, (id(curve), curve.cuts))
        ruler = data.curve("stable/validation")
        least = minimum(ruler.steps, ruler.values) if len(ruler) > 1 else None
        plot.set_marks(least, usable_range(ruler.steps, ruler.values))
        return done


def _debiased(data: RunData, draws: Draws | None) -> tuple[Curve, object] | None:
    """(debiased training loss, what it is from): of the run's own draws, else as another program wrote it."""
    if draws is not None and len(draws.debiased):
        return draws.debiased, ("draws", id(data), draws.fit_number)
    for tag in _THEIR_DEBIASED:
        curve = data.curves.get(tag)
        if curve is not None and len(curve):
            return curve, (id(curve), curve.cuts)
    return None


def _feed_smooth(plot: CurvePlot, key: str, curve: Curve, smooth: SmoothCurve, window: float, source: object) -> bool:
    done = smooth.extend(curve.values, window, source)
    values = smooth.values
    plot.set_points(key, curve.steps[: len(values)], values, smooth.stamp)
    return done


class BucketsView(CurveView):
    """The stable loss of each part of the timesteps against its first measurement: their losses differ in scale."""

    name = "buckets"
    label = "By timestep"
    tip = "What the model learns first: low timesteps are fine detail, high ones composition; 100 % is where each began"
    widest = "100.0 %"

    def series(self, data: RunData, draws: Draws | None) -> list[Series]:
        """One for each bucket."""
        split = bucket_split(data)
        count = bucket_count(data, split)
        return [bucket_series(split, number, count) for number in range(count)]

    def feed(self, plot: CurvePlot, data: RunData, draws: Draws | None, window: float) -> bool:
        """Percent of the first measurement."""
        split = bucket_split(data)
        for number in range(bucket_count(data, split)):
            curve = data.curve(f"stable/{split}/{number}")
            first = curve.values[np.isfinite(curve.values)][:1]
            scale = 100 / first[0] if len(first) and first[0] else np.nan
            plot.set_points(f"stable/{split}/{number}", curve.steps, curve.values * scale)
        plot.set_marks(None, None)
        return True

    def words(self, value: float) -> str:
        """Percent."""
        return f"{value:.1f} %"

    def remark(self, data: RunData) -> str:
        """Of what, and of which pictures."""
        held = bucket_split(data) == "validation"
        return f"of the first measurement, {'held-out pictures' if held else 'training pictures'}"

    def empty(self, data: RunData) -> str:
        """Without buckets."""
        if bucket_count(data, bucket_split(data)) > 1:
            return ""
        return "No stable loss was measured by timestep in this run. Runs made here measure it where Validation is on."


class GapView(CurveView):
    """Held-out minus training pictures."""

    name = "gap"
    label = "Gap"
    tip = "How far the model has gone ahead on the pictures that it trains on: a gap that grows is learning by heart"
    widest = "+0.000000"
    can_log = False
    zero = True

    def __init__(self) -> None:
        self._seen: tuple[int, ...] = ()
        self._points: tuple[Floats, Floats] = (np.empty(0), np.empty(0))

    def _gap(self, data: RunData) -> tuple[Floats, Floats]:
        """Computed anew only when something was measured."""
        curves = [data.curves.get(f"stable/{split}", Curve()) for split in ("validation", "train")]
        seen = (id(data), *(number for curve in curves for number in (len(curve), curve.cuts)))
        if seen != self._seen:
            self._seen, self._points = seen, gap(data)
        return self._points

    def series(self, data: RunData, draws: Draws | None) -> list[Series]:
        """The one."""
        return [Series("gap", "Held-out minus training pictures", lambda t: t.curves[3], 2.6)]

    def feed(self, plot: CurvePlot, data: RunData, draws: Draws | None, window: float) -> bool:
        """Where both were measured."""
        plot.set_points("gap", *self._gap(data), self._seen)
        plot.set_marks(None, None)
        return True

    def words(self, value: float) -> str:
        """With its sign."""
        return "0" if value == 0 else f"{value:+.{max(2, 3 - math.floor(math.log10(abs(value))))}f}"[:10]

    def remark(self, data: RunData) -> str:
        """How to read it."""
        return "0: both alike · rising: it learns its own pictures by heart"

    def empty(self, data: RunData) -> str:
        """Without both splits."""
        if len(self._gap(data)[0]):
            return ""
        return "The gap needs the stable loss of training and of held-out pictures. Hold some out on the Training page."


#: In the order of the switch.
CURVE_VIEWS = (LossesView, BucketsView, GapView)
