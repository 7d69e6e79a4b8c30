"""Curves made of each other by scaling are laid back; others are told apart; rules come out as exponents."""

from __future__ import annotations

import numpy as np
import pytest

from core.coincide import coincide, exponent
from core.errors import UserError

X = np.arange(0.0, 10_001, 100)


def curve(progress: np.ndarray) -> np.ndarray:
    return 0.06 - 0.003 * (1 - np.exp(-progress / 1500)) + 0.000005 * np.maximum(0, progress / 100 - 20) ** 1.5


def jitter(seed: int, size: float = 1e-5) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal(len(X))


@pytest.mark.parametrize("scale", [0.05, 0.5, 1.0, 1.37, 8.0])
def test_the_scale_is_found(scale: float) -> None:
    (found,) = coincide([(X, curve(X) + jitter(0)), (X, curve(X * scale) + jitter(1))])
    assert found.scale == pytest.approx(scale, rel=0.03)
    assert found.scale_from <= found.scale <= found.scale_to and found.scale_to < 1.2 * found.scale_from
    assert found.coincides and found.difference < 3 * found.noise
    assert found.coincides_unscaled == (scale == 1.0)


def test_the_way_back_is_the_reciprocal() -> None:
    one, other = (X, curve(X)), (X, curve(3 * X))
    (there,), (back,) = coincide([one, other]), coincide([other, one])
    assert there.scale * back.scale == pytest.approx(1, rel=0.02)


def test_another_shape_does_not_coincide() -> None:
    (found,) = coincide([(X, curve(X)), (X, 0.06 - 3e-7 * X)])
    assert not found.coincides


def test_each_further_curve_is_matched_with_the_first_and_gaps_are_passed_over() -> None:
    holes = curve(X * 2)
    holes[[3, 40]] = np.nan
    found = coincide([(X, curve(X)), (X, holes), (X[::3], curve(X[::3] * 4))])
    assert [match.scale for match in found] == pytest.approx([2, 4], rel=0.03)
    assert found[0].noise < 1e-4


def test_a_square_root_comes_out() -> None:
    batches = [1, 2, 4, 16]
    power, error = exponent(batches, [3 * batch**0.5 for batch in batches])
    assert power == pytest.approx(0.5) and error == pytest.approx(0, abs=1e-9)
    power, error = exponent(batches, [1, 2.2, 3.7, 17])
    assert power == pytest.approx(1, abs=2 * error) and error > 0
    assert np.isnan(exponent([1, 2], [1, 2])[1])


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(UserError, match="choose two runs or more"):
        coincide([(X, curve(X))])
    with pytest.raises(UserError, match="fewer than 5 points"):
        coincide([(X, curve(X)), (X[:4], curve(X[:4]))])
    with pytest.raises(UserError, match="too few points meet"):
        coincide([(X + 1, curve(X)), (X - 20_000, curve(X))])
    with pytest.raises(UserError, match="two different values"):
        exponent([2, 2], [1, 1])
