"""The window: pages made when first shown, notes, drops, the close question, and a live run found again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPointF, QSettings, Qt, QThreadPool, QUrl
from PySide6.QtGui import QCloseEvent, QDropEvent
from PySide6.QtWidgets import QApplication

from core import demo, paths, presets, runs
from core import events as ev
from core.errors import UserError
from gui import theme
from gui.main_window import PAGES, MainWindow
from gui.pages.base import Page
from gui.widgets.drops import meaning
from gui.worker_process import Workers

STARTER = paths.builtin_presets_folder() / "starter.toml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder is one of this test."""
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def make_window(qtbot, home: Path) -> Iterator[Callable[[], MainWindow]]:
    """Makes windows that remember into a file of this test, and takes them down."""
    made: list[MainWindow] = []
    app = QApplication.instance()
    theme.apply(app, "light")

    def make() -> MainWindow:
        idle = Workers(lambda kind, path: [sys.executable, "-c", "pass"])
        window = MainWindow(idle, QSettings(str(home / "window.ini"), QSettings.Format.IniFormat))
        window.resize(1366, 768)
        window.show()
        qtbot.waitExposed(window)
        made.append(window)
        return window

    yield make
    for window in made:
        window.ask_about_running = lambda name: "keep"
        window.close()
        window.deleteLater()
    QThreadPool.globalInstance().waitForDone(5000)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    theme.signals.cache_clear()  # nobody of this test hears of the next one's themes
    app.setStyleSheet("")


@pytest.fixture
def window(make_window: Callable[[], MainWindow]) -> MainWindow:
    """A window."""
    return make_window()


def _run(name: str = "a run", steps: int = 5, ended: str = "finished") -> runs.Run:
    values = presets.full_values(presets.read(STARTER))
    values["output.name"] = name
    run = runs.create(presets.build(values, "test"))
    lines = [
        ev.Step(step=n, loss=0.1, rates={"unet": 1e-4}, images=n, epoch=0.0, speed=2.0, grad_norm=1.0, seconds=n)
        for n in range(1, steps + 1)
    ]
    written: list[ev.Event] = [*lines, ev.Ended(state=ended, step=steps)] if ended else [*lines]
    run.events_path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in written))
    return run


def _make_alive(run: runs.Run) -> None:
    """This test's process stands for the worker."""
    facts = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (run.path / "worker.json").write_text(json.dumps(facts))


# -- pages ----------------------------------------------------------------------------------------------------


def test_only_home_is_made_at_the_start(window: MainWindow) -> None:
    assert window.current == "home"
    assert [name for name in (place.name for place in PAGES) if window.page(name) is not None] == ["home"]


def test_every_page_opens_and_is_made_once(qtbot, window: MainWindow) -> None:
    for place in PAGES:
        qtbot.mouseClick(window.rail.buttons[place.name], Qt.MouseButton.LeftButton)
        page = window.page(place.name)
        assert isinstance(page, Page), place.name
        assert page.isVisible() and window.title_bar.title.text() == place.title
        assert page.name == place.name
    first = window.page("home")
    window.show_page("home")
    assert window.page("home") is first


def test_keys_switch_pages(qtbot, window: MainWindow) -> None:
    window.activateWindow()
    qtbot.waitActive(window)
    for number, place in enumerate(PAGES, 1):
        qtbot.keyClick(window, Qt.Key(Qt.Key.Key_0.value + number), Qt.KeyboardModifier.ControlModifier)
        assert window.current == place.name


def test_a_page_that_cannot_be_made_says_so(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    from gui.widgets.rail import PagePlace

    page = window._make(PagePlace("odd", "Odd", "help", "gui.pages.nothing:Nothing"))
    assert not isinstance(page, Page)
    page.deleteLater()


def test_fits_a_small_screen_without_a_horizontal_bar(qtbot, window: MainWindow) -> None:
    for place in PAGES:
        window.show_page(place.name)
        assert window.minimumSizeHint().width() <= 1366, place.name
    assert window.width() == 1366


def test_the_rail_collapses_and_is_remembered(make_window: Callable[[], MainWindow]) -> None:
    window = make_window()
    window.rail.set_collapsed(True)
    window.close()
    assert make_window().rail.collapsed


def test_undo_by_key(qtbot, window: MainWindow) -> None:
    window.activateWindow()
    qtbot.waitActive(window)
    window.context.settings.set("training.seed", 3)
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.context.settings.value("training.seed") == 0
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(window, Qt.Key.Key_Z, both)
    assert window.context.settings.value("training.seed") == 3


# -- notes ----------------------------------------------------------------------------------------------------


def test_user_errors_become_a_note(window: MainWindow) -> None:
    def fail() -> None:
        raise UserError("the disk is full; free some room.")

    window.attempt(fail)
    assert window.note.isVisible() and "disk is full" in window.note.text
    assert window.note.level == "error"
    window.note._close.click()
    assert not window.note.isVisible()


def test_training_without_a_model_is_refused_with_the_reason(window: MainWindow) -> None:
    window.show_page("training")
    page = window.page("training")
    assert not page.train.isEnabled() and "Base model" in page.train.toolTip()
    window.context.train_requested.emit()
    assert "model.base" in window.note.text
    assert runs.list_runs() == []


def test_a_problem_leads_to_its_field(qtbot, window: MainWindow) -> None:
    window.show_page("training")
    page = window.page("training")
    keys = [line.key for line in page.panel.problems.lines]
    assert "data.folders" in keys
    line = page.panel.problems.lines[keys.index("data.folders")]
    qtbot.mouseClick(line, Qt.MouseButton.LeftButton)
    assert page.form.find_row("data.folders").isVisible()


def test_fixing_everything_allows_to_train(qtbot, window: MainWindow) -> None:
    window.show_page("training")
    page = window.page("training")
    window.attempt(window.open_path, STARTER)
    qtbot.waitUntil(page.train.isEnabled)
    preset = demo.settings().training
    assert page.panel.facts.texts()["Steps"] == str(preset.max_steps)
    assert page.panel.facts.texts()["Effective batch"] == str(preset.batch_size)


def test_a_request_for_help_opens_the_reference(qtbot, window: MainWindow) -> None:
    window.context.help_requested.emit("training.batch_size")
    qtbot.waitUntil(lambda: window.current == "help" and "Batch size" in window.page("help").text.toPlainText())
    assert "training.batch_size" in window.page("help").text.toPlainText()


# -- opening --------------------------------------------------------------------------------------------------


def test_what_dropped_things_mean(home: Path) -> None:
    run = _run()
    (home / "model").mkdir()
    (home / "model" / "model_index.json").write_text("{}")
    assert meaning(run.path) == "run"
    assert meaning(home / "model") == "model"
    assert meaning(home) == "pictures"
    assert meaning(home / "x.safetensors") == "model"
    assert meaning(home / "x.TOML") == "preset"
    assert meaning(home / "x.exe") == "unknown"


def _drop(window: MainWindow, *paths_: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths_])
    place, action = QPointF(10, 10), Qt.DropAction.CopyAction
    window.dropEvent(QDropEvent(place, action, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier))


def test_dropping_pictures_a_model_and_a_preset(window: MainWindow, home: Path) -> None:
    folder = home / "pictures"
    folder.mkdir()
    _drop(window, folder)
    assert window.context.settings.value("data.folders") == [str(folder)] and window.current == "dataset"
    model = home / "m.safetensors"
    model.touch()
    _drop(window, model)
    assert window.context.settings.value("model.base") == str(model) and window.current == "training"
    _drop(window, STARTER)
    assert window.context.settings.preset_name
    _drop(window, home / "x.exe")
    assert "x.exe" in window.note.text


def test_dropping_a_run_shows_it(qtbot, window: MainWindow) -> None:
    run = _run("dropped")
    _drop(window, run.path)
    assert window.current == "monitor"
    qtbot.waitUntil(lambda: window.status.name.text() == "dropped")
    qtbot.waitUntil(lambda: "step 5" in window.status.progress.text())


def test_home_lists_runs_and_offers_to_go_on(qtbot, window: MainWindow) -> None:
    run = _run("half done", ended="stopped")
    (run.path / "states" / "step5").mkdir(parents=True)
    page = window.page("home")
    page.refresh()
    qtbot.waitUntil(lambda: len(page.runs.rows) == 1)
    row = page.runs.rows[0]
    assert row.facts.name == "half done" and row.facts.can_go_on
    with qtbot.waitSignal(window.context.resume_requested) as caught:
        row.go_on.emit(row.facts.path)
    assert caught.args == [run.path]


# -- a live run -----------------------------------------------------------------------------------------------


def test_a_live_run_is_found_again(qtbot, window: MainWindow) -> None:
    _run("old")
    run = _run("alive", ended="")
    _make_alive(run)
    window.find_live_run()
    qtbot.waitUntil(lambda: window.context.run is not None and window.context.run.alive, timeout=10_000)
    qtbot.waitUntil(lambda: window.status.name.text() == "alive")
    assert window.rail.buttons["monitor"]._alive
    assert run.path in window.workers.running()


@pytest.mark.parametrize(
    ("answer", "closes", "asked"),
    [("keep", True, ""), ("stop", True, "stop"), ("cancel", False, "")],
    ids=str,
)
def test_closing_asks_while_a_run_is_at_work(qtbot, window: MainWindow, answer: str, closes: bool, asked: str) -> None:
    run = _run("alive", ended="")
    _make_alive(run)
    window.find_live_run()
    qtbot.waitUntil(lambda: window.context.run is not None and window.context.run.alive, timeout=10_000)
    questions = []
    window.ask_about_running = lambda name: questions.append(name) or answer
    event = QCloseEvent()
    window.closeEvent(event)
    assert questions == ["alive"]
    assert event.isAccepted() == closes
    commands = run.commands_path.read_text() if run.commands_path.exists() else ""
    assert (asked in commands) if asked else commands == ""


def test_closing_without_a_run_asks_nothing(window: MainWindow) -> None:
    window.ask_about_running = lambda name: pytest.fail("asked")
    assert window.close()


def test_the_end_of_a_run_is_told(window: MainWindow) -> None:
    run = _run("mine")
    window.workers.ended.emit(run.path, "finished")
    assert window.note.text == "mine is done." and window.note.level == "info"
    (run.path / "console.log").write_text("Loading\nthe model is damaged\n")
    window.workers.ended.emit(run.path, "new")
    assert "the model is damaged" in window.note.text and window.note.level == "error"


# -- the trap of PySide6 6.12 ---------------------------------------------------------------------------------


def test_repaints_do_not_eat_references_to_none(qtbot, window: MainWindow) -> None:
    """PySide6 6.12.0 on Python 3.11 lost a reference to None at most void calls; see shared/style.md."""
    window.show_page("training")
    qtbot.wait(300)
    before = sys.getrefcount(None)
    for _ in range(60):
        window.grab()
    assert sys.getrefcount(None) > before - 200


def test_the_theme_changes_live(qtbot, window: MainWindow) -> None:
    window.show_page("training")
    app = QApplication.instance()
    light = window.grab().toImage().pixelColor(300, 700).lightness()
    theme.apply(app, "dark")
    qtbot.wait(50)
    dark = window.grab().toImage().pixelColor(300, 700).lightness()
    theme.apply(app, "light")
    assert light > 200 and dark < 60
