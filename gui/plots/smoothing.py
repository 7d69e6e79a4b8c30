"""Exponential moving average with bias correction, as TensorBoard's slider draws it, without a loop over the points."""

from __future__ import annotations

import math

import numpy as np

from core.run_data import Column, Floats

#: Values computed at once; within a block powers of the weight must not underflow.
_BLOCK = 256
_LEAST_POWER = 1e-120


def weight_of(window: float) -> float:
    """The weight of the past that averages over about `window` points; 0 for one point."""
    return 1.0 - 1.0 / max(1.0, window)


class Smoother:
    """Smooths values that keep coming; only new ones cost anything.

    mean_t = weight * mean_{t-1} + (1 - weight) * value_t, shown as mean_t / (1 - weight^t), so that the first points
    are not pulled to zero. A value that is nan is left out of the mean and stays nan.
    """

    def __init__(self, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(f"the weight {weight} is not in [0, 1)")
        self.weight = weight
        self._smooth = Column()
        self._mean = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._smooth.length

    @property
    def values(self) -> Floats:
        """The smoothed values so far."""
        return self._smooth.array

    def extend(self, values: Floats) -> None:
        """Take in more values."""
        if self.weight == 0 or not len(values):
            self._smooth.extend(values)
            return
        known = np.isfinite(values)
        if known.all():
            self._smooth.extend(self._advance(values))
            return
        smooth = np.full(len(values), np.nan)
        smooth[known] = self._advance(values[known])
        self._smooth.extend(smooth)

    def _advance(self, values: Floats) -> Floats:
        """Smoothed values of finite ones; moves the mean and the count on."""
        if not len(values):
            return values
        means = self._means(values)
        ages = np.arange(self._count + 1, self._count + len(values) + 1, dtype=np.float64)
        self._mean = float(means[-1])
        self._count += len(values)
        # Once weight^t is below a float's last digit, the correction is 1.
        settled = int(min(len(values), max(0, math.ceil(-40 / math.log(self.weight)) - int(ages[0]) + 1)))
        means[:settled] /= -np.expm1(ages[:settled] * math.log(self.weight))
        return means

    def _means(self, values: Floats) -> Floats:
        """The moving mean: within a block by a cumulative sum of values over powers, between blocks by a short loop."""
        block = max(1, min(_BLOCK, int(math.log(_LEAST_POWER) / math.log(self.weight))))
        rows = -(-len(values) // block)
        padded = np.zeros(rows * block)
        padded[: len(values)] = values
        table = padded.reshape(rows, block)
        powers = self.weight ** np.arange(1, block + 1, dtype=np.float64)
        table *= (1 - self.weight) / powers
        np.cumsum(table, axis=1, out=table)
        carried = np.empty(rows)
        mean, whole = self._mean, float(powers[-1])
        for row, total in enumerate(table[:, -1].tolist()):
            carried[row] = mean
            mean = whole * (mean + total)
        table += carried[:, None]
        table *= powers
        return padded[: len(values)]


class SmoothCurve:
    """A curve that is smoothed piece by piece as it grows, so that a long one never holds up the window.

    Attributes:
        stamp: The same as long as the smoothed values only grow.
    """

    #: Points smoothed in one go.
    PIECE = 20_000

    def __init__(self) -> None:
        self.stamp: object = None
        self._smoother = Smoother(0.0)

    @property
    def values(self) -> Floats:
        """The smoothed values so far; there may be fewer than the curve has."""
        return self._smoother.values

    def extend(self, values: Floats, window: float, source: object) -> bool:
        """Smooth what is new, at most a piece of it; True when nothing is left.

        Another window, or another `source` (the curve is another one, or was cut), begins anew.
        """
        stamp = (source, window)
        if stamp != self.stamp:
            self.stamp = stamp
            self._smoother = Smoother(weight_of(window))
        done = len(self._smoother)
        self._smoother.extend(values[done : done + self.PIECE])
        return len(self._smoother) >= len(values)
