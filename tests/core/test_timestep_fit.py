"""Fits of the loss over the timestep against known curves; a debiased loss spreads less and keeps its size."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from core.errors import UserError
from core.timestep_fit import debias, exponential_fit, smooth_fit, spread

TIMESTEPS = np.arange(1000.0)


def noisy(expected: np.ndarray, share: float = 0.1, seed: int = 0) -> np.ndarray:
    return expected * np.exp(share * np.random.default_rng(seed).standard_normal(len(expected)))


def two_slopes(timesteps: np.ndarray) -> np.ndarray:
    """A falling curve that no exponential follows, as that of a real model."""
    return np.exp(-0.02 * np.minimum(timesteps, 100) - 0.004 * np.maximum(0, timesteps - 100))


@pytest.mark.parametrize("logarithmic", [True, False])
@pytest.mark.parametrize(("a", "b"), [(0.7365, 0.0052), (2.0, 0.0), (0.1, -0.002), (50.0, 0.03)])
def test_an_exponential_is_found_again(a: float, b: float, logarithmic: bool) -> None:
    fit = exponential_fit(TIMESTEPS, a * np.exp(-b * TIMESTEPS), logarithmic=logarithmic)
    assert (fit.a, fit.b) == (pytest.approx(a, rel=1e-5), pytest.approx(b, rel=1e-4, abs=1e-8))
    assert fit.expected(np.array([0.0, 500.0])) == pytest.approx(a * np.exp(-b * np.array([0.0, 500.0])), rel=1e-4)
    if b:
        assert fit.r2 == pytest.approx(1.0, abs=1e-8)


def test_least_squares_is_least() -> None:
    loss = noisy(two_slopes(TIMESTEPS))
    fit = exponential_fit(TIMESTEPS, loss)
    left = ((loss - fit.expected(TIMESTEPS)) ** 2).sum()
    for a, b in ((1.003, 1), (0.997, 1), (1, 1.003), (1, 0.997), (1.003, 1.003), (0.997, 0.997)):
        assert left < ((loss - fit.a * a * np.exp(-fit.b * b * TIMESTEPS)) ** 2).sum()
    logarithmic = exponential_fit(TIMESTEPS, loss, logarithmic=True)
    assert logarithmic.r2_log > fit.r2_log and logarithmic.r2 < fit.r2
    assert fit.r2 == pytest.approx(1 - left / ((loss - loss.mean()) ** 2).sum())


def test_the_smooth_fit_follows_what_the_exponential_cannot() -> None:
    loss = noisy(two_slopes(TIMESTEPS))
    smooth, plain = smooth_fit(TIMESTEPS, loss), exponential_fit(TIMESTEPS, loss, logarithmic=True)
    off = np.log(smooth.expected(TIMESTEPS) / two_slopes(TIMESTEPS))
    assert np.abs(off).max() < 0.12 and np.abs(off).mean() < 0.03
    assert smooth.r2_log > plain.r2_log and (np.diff(smooth.expected(TIMESTEPS)) <= 0).all()


def test_few_points_are_drawn_to_their_neighbours() -> None:
    """With eight points a bin the medians alone stray further from the truth."""
    timesteps = np.linspace(0, 999, 160)
    drawn = plain = 0.0
    for seed in range(100):
        loss = noisy(np.exp(-0.003 * timesteps), 0.5, seed)
        bins = np.array_split(np.arange(160), 20)
        knots = np.array([timesteps[part].mean() for part in bins])[1:-1]
        medians = np.array([np.median(np.log(loss[part])) for part in bins])[1:-1]
        fitted = np.log(smooth_fit(timesteps, loss, monotone=False).expected(knots))
        drawn += (fitted + 0.003 * knots).std()
        plain += (medians + 0.003 * knots).std()
    assert drawn < 0.85 * plain


def test_a_few_wild_points_change_little() -> None:
    loss = two_slopes(TIMESTEPS)
    wild = loss.copy()
    wild[::50] *= 30
    ratio = smooth_fit(TIMESTEPS, wild).expected(TIMESTEPS) / smooth_fit(TIMESTEPS, loss).expected(TIMESTEPS)
    assert np.ptp(ratio) < 0.05  # it may be scaled as a whole, its shape stays


@pytest.mark.parametrize("rises", [True, False])
def test_monotone_in_the_direction_of_the_data(rises: bool) -> None:
    loss = noisy(two_slopes(TIMESTEPS[::-1] if rises else TIMESTEPS), 0.5)
    steps = np.diff(smooth_fit(TIMESTEPS, loss).expected(TIMESTEPS))
    assert (steps >= 0).all() if rises else (steps <= 0).all()


def test_a_valley_is_not_made_monotone_unless_asked() -> None:
    """The loss of v-prediction may be lowest in the middle."""
    valley = 0.1 + ((TIMESTEPS - 500) / 500) ** 2
    free, forced = (smooth_fit(TIMESTEPS, noisy(valley), monotone=choice) for choice in (None, True))
    assert free.expected(np.array([500.0]))[0] < 0.15 < 0.5 < free.expected(np.array([0.0]))[0]
    steps = np.diff(forced.expected(TIMESTEPS))
    assert (steps >= 0).all() or (steps <= 0).all()
    assert forced.r2_log < free.r2_log


@pytest.mark.parametrize("fit", [partial(exponential_fit, logarithmic=True), smooth_fit])
def test_a_debiased_loss_spreads_less_and_keeps_its_mean(fit) -> None:
    timesteps = np.random.default_rng(1).integers(0, 1000, 4000).astype(float)
    loss = noisy(two_slopes(timesteps), 0.2)
    found = fit(timesteps, loss)
    freed = debias(loss, timesteps, found)
    assert freed.std() / freed.mean() < 0.4 * loss.std() / loss.mean()
    assert spread(freed) < 0.5 * spread(loss)
    assert freed.mean() == pytest.approx(loss.mean(), rel=1e-9)
    if fit is smooth_fit:  # what is left is the noise that was put in
        assert spread(freed) == pytest.approx(0.2, rel=0.1)


def test_an_improvement_is_seen_after_debiasing_that_was_not_before() -> None:
    """A training whose loss falls by a tenth: its halves differ by more standard errors once the timestep is known."""
    random = np.random.default_rng(2)
    timesteps = random.integers(0, 1000, 2000).astype(float)
    loss = noisy(two_slopes(timesteps) * np.linspace(1, 0.9, 2000), 0.1)

    def errors_apart(values: np.ndarray) -> float:
        first, second = values[:1000], values[1000:]
        return (first.mean() - second.mean()) / np.hypot(first.std(), second.std()) * np.sqrt(1000)

    freed = debias(loss, timesteps, smooth_fit(timesteps, loss))
    assert errors_apart(freed) > 4 > errors_apart(loss)


def test_points_without_a_logarithm_are_passed_over() -> None:
    loss = np.exp(-0.005 * TIMESTEPS)
    broken = loss.copy()
    broken[[3, 500, 700]] = [np.nan, 0.0, np.inf]
    assert exponential_fit(TIMESTEPS, broken).b == pytest.approx(0.005, rel=1e-4)
    few = np.repeat([0.0, 500.0, 999.0], 100)
    assert smooth_fit(few, np.exp(-0.005 * few)).expected(few) == pytest.approx(np.exp(-0.005 * few))


@pytest.mark.parametrize("timesteps", [[], [1.0, 2.0], [5.0] * 9])
def test_too_little_to_fit_is_said(timesteps: list[float]) -> None:
    for fit in (exponential_fit, smooth_fit):
        with pytest.raises(UserError, match="three points at different timesteps"):
            fit(np.array(timesteps), np.ones(len(timesteps)))
