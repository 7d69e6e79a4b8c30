"""The Monitor page on real run folders: what it shows, what it offers, and that nothing is made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from PySide6.QtCore import QPoint, Qt

from core import events as ev
from core import run_notes
from core.run_notes import Bookmark, Notes
from gui import theme
from gui.context import Context
from gui.pages.monitor import MonitorPage, pace_ms
from gui.settings_model import SettingsModel
from gui.widgets.gpu_strip import NO_GPU
from tests.gui.run_folders import a_step, be_its_worker, evaluated, make_run, picture, sensors, started, write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = make_run(tmp_path / "run")
    for step in (0, 100, 200):
        for index in (0, 1):
            picture(path / f"samples/{step}-{index}.png")
    (path / "checkpoints" / "foxes-step00000100.safetensors").write_bytes(b"x")
    events: list[ev.Event] = [started(total=400)]
    for step in range(201):
        events += [a_step(step, 0.1 + 0.001 * (step % 7))] if step else []
        if step % 20 == 0:
            events += [evaluated(step, 0.1 + abs(step - 100) / 1000), evaluated(step, 0.09, "train"), sensors(step)]
        if step % 100 == 0:
            events += [
                ev.Sample(step=step, path=f"samples/{step}-{i}.png", prompt=f"fox {i}", seed=7, index=i) for i in (0, 1)
            ]
    events += [ev.Checkpoint(step=100, path="checkpoints/foxes-step00000100.safetensors", bytes=1)]
    write(path, *events)
    return path


@pytest.fixture
def page(qtbot, qapp) -> Iterator[MonitorPage]:
    theme.apply(qapp, "light")
    made = MonitorPage(Context(SettingsModel()))
    qtbot.addWidget(made)
    made.resize(1180, 660)
    made.show()
    made.shown()
    yield made
    if made.context.run is not None:
        made.context.run.close()
    made.loader.wait()


def _show(qtbot, page: MonitorPage, run: Path) -> None:
    page.context.show_run(run)
    qtbot.waitUntil(lambda: page.context.run is not None and page.context.run.is_loaded, timeout=5000)
    qtbot.waitUntil(lambda: bool(page.cards.energy._lines or page.cards.energy.note), timeout=5000)


def test_without_a_run_it_says_what_it_is_for(page: MonitorPage, qtbot) -> None:
    assert page._stack.currentIndex() == 0
    assert not any(button.isVisibleTo(page) for button in page.primary_actions())
    page.context.run_changed.emit(None)
    assert page._stack.currentIndex() == 0


def test_a_live_run_is_shown_with_its_numbers(page: MonitorPage, qtbot, run: Path) -> None:
    be_its_worker(run)
    _show(qtbot, page, run)
    header = page.header
    assert header.name.text() == "foxes" and header.state.text() == "Training"
    assert header.steps.text().startswith("step 200 / 400 · epoch 4.00 · 2.00 images/s")
    assert header.time.text() == "6 min 40 s worked · 6 min 40 s left"
    assert header.energy.text() == "0.420 kWh · 0.13 EUR"
    assert header.bar.value() == 500
    assert page.loss.legend["stable/validation"].text_shown() == "0.2000"
    assert page.loss.plot.marks.minimum == (100, 0.1)
    assert page.loss.plot.marks.usable == (100, pytest.approx(200))
    assert page.cards.speed.value_words() == "2.00 images/s"
    assert page.cards.energy.value_words() == "0.420 kWh"
    assert page.gpus.training == run, "a measurement of power limits takes the settings of the shown training"
    strip = page.gpus.strips[0]
    assert strip.name.text() == "GPU 0\nRTX 4090"
    words = [gauge.spark.value_words() for gauge in strip.gauges]
    assert words == ["21.0 / 24 GiB", "280 W", "66 °C", "95 %"]


def test_new_events_move_everything(page: MonitorPage, qtbot, run: Path) -> None:
    be_its_worker(run)
    _show(qtbot, page, run)
    write(run, *(a_step(step) for step in range(201, 301)), ev.Message(text="Look out", level="warning", step=300))
    qtbot.waitUntil(lambda: page.header.steps.text().startswith("step 300"), timeout=3000)
    assert page.header.notice.text() == "Step 300: Look out" and page.header.notice.isVisible()
    qtbot.waitUntil(lambda: page.timeline.high > 300, timeout=3000)
    write(run, ev.Progress(phase="evaluate", done=3, total=8))
    qtbot.waitUntil(lambda: page.header.state.text() == "Measuring the stable loss 3 / 8", timeout=3000)


def test_the_controls_ask_the_worker(page: MonitorPage, qtbot, run: Path) -> None:
    be_its_worker(run)
    _show(qtbot, page, run)
    controls, said = page.controls, []
    page.context.note.connect(lambda text, level: said.append(text))
    for button in (controls.save, controls.sample, controls.pause, controls.stop):
        assert button.isEnabled() and button.toolTip()
        button.click()
    assert len(said) == 4
    commands = (run / "commands.jsonl").read_text().splitlines()
    assert [line.split('"')[3] for line in commands] == ["save", "sample", "pause", "stop"]
    write(run, ev.Paused(step=200))
    qtbot.waitUntil(lambda: controls.pause.text() == "Continue", timeout=3000)
    controls.pause.click()
    assert '"continue"' in (run / "commands.jsonl").read_text()


def test_a_run_whose_worker_is_gone_can_go_on(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    assert page.header.state.text() == "Interrupted" and "go on" in page.header.notice.text()
    controls = page.controls
    assert not controls.save.isEnabled() and not controls.pause.isEnabled()
    assert controls.resume.isVisibleTo(None) and controls.stop.isHidden()
    with qtbot.waitSignal(page.context.resume_requested) as asked:
        controls.resume.click()
    assert asked.args == [run]


def test_a_failed_run_says_why(page: MonitorPage, qtbot, run: Path) -> None:
    write(run, ev.Ended(state="failed", step=200, text="The loss became nan at step 200."))
    _show(qtbot, page, run)
    assert page.header.notice.text() == "The loss became nan at step 200."
    assert page.header.notice.property("role") == "error"


def test_without_a_gpu_nothing_is_made_up(page: MonitorPage, qtbot, tmp_path: Path) -> None:
    path = make_run(tmp_path / "cpu")
    write(path, started(), a_step(1), sensors(1, gpu=False, source="none"), ev.Ended(state="finished", step=1))
    _show(qtbot, page, path)
    assert page.header.energy.text() == "energy not measured"
    assert page.cards.energy.value_words() == "not measured"
    assert page.gpus.sentence.text() == NO_GPU
    words = [gauge.spark.value_words() for gauge in page.gpus.strips[0].gauges]
    assert words == ["30 %", "8.0 / 64 GiB"]
    assert "kwh" in page.timeline.available() or not page.loss.axis.model().item(4).isEnabled()


def test_samples_stand_on_the_time_axis_and_enlarge(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    film = page.film
    assert [sample.step for sample in film.strip.shown()] == [0, 100, 200]
    assert [film.prompts.itemText(i) for i in range(2)] == ["fox 0", "fox 1"]
    page.loader.wait()
    middle = next(place for place, sample in film.strip._places if sample.step == 100).center().toPoint()
    qtbot.mouseClick(film.strip, Qt.MouseButton.LeftButton, pos=QPoint(middle))
    shown = page.view.shown_picture
    assert shown is not None and shown.title == "Step 100" and shown.path == run / "samples/100-0.png"
    qtbot.keyClick(page.view, Qt.Key.Key_Right)
    qtbot.keyClick(page.view, Qt.Key.Key_Down)
    assert page.view.shown_picture.path == run / "samples/200-1.png"
    qtbot.keyClick(page.view, Qt.Key.Key_Escape)
    assert page.view.shown_picture is None


def test_a_point_of_the_curve_leads_to_its_pictures(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    with qtbot.waitSignal(page.context.point_requested) as asked:
        page.timeline.clicked.emit(122.4)
    assert asked.args == [122]
    assert page.film.point.text() == "Near step 122: sample 100, checkpoint 100"
    assert page.timeline.pinned == 122
    assert page.film.strip._current is not None and page.film.strip._current.step == 100
    with qtbot.waitSignal(page.context.page_requested) as wanted:
        page.film.grid_button.click()
    assert wanted.args == ["grids"] and page.context.grid_step == 100


def test_the_samples_of_a_point_come_into_view(page: MonitorPage, qtbot, run: Path) -> None:
    page.resize(1180, 300)
    _show(qtbot, page, run)
    page.area.verticalScrollBar().setValue(0)

    def seen() -> bool:
        place = page.film.strip.mapTo(page.area.viewport(), page.film.strip.rect().bottomLeft())
        return 0 < place.y() <= page.area.viewport().height()

    assert not seen()
    page.timeline.clicked.emit(100)
    qtbot.waitUntil(seen)


def test_the_sample_of_a_point_is_there_when_the_plot_shows_another_part(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.timeline.set_range(110, 140)
    assert page.film.strip.shown() == []
    page.timeline.clicked.emit(120)
    assert [sample.step for sample in page.film.strip.shown()] == [100]


def test_a_grid_that_holds_the_checkpoint_is_one_click_away(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.timeline.clicked.emit(120)
    assert page.film.open_grid.isHidden() and not page.film.grid_button.isHidden()
    job = run / "grids" / "0001"
    job.mkdir()
    saved = run / "checkpoints/foxes-step00000100.safetensors"
    text = f'format = 2\n[x]\ntype = "checkpoint"\nvalues = "base\\n{saved.as_posix()}"\n'
    (job / "grid.toml").write_text(text, encoding="utf-8")
    page.timeline.clicked.emit(121)
    assert not page.film.open_grid.isHidden()
    with qtbot.waitSignal(page.context.page_requested) as wanted:
        page.film.open_grid.click()
    assert wanted.args == ["grids"] and page.context.grid_job == job


def test_a_bookmark_is_a_flag_on_the_curves_and_stays_in_the_run(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.timeline.clicked.emit(122.4)
    page.film.mark_words.setText("  the tail is right ")
    page.film.mark.click()
    assert run_notes.read(run).bookmarks == [Bookmark(122, "the tail is right")]
    assert page.loss.plot.marks.flags == ((122, "the tail is right"),)
    assert page.notes.words.text() == "1 bookmark" and page.film.mark_words.text() == ""
    page.loss.plot.refresh()
    line, words = page.loss.plot.marks._flag_items[0]
    assert line.isVisible() and words.isVisible() and line.value() == 122
    page.film.mark.click()
    assert run_notes.read(run).bookmarks == [Bookmark(122, "the tail is right")], "no words take none away"
    page.notes.head.click()
    page.notes.panel.marks.setCurrentRow(0)
    page.notes.panel.drop.click()
    assert page.loss.plot.marks.flags == ()
    page.loss.plot.refresh()
    assert not line.isVisible() and not words.isVisible()


def test_a_click_beside_a_flag_means_its_step(page: MonitorPage, qtbot, run: Path) -> None:
    run_notes.write(run, Notes(bookmarks=[Bookmark(60, "a"), Bookmark(150, "b")]))
    _show(qtbot, page, run)
    plot = page.loss.plot
    plot.refresh()
    pixel = plot.view.viewPixelSize()[0]
    told: list[float] = []
    page.timeline.clicked.connect(told.append)
    for x in (60 + 4 * pixel, 150 - 4 * pixel, 150 - 20 * pixel):
        plot._clicked(x)
    assert told[:2] == [60, 150] and told[2] == pytest.approx(150 - 20 * pixel)


def test_notes_are_written_and_read_again(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.notes.head.click()
    page.notes.panel.text.setPlainText("For the tail\nand more")
    page.hidden()
    assert run_notes.read(run).note == "For the tail\nand more" and page.notes.words.text() == "For the tail"
    run_notes.write(run, Notes(note="Written on another page", bookmarks=[Bookmark(20)]))
    page.shown()
    assert page.notes.panel.text.toPlainText() == "Written on another page"
    assert page.notes.words.text() == "Written on another page  ·  1 bookmark"
    assert page.loss.plot.marks.flags == ((20, ""),)


def test_the_verdicts_checkpoint_leads_to_its_samples(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    qtbot.waitUntil(lambda: bool(page.verdict.links), timeout=5000)
    assert [link.text() for link in page.verdict.links] == ["Checkpoint 100"]
    with qtbot.waitSignal(page.context.point_requested) as asked:
        page.verdict.links[0].click()
    assert asked.args == [100] and page.film.point.text().startswith("Near step 100: sample 100")


def test_the_time_that_measuring_takes_is_told(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    qtbot.waitUntil(lambda: bool(page.verdict.measuring.text()), timeout=5000)
    # 11 places, two measurements of one second each; 400 s worked.
    assert page.verdict.measuring.text() == "measuring takes 5.5 % of the time"


def test_energy_says_what_the_end_and_a_thousand_images_take(page: MonitorPage, qtbot, tmp_path: Path) -> None:
    path = make_run(tmp_path / "metered")
    write(path, started(total=400))
    for step in range(0, 201, 20):
        reading = msgspec.structs.replace(sensors(step), kwh=0.001 * step, cost=0.0003 * step, co2_grams=0.4 * step)
        write(path, *([a_step(step)] if step else []), reading)
    _show(qtbot, page, path)
    energy = page.cards.energy
    qtbot.waitUntil(lambda: bool(energy.detail), timeout=5000)
    assert energy.detail == "≈ 0.4 kWh at the end"
    tip = energy.toolTip()
    assert "80 g CO2" in tip and "1,000 images: 0.25 kWh" in tip and "0.40 kWh, 0.12 EUR" in tip


def test_one_crosshair_through_all(page: MonitorPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.timeline.set_cursor(40)
    assert page.loss.plot.marks.cross.isVisible()
    assert page.loss.plot._place_label.text() == "step 40"
    assert page.loss.legend["stable/validation"].text_shown() == "0.1600"
    page.loss.axis.setCurrentIndex(page.loss.axis.findData("images"))
    page.timeline.set_cursor(50)
    assert page.loss.plot._place_label.text() == "step 50 · 200 pictures"


def test_the_log_is_read_when_it_is_opened(page: MonitorPage, qtbot, run: Path) -> None:
    (run / "console.log").write_bytes(b"loading\n 10%\r 90%\r100%\ndone\n")
    write(run, ev.Message(text="All is well", step=5))
    _show(qtbot, page, run)
    assert page.log.text.toPlainText() == ""
    page.log.head.click()
    assert page.log.text.toPlainText() == "[info] step 5: All is well\nloading\n100%\ndone"


def test_long_runs_are_drawn_less_often() -> None:
    assert pace_ms(10) == 100 and pace_ms(1_000_000) >= 500
