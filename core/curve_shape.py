"""The shape of a measured curve: its noise, its lowest place and how uncertain that is, its slope at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A normal distribution's standard deviation over its median absolute deviation.
_MAD = 1.4826
#: The bowl around the minimum reaches so far up to the lower one of its two rims, or so many times the noise.
_BOWL, _BOWL_NOISES = 0.6, 4.0
#: Points that a parabola is fitted to, at least, and half the width of intervals in standard errors (95 %).
_LEAST, WIDE = 5, 2.0


@dataclass(frozen=True, slots=True)
class Minimum:
    """The lowest place of a curve.

    Attributes:
        lowest_step, lowest_loss: The lowest measured point.
        step, loss: The bottom of a parabola through the points around it; the same point when no parabola holds there.
        step_from, step_to: Where the bottom lies: the parabola's 95 %, and the lowest measured point in any case.
        loss_error: Half the width of the interval of `loss`, 95 %.
    """

    lowest_step: float
    lowest_loss: float
    step: float
    loss: float
    step_from: float
    step_to: float
    loss_error: float


@dataclass(frozen=True, slots=True)
class Slope:
    """Change of the loss per step, its standard error, and through how many points it was laid."""

    per_step: float
    error: float
    points: int

    @property
    def falls(self) -> bool:
        """Whether it falls beyond doubt (95 %)."""
        return self.per_step < -WIDE * self.error


def noise(steps: Floats, loss: Floats) -> float:
    """Standard deviation of the points about a smooth curve, by how far each lies off the line of its neighbours.

    Robust: by the median, so that a few jumps count little. 0 for fewer than three points.
    """
    if len(loss) < 3:
        return 0.0
    share = (steps[1:-1] - steps[:-2]) / (steps[2:] - steps[:-2])
    off = loss[1:-1] - (1 - share) * loss[:-2] - share * loss[2:]
    off /= np.sqrt(1 + share**2 + (1 - share) ** 2)
    return float(_MAD * np.median(np.abs(off)))


def smooth(loss: Floats, reach: int = 1) -> Floats:
    """Mean over each point and `reach` neighbours on both sides; fewer at the ends, as many on either side."""
    sums = np.concatenate(([0.0], np.cumsum(loss)))
    place = np.arange(len(loss))
    near = np.minimum(reach, np.minimum(place, len(loss) - 1 - place))
    return np.asarray((sums[place + near + 1] - sums[place - near]) / (2 * near + 1))


def minimum(steps: Floats, loss: Floats) -> Minimum:
    """The minimum of a curve of finite values (three points or more); a parabola is fitted to the bowl around it."""
    low = int(loss.argmin())
    where = _bowl(steps, loss)
    x, y = steps[where], loss[where]
    plain = Minimum(
        float(steps[low]), float(loss[low]), float(steps[low]), float(loss[low]), float(x[0]), float(x[-1]), 0.0
    )
    if len(x) < _LEAST:
        return plain
    middle, half = (x[0] + x[-1]) / 2, (x[-1] - x[0]) / 2
    u = (x - middle) / half
    design = np.stack([np.ones_like(u), u, u * u], axis=1)
    (c0, c1, c2), *_ = np.linalg.lstsq(design, y, rcond=None)
    off = y - design @ np.array([c0, c1, c2])
    spread = max(float(np.sqrt((off**2).sum() / max(1, len(x) - 3))), noise(x, y))
    spread *= _memory(off)
    covariance = spread**2 * np.linalg.inv(design.T @ design)
    error = float(WIDE * spread / np.sqrt(len(x)))
    bottom = -c1 / (2 * c2) if c2 > 0 else np.inf
    if c2 <= WIDE * np.sqrt(covariance[2, 2]) or abs(bottom) > 1:
        return Minimum(plain.lowest_step, plain.lowest_loss, plain.step, plain.loss, float(x[0]), float(x[-1]), error)
    slope = np.array([-1 / (2 * c2), c1 / (2 * c2 * c2)])
    wide = half * WIDE * float(np.sqrt(slope @ covariance[1:, 1:] @ slope))
    step = float(middle + half * bottom)
    at = np.array([1.0, bottom, bottom * bottom])
    return Minimum(
        lowest_step=plain.lowest_step,
        lowest_loss=plain.lowest_loss,
        step=step,
        loss=float(at @ np.array([c0, c1, c2])),
        step_from=float(min(plain.lowest_step, max(x[0], step - wide))),
        step_to=float(max(plain.lowest_step, min(x[-1], step + wide))),
        loss_error=WIDE * float(np.sqrt(at @ covariance @ at)),
    )


def _memory(off: Floats) -> float:
    """Factor by which errors grow because neighbouring residuals are alike: sqrt((1 + r) / (1 - r)), r of lag 1.

    A parabola through few points takes some of the likeness away, about three parts in n; they are given back.
    """
    total = float((off**2).sum())
    if not total:
        return 1.0
    alike = float((off[1:] * off[:-1]).sum()) / total
    alike = min(0.9, max(0.0, alike + 3 / len(off) * (1 + alike)))
    return float(np.sqrt((1 + alike) / (1 - alike)))


def _bowl(steps: Floats, loss: Floats) -> slice:
    """The points around the minimum that lie low enough to be its bowl, at least five where there are so many."""
    even = smooth(loss)
    low = int(even.argmin())
    rim = min(float(loss[0]), float(even[-1])) - float(even[low])
    limit = even[low] + max(_BOWL * rim, _BOWL_NOISES * noise(steps, loss) / np.sqrt(3))
    high = np.flatnonzero(even > limit)
    first = int(high[high < low].max(initial=-1)) + 1
    last = int(high[high > low].min(initial=len(loss))) - 1
    while last - first + 1 < min(_LEAST, len(loss)):
        if first > 0:
            first -= 1
        if last < len(loss) - 1:
            last += 1
    return slice(first, last + 1)


def end_slope(steps: Floats, loss: Floats, share: float = 0.25) -> Slope:
    """Slope of the line through the last `share` of the points (five at least)."""
    count = min(len(steps), max(_LEAST, round(share * len(steps))))
    x, y = steps[-count:], loss[-count:]
    x = x - x.mean()
    below = float((x * x).sum())
    slope = float((x * y).sum()) / below
    off = y - y.mean() - slope * x
    spread = float(np.sqrt((off**2).sum() / max(1, count - 2)))
    return Slope(slope, float(spread / np.sqrt(below)), count)
