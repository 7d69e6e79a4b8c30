"""Tests of the window of sweeps: what is typed becomes runs, a real queue works them off, windows find it again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from core import presets
from core.paths import RESOURCES
from core.sweep import file
from core.sweep.folder import SweepFolder, list_sweeps
from core.sweep.typed import Draft
from gui.context import Context
from gui.settings_model import SettingsModel
from gui.widgets.sweep_dialog import SweepDialog
from gui.worker_process import Workers
from tests.fixtures.processes import environment

RATE, BATCH, STEPS = "training.learning_rate", "training.batch_size", "training.max_steps"
LONG = 60_000
#: The queue with a pretending worker.
_PROCESS = """
import sys
from pathlib import Path
from core.sweep import queue
from tests.fixtures.sweep_worker import launch
queue.POLL_SECONDS = 0.05
queue._ASK_AGAIN_SECONDS = 0.3
sys.exit(queue.work(Path(sys.argv[1]), launch))
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Settings that could start."""
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "pictures").mkdir()
    made = Context(SettingsModel(), QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    values = {
        "model.base": str(tmp_path / "model.safetensors"),
        "data.folders": [str(tmp_path / "pictures")],
        STEPS: 30,
        "training.method": "full",
        "hardware.device": "cpu",
    }
    made.settings.load_values(values)
    return made


@pytest.fixture
def dialog(qtbot: QtBot, context: Context) -> Iterator[SweepDialog]:
    made = make(qtbot, context)
    yield made
    made.queue.leave()


def make(qtbot: QtBot, context: Context) -> SweepDialog:
    workers = Workers(lambda kind, path: [sys.executable, "-c", _PROCESS, str(path)], environment(), poll_ms=50)
    made = SweepDialog(context, workers=workers)
    workers.setParent(made)
    qtbot.addWidget(made)
    return made


def planned(qtbot: QtBot, dialog: SweepDialog) -> list[list[str]]:
    dialog.planner.refresh()
    qtbot.waitUntil(lambda: dialog.planner.found is not None, timeout=10_000)
    return dialog.planner.table.texts()


def test_settings_are_found_by_their_names_in_other_trainers_too(qtbot: QtBot, dialog: SweepDialog) -> None:
    search = dialog.planner.search
    search.text.setText("train_batch_size")
    assert [search.list.item(0).data(Qt.ItemDataRole.UserRole)] == [BATCH]
    qtbot.keyClick(search.text, Qt.Key.Key_Return)
    assert [axis.entry.key for axis in dialog.planner.rows] == [BATCH] and search.text.text() == ""
    search.text.setText("batch size")
    found = [search.list.item(n).data(Qt.ItemDataRole.UserRole) for n in range(search.list.count())]
    assert found and BATCH not in found, "what varies already is not offered again"
    search.text.setText("xyzzy")
    assert search.list.item(0).text() == "Nothing is called that"


def test_what_is_typed_becomes_runs_with_their_cost(qtbot: QtBot, dialog: SweepDialog) -> None:
    batch = dialog.planner.add(BATCH)
    batch.values.setText("1, 4")
    dialog.planner.add(RATE, Draft(RATE, "rule", "1e-4 * sqrt(batch_size)"))
    dialog.planner.add(STEPS, Draft(STEPS, "rule", "images / batch_size"))
    dialog.planner.constants.setText("images = 40")
    assert planned(qtbot, dialog) == [["1", "1", "1e-4", "40"], ["2", "4", "2e-4", "10"]]
    facts = dialog.planner.facts.texts()
    assert facts["Runs"] == "2" and facts["Steps in all"] == "50" and "unknown until" in facts["Time"]
    assert dialog.planner.start.isEnabled() and dialog.planner.start.text() == "Start 2 runs"
    assert not dialog.planner._numbers_box.isHidden()


def test_ranges_ticks_and_side_by_side(qtbot: QtBot, dialog: SweepDialog) -> None:
    rate = dialog.planner.add(RATE)
    assert rate.way.currentData() == "log" and len(rate.chips.texts) == 5
    rate.start.setText("1e-5")
    rate.stop.setText("1e-3")
    rate.count.setText("3")
    rate.refresh()
    assert rate.chips.texts == ["1e-5", "1e-4", "0.001"]
    optimizer = dialog.planner.add("training.optimizer")
    assert [tick.text() for tick in optimizer.ticks if tick.isChecked()] == ["adamw"]
    lion, sgd = (next(tick for tick in optimizer.ticks if tick.text() == name) for name in ("lion", "sgd"))
    lion.click()
    sgd.click()
    assert len(planned(qtbot, dialog)) == 9
    dialog.show()
    optimizer.together.click()
    assert [row[1:3] for row in planned(qtbot, dialog)] == [["1e-5", "adamw"], ["1e-4", "lion"], ["0.001", "sgd"]]
    dialog.planner.remove(optimizer)
    dialog.planner.options.set("sweep.seeds", 2)
    assert len(planned(qtbot, dialog)) == 6


def test_mistakes_stand_where_they_are_made(qtbot: QtBot, dialog: SweepDialog, context: Context) -> None:
    batch = dialog.planner.add(BATCH)
    batch.values.setText("1, x")
    batch.refresh()
    assert "'x' is not a number" in batch.problem.text()
    dialog.planner.refresh()
    assert not dialog.planner.start.isEnabled() and "'x' is not a number" in dialog.planner.problem.text()
    batch.values.setText("1, 0")
    dialog.planner.refresh()
    qtbot.waitUntil(lambda: "training.batch_size = 0" in dialog.planner.problem.text(), timeout=10_000)
    batch.values.setText("1, 2")
    context.settings.set("model.base", "")
    dialog.planner.refresh()
    qtbot.waitUntil(lambda: "choose the model" in dialog.planner.problem.text(), timeout=10_000)
    assert not dialog.planner.start.isEnabled()


def test_a_file_comes_into_the_form_and_goes_out(qtbot: QtBot, dialog: SweepDialog, tmp_path: Path) -> None:
    dialog.planner.add(BATCH).values.setText("1, 2")
    dialog.planner.add(RATE)
    dialog.planner.name.setText("Mine")
    before = planned(qtbot, dialog)
    dialog.planner.write_file(tmp_path / "mine.toml")
    read = file.read(tmp_path / "mine.toml")
    assert read.name == "Mine" and file.base_values(read)[STEPS] == 30
    for axis in list(dialog.planner.rows):
        dialog.planner.remove(axis)
    dialog.planner.read_file(tmp_path / "mine.toml")
    assert planned(qtbot, dialog) == before
    dialog.planner.read_file(tmp_path / "none.toml")
    assert "cannot be read" in dialog.planner.problem.text()


def test_a_files_base_becomes_the_settings_and_can_be_undone(
    qtbot: QtBot, dialog: SweepDialog, context: Context
) -> None:
    context.settings.set("model.base", "")
    context.settings.set("data.pictures", 0)
    dialog.planner.read_file(RESOURCES / "sweeps" / "starter-rates.toml")
    assert context.settings.value("model.base") and context.settings.value("data.pictures") == 20
    assert len(planned(qtbot, dialog)) == 5 and dialog.planner.start.isEnabled()
    context.settings.undo()
    assert context.settings.value("model.base") == "" and context.settings.value("data.pictures") == 0


def start(qtbot: QtBot, dialog: SweepDialog, rates: str, steps: int = 30) -> SweepFolder:
    dialog.show()
    dialog.context.settings.set(STEPS, steps)
    dialog.planner.add(RATE, Draft(RATE, text=rates))
    planned(qtbot, dialog)
    dialog.planner.start.click()
    folder = dialog.queue.folder
    assert folder is not None
    return folder


def states(dialog: SweepDialog) -> list[str]:
    return [row.state for row in dialog.queue.rows]


def test_a_sweep_from_the_button_to_its_table(qtbot: QtBot, dialog: SweepDialog, tmp_path: Path) -> None:
    dialog.queue._timer.setInterval(100)
    folder = start(qtbot, dialog, "1e-5, 1e-4, 2", steps=40)
    qtbot.waitUntil(lambda: dialog.queue._state == "finished", timeout=LONG)
    assert states(dialog) == ["finished", "finished", "ended early"]
    texts = dialog.queue.table.texts()
    assert texts[0][1] == "Learning rate 1e-5" and texts[0][3] == "40" and texts[0][4].startswith("0.05")
    assert "diverged" in texts[2][1] and texts[2][2] == "ended early, diverged"
    assert dialog.queue.best.text().startswith("Lowest so far: Learning rate 1e-5")
    assert dialog.queue.go_on.isHidden() and dialog.queue.stop.isHidden()
    dialog.queue.write_csv(tmp_path / "table.csv")
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 4
    shown: list[Any] = []
    dialog.context.run_requested.connect(shown.append)
    dialog.queue.table.selectRow(1)
    dialog.queue.watch.click()
    assert shown == [folder.run_path(folder.plan.runs[1].id)]
    assert presets.thaw(shown[0] / "settings.toml").training.learning_rate == 1e-4


def test_the_window_closes_and_the_next_one_finds_the_sweep(
    qtbot: QtBot, dialog: SweepDialog, context: Context
) -> None:
    folder = start(qtbot, dialog, "1e-5, 2e-5, 3e-5", steps=300)
    qtbot.waitUntil(lambda: folder.process.worker_pid() is not None, timeout=LONG)
    dialog.close()
    again = make(qtbot, context)
    again.queue._timer.setInterval(100)
    again.show()
    qtbot.waitUntil(lambda: again.queue.folder is not None, timeout=LONG)
    assert again.queue.folder is not None and again.queue.folder.path == folder.path
    qtbot.waitUntil(lambda: states(again)[:1] == ["running"], timeout=LONG)
    again.queue.table.selectRow(2)
    again.queue.up.click()
    qtbot.waitUntil(lambda: [row.id[:3] for row in again.queue.rows] == ["001", "003", "002"], timeout=LONG)
    chosen = again.queue._chosen()
    assert chosen is not None and chosen.id.startswith("003"), "the chosen run stays chosen when it moves"
    again.queue.skip.click()
    qtbot.waitUntil(lambda: states(again)[1:2] == ["skipped"], timeout=LONG)
    again.queue.stop.click()
    qtbot.waitUntil(lambda: again.queue._state == "paused", timeout=LONG)
    assert states(again) == ["waiting", "skipped", "waiting"] and 0 < again.queue.rows[0].steps_done < 300
    assert not again.queue.go_on.isHidden()
    again.queue.go_on.click()
    qtbot.waitUntil(lambda: again.queue._state == "running", timeout=LONG)
    again.queue.pause.click()
    assert again.queue.pause.text() == "Do not pause"
    qtbot.waitUntil(lambda: again.queue._state == "paused", timeout=5 * LONG)  # the present run works to its end
    assert states(again) == ["finished", "skipped", "waiting"]
    again.queue.leave()


def test_old_sweeps_stand_in_the_menu(qtbot: QtBot, dialog: SweepDialog) -> None:
    dialog.queue._timer.setInterval(100)
    start(qtbot, dialog, "1e-5, 2e-5", steps=10)
    qtbot.waitUntil(lambda: dialog.queue._state == "finished", timeout=LONG)
    dialog.list_sweeps()
    qtbot.waitUntil(lambda: not dialog._listing.busy, timeout=LONG)
    assert [dialog.chooser.itemText(n) for n in range(dialog.chooser.count())] == ["A new sweep", "Sweep (done)"]
    assert dialog.chooser.currentIndex() == 1
    dialog.chooser.setCurrentIndex(0)
    dialog._show_chosen()
    assert dialog._stack.currentWidget() is dialog.planner and len(list_sweeps()) == 1


def test_the_training_page_opens_it(qtbot: QtBot, context: Context) -> None:
    from gui.pages.training import TrainingPage

    page = TrainingPage(context)
    qtbot.addWidget(page)
    page.sweep.click()
    opened = page._sweeps
    assert isinstance(opened, SweepDialog) and opened.isVisible()
    page.open_sweeps()
    assert page._sweeps is opened
    opened.close()
