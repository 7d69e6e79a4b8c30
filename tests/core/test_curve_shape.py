"""Noise, minimum and slope of curves that are known exactly; the interval holds the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from core.curve_shape import end_slope, minimum, noise, smooth

STEPS = np.arange(0.0, 5001, 100)


def bowl(at: float = 2000.0, depth: float = 0.002) -> np.ndarray:
    return 0.05 + depth * ((STEPS - at) / at) ** 2


def test_the_noise_is_that_which_was_put_in() -> None:
    steps = np.sort(np.random.default_rng(0).uniform(0, 1e4, 4000))
    put_in = 0.01 * np.random.default_rng(1).standard_normal(4000)
    assert noise(steps, 3 + 1e-3 * steps + put_in) == pytest.approx(0.01, rel=0.05)
    put_in[::100] += 5.0
    assert noise(steps, put_in) == pytest.approx(0.01, rel=0.1)
    assert noise(STEPS, 2 * STEPS) == pytest.approx(0, abs=1e-9) and noise(STEPS[:2], STEPS[:2]) == 0


def test_smoothing_keeps_lines_and_ends() -> None:
    assert smooth(2 * STEPS, 4) == pytest.approx(2 * STEPS)
    assert smooth(np.array([0.0, 3.0, 0.0, 9.0])).tolist() == [0.0, 1.0, 4.0, 9.0]


def test_a_parabola_gives_its_bottom() -> None:
    found = minimum(STEPS, bowl(2040.0))
    assert (found.lowest_step, found.step) == (2000.0, pytest.approx(2040, abs=0.1))
    assert found.loss == pytest.approx(0.05) and found.step_from <= 2000 and found.step_to < 2060


def test_the_interval_holds_the_truth() -> None:
    held = wide = 0
    for seed in range(200):
        found = minimum(STEPS, bowl() + 2e-4 * np.random.default_rng(seed).standard_normal(len(STEPS)))
        held += found.step_from <= 2000 <= found.step_to
        wide += abs(found.loss - 0.05) <= found.loss_error
        assert found.step_to - found.step_from < 1500
    assert held >= 185 and wide >= 170


def test_the_interval_holds_the_truth_when_neighbours_jump_alike() -> None:
    """Measurements that share a whim (the optimizer's path) say less than as many that do not."""
    held = 0
    for seed in range(200):
        fresh = np.random.default_rng(seed).standard_normal(len(STEPS) + 20)
        for place in range(1, len(fresh)):
            fresh[place] += 0.8 * fresh[place - 1]
        found = minimum(STEPS, bowl() + 1e-4 * fresh[20:])
        held += abs(found.loss - 0.05) <= found.loss_error
    assert held >= 140


def test_a_curve_that_only_falls_has_its_minimum_at_the_end() -> None:
    found = minimum(STEPS, np.exp(-STEPS / 5000))
    assert (found.lowest_step, found.step) == (5000, 5000)


def test_three_points_are_enough_to_name_the_lowest() -> None:
    found = minimum(STEPS[:3], np.array([3.0, 1.0, 2.0]))
    assert (found.lowest_step, found.lowest_loss, found.step_from, found.step_to) == (100, 1, 0, 200)


def test_the_slope_of_the_end_and_whether_it_falls() -> None:
    random = np.random.default_rng(0).standard_normal(len(STEPS))
    falling = end_slope(STEPS, 1 - 1e-4 * STEPS + 1e-3 * random)
    assert falling.per_step == pytest.approx(-1e-4, rel=0.1) and falling.falls
    level = end_slope(STEPS, np.where(STEPS < 3000, 1 - 1e-4 * STEPS, 0.7) + 1e-3 * random)
    assert abs(level.per_step) < 3 * level.error
    assert not end_slope(STEPS, 1 + 1e-4 * STEPS).falls
