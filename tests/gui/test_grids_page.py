"""The Grids page: plans say what they mean, jobs are started, cells appear as they arrive, keys walk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPointF, Qt

from core import events as ev
from core import grid_job
from core.runs import Run
from gui import theme
from gui.context import Context
from gui.pages.grids import GridsPage, list_jobs
from gui.settings_model import SettingsModel
from gui.worker_process import Workers
from tests.gui.run_folders import a_step, be_its_worker, make_run, picture, started, write

PARAMETERS = "a fox\nSteps: 28, Sampler: DDIM, CFG scale: 7, Seed: 42, Size: 32x32"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = make_run(tmp_path / "run")
    for step in (100, 200):
        (path / "checkpoints" / f"foxes-step{step:08d}.safetensors").write_bytes(b"x")
    write(path, started(), a_step(1), ev.Ended(state="finished", step=1))
    return path


@pytest.fixture
def page(qtbot, qapp, run: Path) -> Iterator[GridsPage]:
    theme.apply(qapp, "light")
    workers = Workers(command=lambda kind, path: [sys.executable, "-c", "pass"], environment={})
    made = GridsPage(Context(SettingsModel()), workers)
    qtbot.addWidget(made)
    made.resize(1180, 660)
    made.show()
    made.shown()
    yield made
    made.job_view.close_job()
    if made.context.run is not None:
        made.context.run.close()
    made.loader.wait()


def _show(qtbot, page: GridsPage, run: Path) -> None:
    page.context.show_run(run)
    qtbot.waitUntil(lambda: page.settings.value("y.type") == "prompt" and page.plan is not None, timeout=5000)


def _cell(job: Run, x: int, y: int, z: int = 0) -> ev.Cell:
    path = f"cells/{x}-{y}-{z}.png"
    picture(job.path / path)
    labels = [("base", "step 100", "step 200")[x], ("a fox in the snow", "a fox at night")[y], ""]
    return ev.Cell(index=0, total=6, path=path, x=x, y=y, z=z, seed=42, labels=labels, parameters=PARAMETERS)


def test_without_a_run_it_says_what_it_is_for(page: GridsPage) -> None:
    assert page._stack.currentIndex() == 0
    assert not page.make.isEnabled()
    assert "Show a run" in page.count.text()


def test_the_shown_runs_checkpoints_and_prompts_are_the_beginning(page: GridsPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    assert page.axes["x"].chips.texts == ["base", "step 100", "step 200"]
    assert page.axes["y"].chips.texts == ["a fox in the snow", "a fox at night"]
    assert page.count.text() == "3 checkpoints × 2 prompts = 6 pictures"
    assert page.make.isEnabled()


def test_a_mistake_stands_at_its_axis(page: GridsPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.settings.set_many({"y.type": "seed", "y.values": "3, fish"}, "test")
    qtbot.waitUntil(lambda: page.plan is None, timeout=2000)
    assert "'fish' is neither a number" in page.axes["y"].problem.text().replace("'Fish", "'fish")
    assert page.axes["x"].chips.texts == ["base", "step 100", "step 200"], "the other axes still say what they mean"
    assert not page.make.isEnabled()
    page.settings.set("y.values", "1-3")
    qtbot.waitUntil(lambda: page.plan is not None, timeout=2000)
    assert page.axes["y"].chips.texts == ["1", "2", "3"]
    assert page.count.text() == "3 checkpoints × 3 seeds = 9 pictures"


def test_make_the_grid_starts_a_job_that_is_shown(page: GridsPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    with qtbot.waitSignal(page.workers.started) as began:
        page.make.click()
    job = began.args[0]
    assert job.parent == run / "grids" and (job / "grid.toml").exists()
    assert page.job_view.state is not None and page.job_view.state.run.path == job
    assert page._stack.currentIndex() == 1
    assert [path for path, _ in list_jobs(run)] == [job]


def test_a_grid_that_another_page_asks_for_is_shown(page: GridsPage, qtbot, run: Path, tmp_path: Path) -> None:
    _show(qtbot, page, run)
    jobs = [grid_job.create(page.settings.settings(), Run(run)).path for _ in range(2)]
    page.shown()
    assert page.job_view.state is not None and page.job_view.state.run.path == jobs[1]
    page.settings.set("grid.run", str(tmp_path / "another run"))
    page.context.grid_job = jobs[0]
    page.shown()
    assert page.job_view.state.run.path == jobs[0] and page.context.grid_job is None
    assert page.settings.value("grid.run") == str(run)


def test_cells_appear_as_they_arrive(page: GridsPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    job = grid_job.create(page.settings.settings(), Run(run))
    be_its_worker(job.path)
    write(job.path, ev.Progress(phase="grid", done=0, total=6))
    page.shown()
    view = page.job_view
    assert view.state is not None and view.state.run.path == job.path
    qtbot.waitUntil(lambda: view.state.is_loaded, timeout=3000)
    assert view._labels[0] == ["base", "step 100", "step 200"]
    for number, (x, y) in enumerate([(0, 0), (1, 0), (2, 1)], 1):
        write(job.path, _cell(job, x, y))
        qtbot.waitUntil(lambda count=number: len(view.grid.cells) == count, timeout=3000)
    assert view.words.text().startswith("3 of 6 pictures") and view.stop.isVisible()
    page.loader.wait()
    qtbot.waitUntil(lambda: page.loader.peek(job.path / "cells/0-0-0.png", 256) is not None, timeout=3000)
    (job.path / "worker.json").unlink()
    write(job.path, ev.Ended(state="finished"))
    qtbot.waitUntil(lambda: not view.stop.isVisible(), timeout=3000)


@pytest.fixture
def finished(page: GridsPage, qtbot, run: Path) -> Run:
    """A whole grid of three by two, shown."""
    _show(qtbot, page, run)
    job = grid_job.create(page.settings.settings(), Run(run))
    cells = [_cell(job, x, y) for x in range(3) for y in range(2)]
    for number, cell in enumerate(cells):
        cell.time = 100.0 + 2 * number
    write(job.path, *cells, ev.Ended(state="finished"))
    page.shown()
    qtbot.waitUntil(lambda: len(page.job_view.grid.cells) == 6, timeout=5000)
    return job


def test_keys_walk_flick_and_open(page: GridsPage, qtbot, finished: Run) -> None:
    grid, view = page.job_view.grid, page.view
    assert page.job_view.words.text() == "6 pictures"
    assert (grid.current.x, grid.current.y) == (0, 0)
    qtbot.keyClick(grid, Qt.Key.Key_Right)
    qtbot.keyClick(grid, Qt.Key.Key_Down)
    assert (grid.current.x, grid.current.y) == (1, 1)
    qtbot.keyClick(grid, Qt.Key.Key_Space)
    assert (grid.current.x, grid.current.y) == (1, 0)
    qtbot.keyClick(grid, Qt.Key.Key_Space)
    assert (grid.current.x, grid.current.y) == (1, 1)
    assert page.job_view.panel.text.toPlainText() == PARAMETERS
    qtbot.keyClick(grid, Qt.Key.Key_Return)
    assert view.shown_picture is not None and view.shown_picture.title == "step 100 · a fox at night"
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.shown_picture.title == "base · a fox at night"
    qtbot.keyClick(view, Qt.Key.Key_I)
    assert view.panel.isVisible() and view.panel.text.toPlainText() == PARAMETERS
    view.panel.copy.click()
    from PySide6.QtGui import QGuiApplication

    assert QGuiApplication.clipboard().text() == PARAMETERS
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.shown_picture is None


def test_the_wheel_zooms_at_the_pointer(page: GridsPage, qtbot, finished: Run) -> None:
    grid = page.job_view.grid
    at = grid.cell_rect((1, 1)).center()
    before = grid.cell_rect((1, 1))
    grid.zoom(3.0, at)
    after = grid.cell_rect((1, 1))
    assert after.width() == pytest.approx(3 * before.width())
    assert after.contains(at)
    grid.zoom(1e-9, QPointF(0, 0))
    assert grid.cell_rect((0, 0)).width() >= 12
    grid.fit()
    assert grid.cell_rect((1, 1)) == before


def test_a_step_chosen_on_a_curve_becomes_the_axis(page: GridsPage, qtbot, run: Path) -> None:
    _show(qtbot, page, run)
    page.context.grid_step = 200
    page.shown()
    assert page.axes["x"].chips.texts == ["base", "step 200"]
    assert page.context.grid_step is None


def test_the_time_is_told_by_the_pace_of_the_grid_that_is_shown(page: GridsPage, qtbot, finished: Run) -> None:
    qtbot.waitUntil(lambda: "pace" in page.time_words.text(), timeout=5000)
    assert page.time_words.text() == "About 12 s, by the pace of the last grid."


def test_a_grid_whose_checkpoints_are_gone_is_still_shown(page: GridsPage, qtbot, finished: Run, run: Path) -> None:
    for path in (run / "checkpoints").glob("*"):
        path.unlink()
    (finished.path / "grid.toml").unlink()
    page.job_view.show_job(None)
    page.job_view.show_job(finished)
    qtbot.waitUntil(lambda: len(page.job_view.grid.cells) == 6, timeout=5000)
    assert page.job_view._labels[0] == ["base", "step 100", "step 200"]
