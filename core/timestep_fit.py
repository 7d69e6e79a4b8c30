"""The loss as a function of the timestep, fitted, so that the training loss can be freed of the timestep's chance.

Most of the noise in a training curve is the random timestep (the notes "demystifying sd finetuning"): a loss divided by
what is usual at its timestep spreads much less. The notes fit an exponential; `smooth_fit` follows the data instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

Floats = NDArray[np.float64]

#: Bins of the smooth fit, at most, and points that a bin holds, at least where there are so many.
_BINS, _A_BIN = 50, 8
#: A bin's median counts as so many points more of its neighbourhood's line: few points are drawn towards it.
_SHRINKAGE = 4.0
#: A monotone curve is kept unless the free one leaves a smaller share of its squared residuals than this.
_MUCH_BETTER = 0.8
#: Normal distribution's standard deviation over its median absolute deviation.
_MAD = 1.4826


@dataclass(frozen=True)
class TimestepFit:
    """Expected loss at each timestep.

    Attributes:
        kind: "exponential" (a * exp(-b * timestep)) or "smooth" (a line through knots, in the logarithm of the loss).
        timesteps, logs: The knots; between them log(loss) is linear, beyond them it stays. Two for an exponential.
        a, b: Of the exponential; nan for a smooth fit.
        r2: Share of the variance of the loss that the fit explains; r2_log that of the logarithm's.
        level: Mean loss over mean (loss / expected) of the fitted points; keeps the mean of a debiased loss.
    """

    kind: str
    timesteps: Floats
    logs: Floats
    a: float
    b: float
    r2: float
    r2_log: float
    level: float

    def expected(self, timesteps: Floats) -> Floats:
        """Expected loss at timesteps of any shape."""
        if self.kind == "exponential":
            return np.asarray(self.a * np.exp(-self.b * timesteps))
        return np.asarray(np.exp(np.interp(timesteps, self.timesteps, self.logs)))


def exponential_fit(timesteps: Floats, loss: Floats, *, logarithmic: bool = False) -> TimestepFit:
    """a * exp(-b * timestep) by least squares of the loss, or of its logarithm.

    The logarithm weighs large and small losses alike. Raises UserError for fewer than three usable points.
    """
    t, y = _usable(timesteps, loss)
    b, start = np.polyfit(t, np.log(y), 1) * np.array([-1.0, 1.0])
    a = float(np.exp(start))
    if not logarithmic:
        b = _best_decay(t, y, float(b))
        shape = np.exp(-b * t)
        a = float((y * shape).sum() / (shape * shape).sum())
    ends = np.array([t.min(), t.max()])
    return _rated("exponential", ends, np.log(max(a, 1e-300)) - b * ends, (a, float(b)), t, y)


def _best_decay(t: Floats, y: Floats, near: float) -> float:
    """The b of least squares. For each b the best a is known, so one number is sought: a scan, then finer scans."""

    def left(decay: float) -> float:
        shape = np.exp(-decay * t)
        return float(((y - (y * shape).sum() / (shape * shape).sum() * shape) ** 2).sum())

    width = max(abs(near), 1.0 / float(np.ptp(t) or 1.0))
    middle = near
    for _ in range(40):
        tried = middle + width * np.linspace(-1, 1, 9)
        best = int(np.argmin([left(decay) for decay in tried]))
        middle = float(tried[best])
        if 0 < best < len(tried) - 1:
            width /= 2
    return middle


def smooth_fit(timesteps: Floats, loss: Floats, *, monotone: bool | None = None) -> TimestepFit:
    """Medians of log(loss) in bins of equally many points, drawn to their neighbours where few, and made monotone.

    Monotone regression (pool adjacent violators) in the better direction, unless the data say clearly otherwise, as
    losses of v-prediction may; True or False decides it. Raises UserError for fewer than three usable points.
    """
    t, y = _usable(timesteps, loss)
    order = np.argsort(t, kind="stable")
    t, y = t[order], y[order]
    log = np.log(y)
    bins = np.array_split(np.arange(len(t)), max(2, min(_BINS, len(t) // _A_BIN)))
    knots = np.array([t[part].mean() for part in bins])
    counts = np.array([float(len(part)) for part in bins])
    free = _drawn_together(knots, np.array([np.median(log[part]) for part in bins]), counts)
    knots, (free, counts) = _distinct(knots, free, counts)
    found = free
    if monotone is not False:
        both = [sign * _rising(sign * free, counts) for sign in (1.0, -1.0)]
        left = [float(((log - np.interp(t, knots, line)) ** 2).sum()) for line in (*both, free)]
        better = int(left[1] < left[0])
        if monotone or left[2] >= _MUCH_BETTER * left[better]:
            found = both[better]
    knots, found = _to_the_ends(knots, found, t)
    # Medians of logarithms lie below the mean of a skewed loss; the mean of loss / expected is made 1.
    found = found + np.log((y / np.exp(np.interp(t, knots, found))).mean())
    return _rated("smooth", knots, found, (float("nan"), float("nan")), t, y)


def debias(loss: Floats, timesteps: Floats, fit: TimestepFit) -> Floats:
    """The loss over what is expected at its timestep, in the size of the loss: freed of what the timestep brought."""
    return np.asarray(loss / fit.expected(timesteps) * fit.level)


def _usable(timesteps: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """Points that have a logarithm; UserError when fewer than three are left or all are at one timestep."""
    known = np.isfinite(timesteps) & np.isfinite(loss) & (loss > 0)
    t, y = np.asarray(timesteps[known], np.float64), np.asarray(loss[known], np.float64)
    if len(t) < 3 or not np.ptp(t):
        raise UserError("The loss over the timestep needs three points at different timesteps or more; train on a bit.")
    return t, y


def _rated(kind: str, knots: Floats, logs: Floats, numbers: tuple[float, float], t: Floats, y: Floats) -> TimestepFit:
    """The fit with its shares of explained variance."""
    expected = np.maximum(TimestepFit(kind, knots, logs, *numbers, 0.0, 0.0, 1.0).expected(t), 1e-300)
    r2, r2_log = _explained(y, expected), _explained(np.log(y), np.log(expected))
    return TimestepFit(kind, knots, logs, *numbers, r2, r2_log, float(y.mean() / (y / expected).mean()))


def _explained(values: Floats, expected: Floats) -> float:
    total = float(((values - values.mean()) ** 2).sum())
    return 1 - float(((values - expected) ** 2).sum()) / total if total else 0.0


def _distinct(knots: Floats, logs: Floats, counts: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
    """Knots at the same timestep (few timesteps, many points) made one."""
    places, where = np.unique(knots, return_inverse=True)
    together = np.asarray(np.bincount(where, counts), np.float64)
    return places, (np.bincount(where, logs * counts) / together, together)


def _to_the_ends(knots: Floats, logs: Floats, t: Floats) -> tuple[Floats, Floats]:
    """The outer lines carried on from the middle of the outer bins to the first and last timestep."""
    if len(knots) < 2:
        return knots, logs
    slopes = np.diff(logs)[[0, -1]] / np.diff(knots)[[0, -1]]
    ends = np.array([t.min(), t.max()])
    out = logs[[0, -1]] + slopes * (ends - knots[[0, -1]])
    keep = (knots > ends[0]) & (knots < ends[1])
    return np.concatenate((ends[:1], knots[keep], ends[1:])), np.concatenate((out[:1], logs[keep], out[1:]))


def _drawn_together(knots: Floats, logs: Floats, counts: Floats) -> Floats:
    """Each inner knot drawn towards the line between its neighbours, the more the fewer points it has."""
    if len(knots) < 3:
        return logs
    span = np.maximum(knots[2:] - knots[:-2], 1e-12)
    share = (knots[1:-1] - knots[:-2]) / span
    line = (1 - share) * logs[:-2] + share * logs[2:]
    drawn = logs.copy()
    weight = counts[1:-1] / (counts[1:-1] + _SHRINKAGE)
    drawn[1:-1] = weight * logs[1:-1] + (1 - weight) * line
    return drawn


def _rising(values: Floats, weights: Floats) -> Floats:
    """The nearest sequence that never falls (pool adjacent violators), by weighted least squares."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        count = 1
        while blocks and blocks[-1][0] > value:
            before, heavy, many = blocks.pop()
            value = (before * heavy + value * weight) / (heavy + weight)
            weight += heavy
            count += many
        blocks.append((value, weight, count))
    return np.repeat([value for value, _, _ in blocks], [count for _, _, count in blocks])


def spread(loss: Floats) -> float:
    """Robust relative spread: the median absolute deviation of log(loss), as a standard deviation."""
    log = np.log(loss[np.isfinite(loss) & (loss > 0)])
    return float(_MAD * np.median(np.abs(log - np.median(log)))) if len(log) else float("nan")
