"""Do curves coincide when the x axis of each is scaled? Tests rules such as "the rate goes with sqrt(batch)"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.curve_shape import noise
from core.errors import UserError

Floats = NDArray[np.float64]
#: (x, y), x ascending.
Line = tuple[Floats, Floats]

#: Scales tried: from 1/_MOST to _MOST, then finer around the best.
_MOST, _TRIED = 100.0, 241
#: Points of either curve that must lie where both are, or the match says nothing.
_LEAST = 5
#: Curves coincide when they differ by no more than so many times their noise, or this share of the reference's range.
_NOISES, _SHARE = 4.0, 0.05


@dataclass(frozen=True, slots=True)
class Match:
    """How one curve lies on the reference.

    Attributes:
        scale: Its x times this gives the reference's x.
        scale_from, scale_to: Scales that fit about as well (95 %).
        difference, unscaled: Root mean square of the differences of y with the scale, and as it was (nan: no overlap).
        noise: The difference that the curves' own noise alone would make.
        extent: Highest minus lowest y of the reference.
        points: Points that were compared.
    """

    scale: float
    scale_from: float
    scale_to: float
    difference: float
    unscaled: float
    noise: float
    extent: float
    points: int

    @property
    def coincides(self) -> bool:
        """Whether, scaled, nothing but noise (or a twentieth of the reference's range) is left between the curves."""
        return self._is_little(self.difference)

    @property
    def coincides_unscaled(self) -> bool:
        """The same with both x axes as they are."""
        return self._is_little(self.unscaled)

    def _is_little(self, difference: float) -> bool:
        return difference <= max(_NOISES * self.noise, _SHARE * self.extent)


def coincide(curves: Sequence[Line]) -> list[Match]:
    """Where each further curve's x must be scaled to so that it lies on the first one, and how well it does.

    y is left as it is. Raises UserError when there are not two curves, or one has fewer than five finite points.
    """
    if len(curves) < 2:
        raise UserError("Only several curves can be laid over each other; choose two runs or more.")
    known = [_finite(*curve) for curve in curves]
    return [_match(known[0], other) for other in known[1:]]


def exponent(values: Sequence[float], scales: Sequence[float]) -> tuple[float, float]:
    """(p, its standard error) of the rule scale = constant * value^p; 0.5 is a square root. nan: under three pairs."""
    x, y = np.log(np.asarray(values, float)), np.log(np.asarray(scales, float))
    if len(x) < 2 or np.ptp(x) == 0:
        raise UserError("A rule needs runs with at least two different values; choose runs that differ in it.")
    x = x - x.mean()
    below = float((x * x).sum())
    power = float((x * y).sum() / below)
    off = y - y.mean() - power * x
    error = float(np.sqrt((off**2).sum() / (len(x) - 2) / below)) if len(x) > 2 else float("nan")
    return power, error


def _finite(x: Floats, y: Floats) -> Line:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < _LEAST:
        raise UserError(f"A curve with fewer than {_LEAST} points cannot be laid over another; measure more often.")
    return x[known], y[known]


def _match(one: Line, other: Line) -> Match:
    scales = np.geomspace(1 / _MOST, _MOST, _TRIED)
    for _ in range(2):
        errors = np.array([_difference(one, other, scale)[0] for scale in scales])
        if not np.isfinite(errors).any():
            raise UserError("These curves cannot be laid over each other: scaled as you like, too few points meet.")
        best = int(np.nanargmin(errors))
        tried, found = scales, errors
        step = scales[1] / scales[0]
        scales = np.geomspace(scales[best] / step**2, scales[best] * step**2, 81)
    error, points = _difference(one, other, float(tried[best]))
    plain, _ = _difference(one, other, 1.0)
    close = tried[found <= error * (1 + 4 / points)]
    return Match(
        scale=float(tried[best]),
        scale_from=float(close.min()),
        scale_to=float(close.max()),
        difference=float(np.sqrt(error)),
        unscaled=float(np.sqrt(plain)),
        noise=_noise(one, (other[0] * tried[best], other[1])),
        extent=float(np.ptp(one[1])),
        points=points,
    )


def _noise(one: Line, scaled: Line) -> float:
    """The difference by the noise of both curves where both are: late in a run it may be many times larger."""
    low, high = max(one[0][0], scaled[0][0]), min(one[0][-1], scaled[0][-1])
    first, second = (noise(x[i], y[i]) for x, y in (one, scaled) for i in [(x >= low) & (x <= high)])
    return float(np.hypot(first, second))


def _difference(one: Line, other: Line, scale: float) -> tuple[float, int]:
    """(mean square of the differences, points) where both curves are, read off each other's lines. nan: too few."""
    scaled = (other[0] * scale, other[1])
    low, high = max(one[0][0], scaled[0][0]), min(one[0][-1], scaled[0][-1])
    squares: list[Floats] = []
    for (x, y), (ground, values) in ((one, scaled), (scaled, one)):
        inside = (x >= low) & (x <= high)
        if inside.sum() < _LEAST:
            return float("nan"), 0
        squares.append((y[inside] - np.interp(x[inside], ground, values)) ** 2)
    return float(np.mean([square.mean() for square in squares])), sum(map(len, squares))
