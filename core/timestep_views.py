"""What a run's draws of timesteps show: loss over the timestep, debiased training loss, histogram, gap; for drawing.

Made to be called again and again while a run grows, off the window's thread: only what is new is read, debiased and
counted, and what is handed on is small enough to be drawn at once, but for the debiased curve of one point a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.run_data import Column, Curve, RunData
from core.timestep_fit import Floats, TimestepFit, smooth_fit
from core.timestep_losses import RECORD, LossFollower, Records, debiased

#: Timesteps of the noise schedule that every Stable Diffusion model is trained with.
TIMESTEPS = 1000
#: Bars of the histogram.
BINS = 50
#: The latest draws that the fit is made from, and points that are drawn.
_FITTED, _SHOWN = 50_000, 4_000
#: Draws without which no fit is made, and the growth of the whole that asks for a new one.
_LEAST, _GROWTH = 200, 1.05
#: Draws taken in at once: the interpreter's lock is given back in between.
_AT_ONCE = 100_000
#: What other trainers call the curve of the sampled timesteps.
_THEIR_NAMES = ("timestep", "timesteps", "train/timestep")
#: And that of their signal-to-noise ratio; how near to the schedule's it must be.
_SNR, _CLOSE = "snr", 1e-3


@dataclass(frozen=True)
class Draws:
    """A run's draws as they are shown.

    Attributes:
        count: How many draws there are.
        steps, timesteps, losses: (n,) some of them, evenly over the run, ascending by step.
        bins: (BINS,) how often timesteps of each equal part were drawn.
        fit: The loss over the timestep of the latest draws; None while there are too few.
        fit_number: Another one when `debiased` was made anew from its beginning.
        debiased: One point a step; empty without a fit.
    """

    count: int
    steps: Floats
    timesteps: Floats
    losses: Floats
    bins: NDArray[np.int64]
    fit: TimestepFit | None
    fit_number: int
    debiased: Curve


class DrawsReader:
    """Follows the draws of one run; look() is called by one thread at a time."""

    def __init__(self, path: Path, imported: Records | None = None) -> None:
        """`path` is the file of timestep_losses.path_of(); `imported` stands for it in a run of another trainer."""
        self._follower = LossFollower(path)
        self._imported = imported
        self._fit: TimestepFit | None = None
        self._fit_number = 0
        self._begin()

    def _begin(self) -> None:
        """Forget all that was made from the records."""
        self._cuts = self._follower.cuts
        self._bins = np.zeros(BINS, np.int64)
        self._counted = 0
        self._fitted = 0
        self._fit = None
        self._restart_curve()

    def _restart_curve(self) -> None:
        self._fit_number += 1
        self._steps, self._values = Column(), Column()
        self._debiased = self._last_start = 0

    def look(self) -> Draws | None:
        """Take in what is new; None when nothing is, or when the run has no draws. OSError as reading raises it."""
        records = self._read()
        if records is None or (len(records) == self._counted and self._cuts == self._follower.cuts):
            return None
        if self._cuts != self._follower.cuts:
            self._begin()
        self._count(records)
        self._refit(records)
        self._debias(records)
        shown = records[np.linspace(0, len(records) - 1, min(_SHOWN, len(records))).astype(np.int64)]
        steps, timesteps, losses = (shown[name].astype(np.float64) for name in ("step", "timestep", "loss"))
        curve = Curve.of(self._steps.array, self._values.array)
        return Draws(len(records), steps, timesteps, losses, self._bins.copy(), self._fit, self._fit_number, curve)

    def _read(self) -> Records | None:
        if self._imported is not None:
            return self._imported
        changed = self._follower.read()
        return self._follower.records if changed or self._cuts != self._follower.cuts else None

    def _count(self, records: Records) -> None:
        for start in range(self._counted, len(records), _AT_ONCE):
            places = records["timestep"][start : start + _AT_ONCE].astype(np.int64) * BINS // TIMESTEPS
            self._bins += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)
        self._counted = len(records)

    def _refit(self, records: Records) -> None:
        """A new fit once the run has grown by a twentieth: it moves little, and the whole curve hangs on it."""
        if len(records) < max(_LEAST, _GROWTH * self._fitted):
            return
        latest = records[-_FITTED:]
        try:
            self._fit = smooth_fit(latest["timestep"].astype(np.float64), latest["loss"].astype(np.float64))
        except UserError:  # all at one timestep, or losses that are no numbers
            return
        self._fitted = len(records)
        self._restart_curve()

    def _debias(self, records: Records) -> None:
        """Append the steps that are new; the last one known is made again, for more of its pictures may have come."""
        if self._fit is None:
            return
        while self._debiased < len(records):
            start, stop = self._last_start, min(len(records), self._debiased + _AT_ONCE)
            self._steps.cut(max(0, self._steps.length - 1))
            self._values.cut(max(0, self._values.length - 1))
            steps, values = debiased(records[start:stop], self._fit)
            self._steps.extend(steps)
            self._values.extend(values)
            self._last_start = start + int(np.searchsorted(records["step"][start:stop], int(steps[-1])))
            self._debiased = stop


def imported_records(data: RunData) -> Records | None:
    """The draws of a run of another trainer, from its curves of loss and timestep; None where it has not both.

    The notes wrote the signal-to-noise ratio instead, which names the timestep of Stable Diffusion's schedule as well.
    """
    loss = data.curves.get("loss")
    names = [name for name in (*_THEIR_NAMES, _SNR) if len(data.curves.get(name, Curve()))]
    if loss is None or not names:
        return None
    drawn = data.curves[names[0]]
    mine, theirs = _in_common(loss.steps, drawn.steps)
    values, timesteps = loss.values[mine], drawn.values[theirs]
    if names[0] == _SNR:
        timesteps = _of_snr(timesteps)
    known = np.isfinite(values) & (timesteps >= 0) & (timesteps < TIMESTEPS)
    records = np.empty(int(known.sum()), RECORD)
    records["step"] = np.maximum(loss.steps[mine][known], 0)
    records["timestep"], records["loss"] = timesteps[known], values[known]
    return records if len(records) else None


def _of_snr(snr: Floats) -> Floats:
    """The timesteps of signal-to-noise ratios by the schedule of Stable Diffusion 1.5 and SDXL; nan where none fits."""
    left = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS) ** 2)
    ratios = left / (1 - left)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.interp(np.log(snr), np.log(ratios[::-1]), np.arange(TIMESTEPS - 1.0, -1.0, -1.0))
        found = np.round(places)
        close = np.abs(snr / ratios[np.nan_to_num(found).astype(np.int64)] - 1) < _CLOSE
    return np.where(close, found, np.nan)


def gap(data: RunData) -> tuple[Floats, Floats]:
    """(steps, held-out minus trained pictures' stable loss) where both were measured."""
    held, trained = (data.curves.get(f"stable/{split}", Curve()) for split in ("validation", "train"))
    one, other = _in_common(held.steps, trained.steps)
    return held.steps[one], held.values[one] - trained.values[other]


def _in_common(one: Floats, other: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the steps that both have. Not np.intersect1d: its first call imports numpy.ma, 50 ms."""
    if not len(one) or not len(other):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(other, one), len(other) - 1)
    found = np.flatnonzero(other[places] == one)
    return found, places[found]
