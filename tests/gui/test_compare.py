"""Compare on real run folders: what is drawn, marked, listed, scaled, exported, noted, and where a point leads."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QSettings, QThreadPool
from PySide6.QtGui import QColor, QImage

from core import events as ev
from core import run_notes
from gui import theme
from gui.context import Context
from gui.pages.compare import ComparePage
from gui.run_colors import MANY, color
from gui.settings_model import SettingsModel
from tests.fixtures.run_folders import new_run, started, write_events
from tests.fixtures.run_folders import step as a_step
from tests.fixtures.tfevents import write_run
from tests.gui.run_folders import picture


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))


def _run(name: str, bottom: float, speed: float = 1.0, **settings: object) -> Path:
    """A run of 100 steps: a bowl whose bottom lies at step 50 / speed, with a sample and a checkpoint."""
    run = new_run(output__name=name, **settings)
    events: list[ev.Event] = [started()]
    for number in range(101):
        events += [a_step(number, 0.1 + 0.01 * (number % 7))] if number else []
        if number % 4 == 0:
            loss = bottom + 4e-6 * (speed * number - 50) ** 2
            events.append(ev.Evaluated(step=number, split="validation", loss=loss, buckets=[loss], duration=1))
    picture(run.path / "samples/a.png")
    events.append(ev.Sample(step=40, path="samples/a.png", prompt="a fox", seed=7, index=0))
    events.append(ev.Checkpoint(step=60, path="checkpoints/x-step00000060.safetensors", bytes=1))
    write_events(run, [*events, ev.Ended(state="finished", step=100)])
    return run.path


@pytest.fixture
def page(qtbot, qapp, tmp_path: Path) -> Iterator[ComparePage]:
    theme.apply(qapp, "light")
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    made = ComparePage(Context(SettingsModel(), store))
    qtbot.addWidget(made)
    made.resize(1180, 680)
    made.show()
    yield made
    made.closed()
    QThreadPool.globalInstance().waitForDone(5000)


def _show(qtbot, page: ComparePage, *paths: Path) -> None:
    page.shown()
    qtbot.waitUntil(lambda: not page._lists.busy and not page._first, timeout=10_000)
    page.choose(paths)
    qtbot.waitUntil(lambda: not page.reader.busy and set(page._runs) == set(paths), timeout=20_000)
    qtbot.waitUntil(lambda: not page._draws.isActive() and page.table.rowCount() == len(paths), timeout=5000)


def _cells(page: ComparePage, title: str) -> dict[str, str]:
    """{run: text} of a column of the table."""
    table = page.table
    heads = [table.horizontalHeaderItem(place).text() for place in range(table.columnCount())]
    column = heads.index(title)
    return {table.item(row, 0).text(): table.item(row, column).text() for row in range(table.rowCount())}


def test_without_a_run_it_says_what_it_is_for(qtbot, page: ComparePage) -> None:
    _show(qtbot, page)
    assert page.right.currentIndex() == 0 and not page.export.isEnabled()


def test_runs_over_each_other_with_their_minima(qtbot, page: ComparePage) -> None:
    low, high = _run("low", 0.1), _run("high", 0.2)
    _show(qtbot, page, low, high)
    assert page.right.currentIndex() == 1 and set(page.curves.plot.lines) == {str(low), str(high)}
    assert page.curves.plot.lines[str(low)].minimum == (pytest.approx(52, abs=4), pytest.approx(0.1, abs=1e-4))
    assert _cells(page, "Lowest")["low"].startswith("0.1000") and _cells(page, "")["low"] == "best"
    assert _cells(page, "")["high"] == "" and _cells(page, "Images")["low"]
    page.table.sortItems(3)
    assert page.table.item(0, 0).text() == "low"
    page.choose([high])
    qtbot.waitUntil(lambda: list(page.curves.plot.lines) == [str(high)], timeout=3000)


def test_a_run_keeps_its_colour_everywhere_and_after_a_restart(qtbot, page: ComparePage) -> None:
    runs = [_run(f"r{n}", 0.1 + 0.01 * n) for n in range(3)]
    _show(qtbot, page, *runs)
    numbers = {path: page._runs[path].notes.color for path in runs}
    assert len(set(numbers.values())) == 3
    assert numbers == {path: run_notes.read(path).color for path in runs}
    _show(qtbot, page, runs[2])
    assert page.curves.plot.lines[str(runs[2])].color == numbers[runs[2]]
    assert len({color(number, theme.LIGHT) for number in range(MANY)}) == MANY
    assert len({color(number, theme.DARK) for number in range(MANY)}) == MANY


def test_another_axis_and_another_curve(qtbot, page: ComparePage) -> None:
    path = _run("one", 0.1)
    _show(qtbot, page, path)
    card = page.curves
    card.axis.setCurrentIndex(card.axis.findData("images"))
    line = card.plot.lines[str(path)]
    assert line.x[-1] == 400 and line.minimum is not None and line.minimum[0] == pytest.approx(208, abs=16)
    card.which.setCurrentIndex(card.which.findData("loss"))
    card.smoothing.setValue(0)
    rough = card.plot.lines[str(path)].y
    card.smoothing.setValue(40)
    assert np.ptp(card.plot.lines[str(path)].y[20:]) < 0.5 * np.ptp(rough[20:])
    assert not card.which.model().item(card.which.findData("gap")).isEnabled()
    card.log_y.click()
    assert card.plot.log_y and np.nanmax(card.plot._items[str(path)].yData) < 0


def test_the_crosshair_tells_values_of_all_runs(qtbot, page: ComparePage) -> None:
    low, high = _run("low", 0.1), _run("high", 0.2)
    _show(qtbot, page, low, high)
    page.curves.plot.point_at(QPointF(52, 0.1))
    assert page.curves.plot.current == str(low)
    found = _cells(page, "Here")
    assert found["low"] == "0.10002" and found["high"] == "0.20002"
    page.curves.plot.point_at(None)
    assert _cells(page, "Here")["low"] == ""


def test_settings_that_differ_and_the_map(qtbot, page: ComparePage) -> None:
    runs = [
        _run(f"{rate}-{batch}", bottom, training__learning_rate=rate, training__batch_size=batch)
        for rate, batch, bottom in ((1e-5, 1, 0.1), (2e-5, 1, 0.12), (2e-5, 4, 0.14))
    ]
    _show(qtbot, page, *runs)
    page.tabs.setCurrentWidget(page.settings)
    table = page.settings.table
    rows = {table.verticalHeaderItem(row).text(): row for row in range(table.rowCount())}
    assert len(rows) == 2
    (rate,) = [row for name, row in rows.items() if "earning rate" in name]
    assert {table.item(rate, place).text() for place in range(3)} == {"1e-5", "2e-5"}
    page.tabs.setCurrentWidget(page.map)
    found = page.map.map
    assert found._map is not None and found._map.values.shape == (2, 2)
    lowest, other = found.shade(0.1), found.shade(0.14)
    accent = QColor(theme.LIGHT.accent)
    assert abs(lowest.red() - accent.red()) < abs(other.red() - accent.red())
    cell = found.cells()[0, 0]
    with qtbot.waitSignal(page.map.chosen) as chosen:
        from PySide6.QtCore import Qt

        qtbot.mouseClick(found, Qt.MouseButton.LeftButton, pos=cell.center().toPoint())
    assert chosen.args == [[str(runs[0])]] and page.table.current_id() == str(runs[0])


def test_the_tab_in_front_follows_the_choice(qtbot, page: ComparePage) -> None:
    runs = [_run(f"rate {rate}", 0.1, training__learning_rate=rate) for rate in (1e-5, 2e-5, 3e-5)]
    _show(qtbot, page, *runs[:2])
    page.tabs.setCurrentWidget(page.settings)
    assert page.settings.table.columnCount() == 2
    _show(qtbot, page, *runs)
    assert page.settings.table.columnCount() == 3, "in front when the third came"
    page.tabs.setCurrentWidget(page.table)
    _show(qtbot, page, runs[0])
    page.tabs.setCurrentWidget(page.settings)
    assert page.settings.table.columnCount() == 1 and page.settings.words.text().startswith("Choose two runs")


def test_curves_are_laid_over_each_other(qtbot, page: ComparePage) -> None:
    slow = _run("slow", 0.1, training__learning_rate=1e-5)
    fast = _run("fast", 0.1, speed=2.0, training__learning_rate=2e-5)
    _show(qtbot, page, slow, fast)
    panel = page.scale
    panel.reference.setCurrentIndex(panel.reference.findData(str(slow)))
    panel.find.click()
    qtbot.waitUntil(lambda: bool(panel.found), timeout=20_000)
    (laid,) = [one for one in panel.found if one.run == str(fast)]
    assert laid.scale == pytest.approx(2, rel=0.02) and laid.foretold == pytest.approx(2)
    assert page.curves.plot.lines[str(fast)].x[-1] == pytest.approx(200, rel=0.02)
    assert "coincide" in panel.words.text()
    panel.draw.click()
    assert page.curves.plot.lines[str(fast)].x[-1] == 100
    page.curves.axis.setCurrentIndex(page.curves.axis.findData("images"))
    assert not panel.found and not panel.draw.isEnabled()


def test_a_point_leads_to_sample_monitor_and_grid(qtbot, page: ComparePage) -> None:
    path = _run("one", 0.1)
    _show(qtbot, page, path)
    page.curves.axis.setCurrentIndex(page.curves.axis.findData("images"))
    page.curves.plot.clicked.emit(str(path), 4 * 52.0)
    assert page.point.isVisible() and page.point.step == 52
    assert page.point.words.text() == "one, step 52: sample of step 40, checkpoint of step 60"
    page.point.sample.click()
    shown = page.point.view.shown_picture
    assert shown is not None and shown.path == path / "samples/a.png"
    page.point.view.close_view()
    with qtbot.waitSignal(page.context.run_requested) as asked:
        page.point.monitor.click()
    assert asked.args == [path]
    with qtbot.waitSignal(page.context.page_requested) as wanted:
        page.point.grid.click()
    assert wanted.args == ["grids"] and page.context.grid_step == 60
    assert page.context.run is not None and page.context.run.run.path == path
    page.context.run.close()


def test_notes_and_bookmarks_are_kept_in_the_run_folder(qtbot, page: ComparePage) -> None:
    path = _run("one", 0.1)
    _show(qtbot, page, path)
    page._go_to(path)
    page.notes.text.setPlainText("the best so far")
    qtbot.waitUntil(lambda: run_notes.read(path).note == "the best so far", timeout=5000)
    page.curves.run_clicked.emit(str(path), 52.0)
    page.point.mark.click()
    kept = run_notes.read(path)
    assert [mark.step for mark in kept.bookmarks] == [52] and kept.color == page._runs[path].notes.color
    assert "the best so far" in page.picker._items[path].text(0)
    page.point.forget()
    page.notes.marks.setCurrentRow(0)
    page.notes.open.click()
    assert page.point.isVisible() and page.point.step == 52
    page.notes.drop.click()
    assert not run_notes.read(path).bookmarks
    page.picker.filter.setText("best so")
    assert not page.picker._items[path].isHidden()
    page.picker.filter.setText("another")
    assert page.picker._items[path].isHidden()


def test_the_run_list_shows_the_note(qtbot) -> None:
    from gui.widgets.elided import Elided
    from gui.widgets.run_list import RunRow, read_runs

    path = _run("one", 0.1)
    run_notes.write(path, run_notes.Notes(note="for the poster\nmore").with_bookmark(3))
    (facts,) = read_runs()
    row = RunRow(facts)
    qtbot.addWidget(row)
    assert "for the poster" in [one.text() for one in row.findChildren(Elided)]


def test_everything_can_be_exported(qtbot, page: ComparePage, tmp_path: Path) -> None:
    runs = [_run("low", 0.1), _run("high", 0.2)]
    _show(qtbot, page, *runs)
    said: list[str] = []
    page.context.note.connect(lambda text, level: said.append(level))
    for kind in ("png", "svg", "table", "curves"):
        page.write(kind, tmp_path / kind)
    image = QImage(str(tmp_path / "png"))
    assert image.width() > 2 * page.curves.plot.width()
    wanted = QColor(color(page._runs[runs[0]].notes.color, theme.LIGHT))
    found = sum(
        QColor(image.pixel(x, y)) == wanted for x in range(0, image.width(), 3) for y in range(0, image.height(), 3)
    )
    assert found > 20
    drawing = (tmp_path / "svg").read_text(encoding="utf-8")
    assert drawing.lstrip().startswith("<?xml") and "polyline" in drawing and "low" in drawing
    rows = list(csv.DictReader((tmp_path / "table").open(encoding="utf-8")))
    assert {row["run"] for row in rows} == {"low", "high"}
    assert sum(1 for _ in (tmp_path / "curves").open(encoding="utf-8")) == 1 + 2 * 26
    assert said == ["info"] * 4
    page.write("table", tmp_path / "svg" / "no folder.csv")
    assert said[-1] == "error"


def test_event_files_are_imported_and_chosen(qtbot, page: ComparePage, tmp_path: Path) -> None:
    folder = tmp_path / "lr_sweep"
    for rate in ("1e-06", "2e-06"):
        write_run(folder / "lr" / rate, {"test/val": [(n, 0.1 + 1e-6 * (n - 50) ** 2) for n in range(0, 101, 5)]})
    _show(qtbot, page)
    page.import_folder(folder)
    qtbot.waitUntil(lambda: page.table.rowCount() == 2 and not page.reader.busy, timeout=10_000)
    assert _cells(page, "Rate") == {"1e-06": "1e-6", "2e-06": "2e-6"}
    page.tabs.setCurrentWidget(page.settings)
    assert page.settings.table.verticalHeaderItem(0).text() == "Number in the name"


def test_what_is_chosen_is_chosen_again_next_time(qtbot, page: ComparePage) -> None:
    path = _run("one", 0.1)
    _show(qtbot, page, path)
    again = ComparePage(page.context)
    qtbot.addWidget(again)
    again.shown()
    qtbot.waitUntil(lambda: bool(again._runs), timeout=10_000)
    assert set(again._runs) == {path}
    again.closed()


def test_a_run_that_grows_is_read_again(qtbot, page: ComparePage) -> None:
    path = _run("one", 0.1)
    _show(qtbot, page, path)
    from core.runs import Run

    write_events(Run(path), [ev.Evaluated(step=104, split="validation", loss=0.05, buckets=[0.05], duration=1)])
    before = _cells(page, "Lowest")["one"]
    page._look_for_growth()
    qtbot.waitUntil(lambda: _cells(page, "Lowest")["one"] != before, timeout=10_000)
    assert _cells(page, "Lowest") == {"one": "0.05000"}
