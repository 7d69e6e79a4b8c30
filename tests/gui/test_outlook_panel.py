"""Tests of gui/widgets/outlook_panel.py: the rate is shown when it follows the batch."""

from __future__ import annotations

from typing import Any

from core import presets
from core.outlook import outlook
from gui.widgets.outlook_panel import fact_rows


def rows(**changes: Any) -> dict[str, str]:
    values = {"training.learning_rate": 1e-5, "training.batch_size": 6, "training.accumulation": 6}
    values.update({key.replace("__", "."): value for key, value in changes.items()})
    found = outlook(presets.build(values, "test"), 100, 20)
    return {what: how_much for what, how_much, _ in fact_rows(found, None)}


def test_a_scaled_rate_is_shown() -> None:
    assert rows(training__rate_scaling="sqrt")["Learning rate"] == "6e-5"
    assert rows(training__rate_scaling="linear")["Learning rate"] == "0.00036"


def test_a_rate_that_is_as_set_is_not_repeated() -> None:
    assert "Learning rate" not in rows()
