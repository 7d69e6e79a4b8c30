"""Tests of core/engine/measuring_budget.py with a clock of their own: the cap holds, and the steps stay comparable."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from core.engine.measuring_budget import MeasuringBudget


@dataclass
class Clock:
    """A run whose steps and measurements take what is said here, in seconds."""

    budget: MeasuringBudget
    step_seconds: float
    measuring: float
    first: float = 0.0
    worked: float = 0.0
    measured: list[int] = field(default_factory=list)

    def run(self, first: int, last: int, total: int) -> None:
        """The steps after `first` up to `last` of `total`; step 0 is looked at before the first."""
        if first == 0:
            self.look(0, total)
        self.budget.begin(first, self.worked)
        for step in range(first + 1, last + 1):
            self.worked += self.step_seconds
            self.look(step, total)

    def look(self, step: int, total: int) -> None:
        """Measure where it is due and allowed."""
        if self.budget.is_due(step, total) and self.budget.allows(step, total, self.worked):
            took = self.measuring if self.measured or not self.first else self.first
            self.worked += took
            self.measured.append(step)
            self.budget.note(took)


@pytest.mark.parametrize(
    ("share", "every", "measuring"), [(0.05, 1, 1.0), (0.05, 10, 3.0), (0.2, 1, 0.3), (0.01, 5, 4)]
)
def test_the_cap_holds_over_the_run(share: float, every: int, measuring: float) -> None:
    clock = Clock(MeasuringBudget(share, every), 1.0, measuring, first=3 * measuring)
    clock.run(0, 2000, 2000)
    assert clock.budget.spent <= share * clock.worked * 1.02
    assert clock.budget.spent >= 0.4 * share * clock.worked, "far fewer than the cap allows"
    assert clock.measured[0] == 0 and clock.measured[-1] == 2000


def test_measured_steps_are_multiples_of_one_interval() -> None:
    cheap, dear = (Clock(MeasuringBudget(0.05, 10), 1.0, seconds) for seconds in (1.0, 7.0))
    for clock in (cheap, dear):
        clock.run(0, 1600, 1600)
    assert len(dear.measured) > 8 and all(step % 160 == 0 for step in dear.measured if step != 10)
    assert len(dear.measured) < len(cheap.measured) and set(dear.measured) <= set(cheap.measured)


def test_what_fits_is_measured_at_every_step_asked_for() -> None:
    """A first measurement that loads and compiles leaves no gap behind it."""
    clock = Clock(MeasuringBudget(0.05, 50), 0.25, 0.4, first=1.0)
    clock.run(0, 400, 400)
    assert clock.measured == list(range(0, 401, 50))


def test_no_cap_and_no_measurements() -> None:
    without = Clock(MeasuringBudget(0.0, 1), 0.1, 60.0)
    without.run(0, 20, 20)
    assert without.measured == list(range(21))
    never = Clock(MeasuringBudget(0.05, 0), 1.0, 1.0)
    never.run(0, 20, 20)
    assert never.measured == []


def test_a_single_measurement_that_is_too_dear_leaves_first_and_last() -> None:
    clock = Clock(MeasuringBudget(0.05, 10), 0.1, 100.0)
    clock.run(0, 200, 200)
    assert clock.measured == [0, 10, 200]  # what the first one says of the next ones is learnt at 10


def test_it_measures_more_again_when_the_machine_has_become_fast() -> None:
    clock = Clock(MeasuringBudget(0.05, 10), 1.0, 20.0)
    clock.run(0, 1600, 4000)
    slow = len(clock.measured)
    clock.measuring = 0.1
    clock.run(1600, 4000, 4000)
    assert slow < 12 and clock.budget.stride == 1


def test_a_resume_carries_on_what_was_spent() -> None:
    whole = Clock(MeasuringBudget(0.05, 1), 1.0, 1.0)
    whole.run(0, 1000, 1000)
    cut = Clock(MeasuringBudget(0.05, 1), 1.0, 1.0)
    cut.run(0, 500, 1000)
    again = MeasuringBudget(0.05, 1)
    again.load(json.loads(json.dumps(cut.budget.facts())))
    assert (again.spent, again.stride, again.expected) == (cut.budget.spent, cut.budget.stride, 1.0)
    cut.budget = again
    cut.run(500, 1000, 1000)
    assert cut.measured == whole.measured
    fresh = MeasuringBudget(0.05, 1)
    fresh.load({})
    assert (fresh.spent, fresh.stride, fresh.expected) == (0.0, 1, 0.0)


def test_the_share_asked_for_is_told() -> None:
    clock = Clock(MeasuringBudget(0.05, 10), 1.0, 2.0)
    clock.run(0, 10, 1000)
    # 4 s are spent; 100 more measurements of 2 s beside 990 steps of 1 s, and the 14 s worked.
    assert clock.budget.share_asked(10, 1000, clock.worked) == pytest.approx(204 / (14 + 990 + 200))
