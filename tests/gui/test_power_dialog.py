"""Tests of the window of a GPU's power limit, and of the strip's button that opens it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core import runs
from core.power import kept
from core.power.job import key_of
from core.power.kept import Result
from core.power.plan import Measured
from core.run_data import RunData
from gui import theme
from gui.plots.timeline import Timeline
from gui.widgets.gpu_strip import GpuStrips
from gui.widgets.power_dialog import PowerDialog
from gui.widgets.status_line import energy_tip
from tests.fixtures.fake_cards import FakeCards
from tests.fixtures.run_folders import new_run
from tests.gui.run_folders import a_step, sensors, started

_NAME = "NVIDIA GeForce RTX 3090"
_ROWS = [Measured(200, 2.0, 180), Measured(300, 2.3, 270), Measured(350, 2.4, 320)]


def result(**values: Any) -> Result:
    known = {"uuid": "GPU-0-fake", "name": _NAME, "job": "foxes", "key": "k", "rest_watts": 20.0, "rows": _ROWS}
    return kept.keep(Result(**{**known, **values}))


@pytest.fixture
def fake() -> FakeCards:
    return FakeCards(limit=280_000)


@pytest.fixture
def dialog(qtbot: QtBot, fake: FakeCards) -> Iterator[PowerDialog]:
    made = PowerDialog(0, _NAME, None, open_nvml=fake.nvml)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: made.found.card is not None, timeout=20_000)
    yield made
    made.hide()
    qtbot.waitUntil(lambda: not (made._reading.busy or made._setting.busy), timeout=20_000)


def test_before_anything_was_measured(dialog: PowerDialog) -> None:
    assert dialog.now.text() == "May draw 280 W of 350 W; 100 to 400 W can be set."
    assert dialog.table.isHidden() and "Nothing was measured on this card yet" in dialog.verdict.text()
    assert dialog.measure.isEnabled() and dialog.default.isEnabled() and not dialog.set.isEnabled()
    assert dialog.problem.isHidden() and dialog.bar.isHidden() and not dialog.isModal()


def test_what_was_measured_and_setting_a_limit(qtbot: QtBot, dialog: PowerDialog, fake: FakeCards) -> None:
    result()
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 3, timeout=20_000)
    assert dialog.table.texts()[0] == ["200 W", "2.00", "180 W", "36,000", "40,000", "most per kWh"]
    assert dialog.table.texts()[1][-1] == "nearly free" and dialog.table.texts()[2][-1] == ""
    assert "Measured with 'foxes'. The rest of the machine counts with 20 W." in dialog.verdict.text()
    assert fake.history == [], "nothing is set without being asked for"
    dialog.table.selectRow(1)
    assert dialog.set.text() == "Set 300 W"
    dialog.set.click()
    qtbot.waitUntil(lambda: dialog.now.text().startswith("May draw 300 W of 350 W"), timeout=20_000)
    assert fake.history == [(0, 300.0)]
    dialog.default.click()
    qtbot.waitUntil(lambda: "350 W, its default" in dialog.now.text(), timeout=20_000)
    assert not dialog.default.isEnabled()


def test_where_setting_is_not_permitted_a_sentence_says_what_to_do(
    qtbot: QtBot, dialog: PowerDialog, fake: FakeCards
) -> None:
    fake.refuse = 4
    dialog.default.click()
    qtbot.waitUntil(lambda: not dialog.problem.isHidden(), timeout=20_000)
    assert "may set its power limit" in dialog.problem.text() and "nvidia-smi -i 0 -pl 350" in dialog.problem.text()
    assert fake.limits == [280_000]


_MEASURING = """
import sys, time
from core.power import kept
from core.power.kept import Result
from core.power.plan import Measured
kept.write_note({"GPU-0-fake": 280.0})
kept.keep(Result("GPU-0-fake", "", "foxes", "k", rows=[Measured(200, 2.0, 180)]))
print("200 W: 2.00 images/s", flush=True)
while not kept.stop_path().exists():
    time.sleep(0.02)
kept.remove_note()
print(sys.argv[1], file=sys.stderr)
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize(("words", "status", "told"), [("Stopped.", 130, ""), ("GPU 0 is at work.", 2, "GPU 0 is at")])
def test_a_measurement_is_a_process_that_is_followed(
    words: str, status: int, told: str, qtbot: QtBot, dialog: PowerDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dialog.command()[1:] == [dialog.command()[1], "power", "--find", "--gpu", "0"]
    monkeypatch.setattr(dialog, "command", lambda: [sys.executable, "-c", _MEASURING, words, str(status)])
    dialog.measure.click()
    assert dialog.measure.isHidden() and not dialog.default.isEnabled()
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 1 and "2.00 images/s" in dialog.progress.text(), timeout=30_000)
    assert not dialog.bar.isHidden()
    dialog.stop.click()
    qtbot.waitUntil(lambda: not dialog.measure.isHidden() and dialog.measure.isEnabled(), timeout=30_000)
    assert dialog.bar.isHidden() and told in dialog.problem.text() and bool(dialog.problem.text()) == bool(told)


def test_a_measurement_that_was_killed_is_told(qtbot: QtBot, fake: FakeCards) -> None:
    kept.note_path().write_text(
        '{"format": 1, "pid": 999999999, "created": 0, "limits": {"GPU-0-fake": 330}}', encoding="utf-8"
    )
    made = PowerDialog(0, _NAME, None, open_nvml=fake.nvml)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: "could not set 330 W again" in made.problem.text(), timeout=20_000)
    assert made.problem.isVisible() and made.bar.isHidden()
    made.hide()


def test_a_card_of_another_machine_is_not_this_one_s(qtbot: QtBot, fake: FakeCards) -> None:
    made = PowerDialog(0, "NVIDIA H100", None, open_nvml=fake.nvml)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: "this machine has no NVIDIA H100 as GPU 0" in made.now.text(), timeout=20_000)
    assert not made.measure.isEnabled() and not made.default.isEnabled()
    made.hide()


def test_the_shown_run_s_training_comes_first(qtbot: QtBot, fake: FakeCards, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    result(job="mine", key=key_of(run.settings()), rows=_ROWS[:2])
    result(job="later", key="other")
    made = PowerDialog(0, _NAME, run.path, open_nvml=fake.nvml)
    qtbot.addWidget(made)
    assert made.command()[-2:] == ["--run", str(run.path)]
    made.show()
    qtbot.waitUntil(lambda: made.found.result is not None, timeout=20_000)
    assert "'mine'" in made.verdict.text() and made.table.rowCount() == 2
    made.hide()


def strips_of(qtbot: QtBot, training: Path | None, limit: float) -> GpuStrips:
    strips = GpuStrips(Timeline())
    qtbot.addWidget(strips)
    strips.set_run(training)
    reading = sensors(1)
    reading.gpus[0].limit_watts = limit
    data = RunData()
    data.feed([started(), a_step(1), reading])
    strips.refresh(data)
    return strips


def test_the_strip_shows_power_against_its_limit(qtbot: QtBot) -> None:
    for limit, words in ((350.0, "280 of 350 W"), (-1.0, "280 W")):
        strips = strips_of(qtbot, None, limit)
        assert strips.strips[0].gauges[1].spark.value_words() == words
        assert not strips.strips[0].power.isHidden()


def test_the_strip_opens_the_window_with_the_run_that_is_shown(qtbot: QtBot, tmp_path: Path) -> None:
    strips = strips_of(qtbot, tmp_path / "run", 350.0)
    strips.show()
    strips.strips[0].power.click()
    assert strips.dialog is not None and strips.dialog.run_path == tmp_path / "run"
    assert strips.dialog.isVisible() and not strips.dialog.isModal()
    qtbot.waitUntil(lambda: "cannot be read" in strips.dialog.now.text(), timeout=20_000)  # type: ignore[union-attr]
    strips.dialog.close()


def test_the_colours_follow_the_theme(qtbot: QtBot, dialog: PowerDialog, qapp: Any) -> None:
    result()
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 3, timeout=20_000)
    try:
        for name in ("dark", "light"):
            tokens = theme.apply(qapp, name)
            item = dialog.table.item(2, 0)
            assert item is not None and item.foreground().color().name() == tokens.text
    finally:
        theme.apply(qapp, "light")


def test_the_status_line_s_tip(tmp_path: Path) -> None:
    data = RunData()
    assert energy_tip(data) == ""
    reading = sensors(1)
    reading.co2_grams = 168
    data.feed([started(), a_step(1), reading])
    assert energy_tip(data).splitlines()[0] == "Energy: 0.42 kWh, 0.13 EUR, 168 g CO2"
    assert runs.list_runs() == []
