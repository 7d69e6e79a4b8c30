"""Tests of core/schedules: end points, shapes, and the formulas of diffusers and transformers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from core import presets, registry

PLACES = [i / 100 for i in range(101)]


def curve(name: str, **options: Any) -> list[float]:
    """The share of the full rate at 0, 0.01 ... 1."""
    values = {"training.schedule": name, **{f"{name}.{key}": value for key, value in options.items()}}
    schedule, found = registry.chosen("schedules", presets.build(values, "test"))
    return [schedule.factor(place, found) for place in PLACES]


@pytest.mark.parametrize("name", registry.names("schedules"))
def test_every_schedule_begins_full_and_stays_between_0_and_1(name: str) -> None:
    values = curve(name)
    assert values[0] == 1.0
    assert min(values) >= 0 and max(values) <= 1
    if name != "restarts":
        assert values == sorted(values, reverse=True)


def test_every_schedule_ends_where_its_name_says() -> None:
    ends = {name: curve(name)[-1] for name in registry.names("schedules")}
    assert ends == {
        "constant": 1.0,
        "cosine": pytest.approx(0.0),
        "linear": 0.0,
        "polynomial": 0.0,
        "restarts": 0.0,
    }


@pytest.mark.parametrize("cycles", [1, 2, 5])
def test_restarts_are_diffusers_cosine_with_restarts(cycles: int) -> None:
    torch = pytest.importorskip("torch")
    from diffusers.optimization import get_cosine_with_hard_restarts_schedule_with_warmup as theirs

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    factor = theirs(optimizer, 0, 100, cycles).lr_lambdas[0]
    assert curve("restarts", cycles=cycles) == pytest.approx([factor(step) for step in range(101)], abs=1e-9)
    values = curve("restarts", cycles=cycles)
    assert sum(after > before + 0.5 for before, after in itertools.pairwise(values)) == cycles - 1


@pytest.mark.parametrize(("power", "end"), [(1.0, 0.0), (2.0, 0.1), (0.5, 0.0)])
def test_polynomial_is_diffusers(power: float, end: float) -> None:
    torch = pytest.importorskip("torch")
    from diffusers.optimization import get_polynomial_decay_schedule_with_warmup as theirs

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    factor = theirs(optimizer, 0, 100, lr_end=end, power=power).lr_lambdas[0]
    expected = [factor(step) for step in range(101)]
    assert curve("polynomial", power=power, end=end) == pytest.approx(expected, abs=1e-9)


def test_after_the_planned_end_the_rate_stays() -> None:
    """A warm-up that is not a whole part may ask for a place just behind the end."""
    for name in registry.names("schedules"):
        schedule, options = registry.chosen("schedules", presets.build({"training.schedule": name}, "test"))
        assert schedule.factor(1.01, options) == pytest.approx(schedule.factor(1.0, options))
