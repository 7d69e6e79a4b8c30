"""Tests of core/energy.py: energy, money and CO2 of a run, for 1,000 images and at its end."""

from __future__ import annotations

import pytest

from core import events as ev
from core.energy import Amount, Spent, amount_words, co2_words, sentences, spent
from core.run_data import RunData
from tests.fixtures.run_folders import started, step, telemetry


def reading(number: int, kwh: float, source: str = "power") -> ev.Telemetry:
    event = telemetry(number, kwh)
    event.co2_grams = 400 * kwh
    event.energy_source = source
    return event


def course(steps: int, total: int = 100, before: float = 0.5) -> RunData:
    """A run that used `before` kWh ahead of its first step and 0.01 kWh with each; a reading at every other step."""
    data = RunData()
    data.feed([started(total=total), reading(0, before)])
    for number in range(1, steps + 1):
        data.feed([step(number)])
        if number % 2 == 0:
            data.feed([reading(number, before + 0.01 * number)])
    return data


def test_what_a_run_used_and_what_that_is_for_1000_images() -> None:
    found = spent(course(40))
    assert (found.currency, found.source) == ("EUR", "power")
    assert (found.kwh, found.cost, found.co2_grams) == pytest.approx((0.9, 0.27, 360))
    each = found.per_1000_images
    assert each is not None and (each.kwh, each.cost, each.co2) == pytest.approx((0.9 / 0.16, 0.27 / 0.16, 360 / 0.16))


def test_what_came_before_the_first_step_is_not_projected_again() -> None:
    end = spent(course(40)).projected
    assert end is not None and (end.kwh, end.cost, end.co2) == pytest.approx((1.5, 0.45, 600))
    # In proportion to the steps it would be 2.25 kWh.


def test_a_run_that_slowed_down_is_projected_by_its_later_half() -> None:
    data = course(20, before=0.0)
    for number in range(21, 41):
        data.feed([step(number), reading(number, 0.2 + 0.02 * (number - 20))])
    end = spent(data).projected
    assert end is not None and end.kwh == pytest.approx(0.6 + 60 * 0.02)


@pytest.mark.parametrize("steps", [0, 2, 9])
def test_nothing_is_projected_before_there_are_some_steps(steps: int) -> None:
    assert spent(course(steps)).projected is None


def test_a_finished_run_is_at_its_end_however_short() -> None:
    data = course(6)
    data.feed([ev.Ended(state="finished", step=6)])
    assert spent(data).projected == Amount(*(pytest.approx(value) for value in (0.56, 0.168, 224)))
    stopped = course(40)
    stopped.feed([ev.Ended(state="stopped", step=40)])
    assert stopped.ended is not None and spent(stopped).projected is not None


def test_nothing_is_made_up() -> None:
    assert spent(RunData()) == Spent() and sentences(Spent()) == []
    data = RunData()
    data.feed([started(), step(1), reading(1, 0.0, "none")])
    assert spent(data) == Spent(currency="EUR")
    data.feed([started(), step(1), reading(1, 0.7, "none")])  # went on where nothing measures
    assert spent(data).kwh == 0.7


def test_after_a_resume_the_energy_of_the_lost_steps_stays() -> None:
    data = course(40, before=0.0)
    data.feed([started(step=20), reading(0, 0.4), *(step(n) for n in range(21, 31)), reading(30, 0.5)])
    found = spent(data)
    assert found.kwh == 0.5 and found.per_1000_images is not None
    assert found.per_1000_images.kwh == pytest.approx(0.5 / 0.12)
    assert found.projected is not None and found.projected.kwh == pytest.approx(0.5 + 70 * 0.01)


def test_words() -> None:
    assert (co2_words(0), co2_words(120.4), co2_words(3400)) == ("", "120 g CO2", "3.4 kg CO2")
    assert amount_words(Amount(1.239, 0.4, 0), "EUR") == "1.24 kWh, 0.40 EUR"
    assert amount_words(Amount(0.0123, 0.0041, 5), "EUR") == "12.3 Wh, 0.0041 EUR, 5 g CO2"
    assert sentences(spent(course(40))) == [
        "Energy: 0.90 kWh, 0.27 EUR, 360 g CO2",
        "For 1,000 images: 5.62 kWh, 1.69 EUR, 2.2 kg CO2",
        "At its end: 1.50 kWh, 0.45 EUR, 600 g CO2",
    ]
