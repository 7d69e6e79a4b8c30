"""Tests of core/power/plan.py: limits to try, and the choice among measured ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import UserError
from core.power.limits import Card, cards
from core.power.plan import Measured, choose, limits_to_try, parse_limits, sentence
from tests.fixtures.fake_cards import FakeCards


@pytest.fixture
def card() -> Card:
    return cards(FakeCards(limit=280_000).nvml())[0]


#: A card whose last watts bring little: images/s and mean watts under each limit.
CURVE = [
    Measured(100, 1.0, 98),
    Measured(150, 1.9, 148),
    Measured(200, 2.5, 198),
    Measured(250, 2.88, 247),
    Measured(300, 2.95, 290),
    Measured(350, 3.0, 320),
]


def test_limits_go_from_the_least_to_the_default(card: Card) -> None:
    assert limits_to_try(card) == [100, 150, 200, 250, 300, 350]
    assert limits_to_try(replace(card, least_watts=100.3, default_watts=171.7)) == [100.3, 115, 130, 145, 155, 171.7]
    assert limits_to_try(replace(card, least_watts=300, default_watts=300)) == [300]


def test_limits_that_are_named(card: Card) -> None:
    assert parse_limits("300, 200,now,300", card) == [200, 280, 300]
    for text, says in (("50", "100 up to 400 W"), ("2oo", "with commas between"), (",", "at least one limit")):
        with pytest.raises(UserError, match=says):
            parse_limits(text, card)


def test_the_card_s_optimum_is_not_the_machine_s() -> None:
    assert Measured(1, 2.0, 180).images_per_kwh() == pytest.approx(40_000)
    assert Measured(1, 2.0, 180).images_per_kwh(20) == pytest.approx(36_000)
    found = choose(CURVE)
    assert found is not None and (found.best, found.best_for_card, found.nearly_free) == (150, 150, 250)
    found = choose(CURVE, rest_watts=150)
    assert found is not None and (found.best, found.best_for_card, found.nearly_free) == (250, 150, 250)
    assert choose([]) is None


def test_nearly_free_means_at_most_a_twentieth_slower() -> None:
    rows = [Measured(100, 0.949, 50), Measured(200, 0.95, 90), Measured(300, 1.0, 100)]
    found = choose(rows)
    assert found is not None and (found.best, found.nearly_free) == (100, 200)
    same = choose([Measured(300, 1.0, 100), Measured(200, 1.0, 100)])
    assert same is not None and same.best == 200


def test_it_is_told_in_words() -> None:
    assert sentence([]) == "" and sentence(CURVE[:1]).startswith("Only 100 W was measured")
    assert sentence(CURVE, 150) == (
        "Most images for a kWh: 250 W, +14 % images per kWh at 96 % of the speed of 350 W. "
        "The card alone would be best at 150 W."
    )
    assert "Nearly free of loss: 250 W, +24 % images per kWh" in sentence(CURVE)
    assert sentence([Measured(100, 1.0, 100), Measured(200, 3.0, 200)]).startswith(
        "Most images for a kWh: 200 W, the highest limit measured."
    )
