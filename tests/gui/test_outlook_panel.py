"""Tests of gui/widgets/outlook_panel.py: the rate that follows the batch, epochs that follow it at once."""

from __future__ import annotations

from typing import Any

from core import presets
from core.data.index import Index
from core.data.report import make_report
from core.outlook import outlook
from core.paths import ROOT
from gui.context import Context
from gui.settings_model import SettingsModel
from gui.widgets.outlook_panel import OutlookPanel, fact_rows


def rows(**changes: Any) -> dict[str, str]:
    values = {"training.learning_rate": 1e-5, "training.batch_size": 6, "training.accumulation": 6}
    values.update({key.replace("__", "."): value for key, value in changes.items()})
    found = outlook(presets.build(values, "test"), 100, 20)
    return {what: how_much for what, how_much, _ in fact_rows(found, None)}


def test_a_scaled_rate_is_shown() -> None:
    assert rows(training__rate_scaling="sqrt")["Learning rate"] == "6e-5"
    assert rows(training__rate_scaling="linear")["Learning rate"] == "3.6e-4"


def test_a_rate_that_is_as_set_is_not_repeated() -> None:
    assert "Learning rate" not in rows()


def test_epochs_follow_the_batch_before_the_report_is_made_anew(qtbot: Any, tmp_path: Any) -> None:
    model = SettingsModel()
    model.load_preset(presets.builtin()["starter"])
    context = Context(model)
    panel = OutlookPanel(context)
    qtbot.addWidget(panel)
    settings = model.sound_settings()
    with Index(tmp_path / "index.sqlite") as index:
        index.scan([ROOT / "resources" / "starter" / "pictures"])
        context.report = make_report(index, settings)
    assert settings.training.batch_size == 8 and context.report.train == 172
    panel.refresh()
    assert panel.facts.texts()["Steps per epoch"] == str(context.report.steps_per_epoch) == "23"
    model.set("training.batch_size", 2)
    panel.refresh()
    assert panel.facts.texts()["Steps per epoch"] == "87" and panel.facts.texts()["Epochs"] == "4.6"
