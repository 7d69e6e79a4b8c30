"""Tests of core/outlook.py: what the settings lead to."""

from __future__ import annotations

from typing import Any

import pytest

from core import presets
from core.outlook import epoch_ends, outlook, total_steps


def made(**values: Any) -> Any:
    return presets.build({key.replace("__", "."): value for key, value in values.items()}, "test")


def test_a_run_in_numbers() -> None:
    settings = made(training__batch_size=2, training__accumulation=3, training__max_epochs=4, hardware__processes=2)
    # 120 pictures in 60 batches of 2 over both processes; a step takes 3 batches on each of 2 processes.
    found = outlook(settings, 120, 60)
    assert (found.images_per_step, found.steps_per_epoch, found.steps) == (12, 10.0, 40)
    assert (found.epochs, found.images) == (4.0, 480)


def test_the_shorter_of_steps_and_epochs_counts() -> None:
    assert total_steps(made(training__max_steps=5, training__max_epochs=1), 10) == 5
    assert total_steps(made(training__max_steps=50, training__max_epochs=1), 10) == 10
    assert total_steps(made(training__max_epochs=1, training__accumulation=4), 10) == 3  # a started step is done


def test_before_the_pictures_are_counted() -> None:
    assert total_steps(made(training__max_epochs=1), None) is None
    assert total_steps(made(training__max_steps=7, training__max_epochs=1), None) == 7
    found = outlook(made(training__max_epochs=1), None, None)
    assert (found.steps, found.epochs, found.images, found.checkpoints) == (None, None, None, None)


@pytest.mark.parametrize(
    ("steps", "every_steps", "every_epochs", "wanted"),
    [(100, 30, 0, 4), (100, 50, 0, 2), (100, 0, 0, 1), (10, 500, 0, 1), (100, 0, 1, 2), (101, 0, 1, 3), (49, 0, 1, 1)],
)
def test_checkpoints(steps: int, every_steps: int, every_epochs: int, wanted: int) -> None:
    settings = made(
        training__max_steps=steps, output__save_every_steps=every_steps, output__save_every_epochs=every_epochs
    )
    assert outlook(settings, 50, 50).checkpoints == wanted


def test_the_ends_of_epochs() -> None:
    def ends(every: int, accumulation: int, batches: int) -> list[int]:
        return [step for step in range(0, 13) if epoch_ends(step, every, accumulation, batches)]

    assert ends(1, 1, 4) == [4, 8, 12] and ends(2, 1, 4) == [8] and ends(0, 1, 4) == ends(1, 1, 0) == []
    assert ends(1, 2, 5) == [3, 5, 8, 10], "a step that brings the border with it"


def test_rates_follow_the_effective_batch_when_they_are_to() -> None:
    from core.outlook import effective_rates

    common = {
        "training__learning_rate": 1e-5,
        "training__text_encoder_learning_rate": 2e-6,
        "training__batch_size": 3,
        "training__accumulation": 6,
        "hardware__processes": 2,
    }
    plain = effective_rates(made(**common))
    assert (plain["unet"], plain["text_encoder"]) == (1e-5, 2e-6)
    sqrt = effective_rates(made(**common, training__rate_scaling="sqrt"))
    assert (sqrt["unet"], sqrt["text_encoder"]) == (pytest.approx(6e-5), pytest.approx(1.2e-5))
    linear = effective_rates(made(**common, training__rate_scaling="linear"))
    assert (linear["unet"], linear["text_encoder"]) == (pytest.approx(36e-5), pytest.approx(7.2e-5))
    found = outlook(made(**common, training__rate_scaling="sqrt"), None, None)
    assert (found.learning_rate, found.rate_scaled) == (pytest.approx(6e-5), True)
    found = outlook(made(**common), None, None)
    assert (found.learning_rate, found.rate_scaled) == (1e-5, False)
