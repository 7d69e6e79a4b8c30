"""The Dataset page: looking at real pictures, broken ones among them; captions edited in place; a very long grid."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, QThreadPool
from PySide6.QtWidgets import QApplication

from core.data.index import Index
from core.paths import RESOURCES
from core.settings import default_settings
from gui.context import Context
from gui.pages.dataset import DatasetPage
from gui.settings_model import SettingsModel
from gui.widgets.index_reader import PAGE, IndexReader
from gui.widgets.thumbnail_grid import ThumbnailGrid


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some of the shipped pictures, one without captions, and two files that are no pictures."""
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, path in enumerate(sorted((RESOURCES / "starter" / "pictures").glob("*.png"))[:8]):
        shutil.copy(path, folder / f"{number}.png")
        if number:
            (folder / f"{number}.txt").write_text(f"ink stamp, number {number}", encoding="utf-8")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("not a picture", encoding="utf-8")
    return folder


@pytest.fixture
def page(qtbot, tmp_path: Path, pictures: Path) -> Iterator[DatasetPage]:
    """The page, on the screen."""
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    made = DatasetPage(Context(SettingsModel(), store))
    made.resize(1100, 700)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.hidden()
    made.closed()
    QThreadPool.globalInstance().waitForDone(5000)
    made.deleteLater()
    QApplication.processEvents()


def _look(qtbot, page: DatasetPage, folder: Path) -> None:
    page.context.settings.set("data.folders", [str(folder)])
    with qtbot.waitSignal(page.scan.done, timeout=20_000):
        page.look.click()
    qtbot.waitUntil(lambda: page.grid._count == 8 and page.grid.tile(0) is not None)


def test_empty_says_what_to_do(page: DatasetPage) -> None:
    assert page.stack.currentWidget() is page._no_folder
    assert not page.look.isEnabled()


def test_looking_reports_what_will_happen(qtbot, page: DatasetPage, pictures: Path) -> None:
    with qtbot.waitSignal(page.context.dataset_changed):
        _look(qtbot, page, pictures)
    assert page.report.totals.texts()["Pictures"] == "8"
    fates = page.report.fates.texts()
    assert fates["Left out, broken"] == "2" and fates["Without caption"] == "1"
    assert page.tabs.tabText(2) == "Problems (2)"
    assert page.context.report.images == 8


def test_changed_settings_make_the_report_anew(qtbot, page: DatasetPage, pictures: Path) -> None:
    _look(qtbot, page, pictures)
    before = page.report.buckets._bars
    with qtbot.waitSignal(page.scan.done, timeout=20_000):
        page.context.settings.set_many({"data.resolution": 128, "data.min_side": 64}, "smaller")
    assert page.report.buckets._bars != before


def test_other_folders_forget_the_report(qtbot, page: DatasetPage, pictures: Path) -> None:
    _look(qtbot, page, pictures)
    page.context.settings.set("data.folders", [str(pictures), str(pictures.parent)])
    assert page.context.report is None
    assert page.stack.currentWidget() is page._not_looked


def test_captions_are_written_in_place(qtbot, page: DatasetPage, pictures: Path) -> None:
    _look(qtbot, page, pictures)
    page.grid.select(0)
    assert page.tabs.currentIndex() == 1
    assert "No caption" in page.captions._marks.text()
    page.captions.tags.setPlainText("ink stamp, medal")
    page.captions.sentence.setPlainText("a medal")
    page.grid.select(1)
    assert (pictures / "0.txt").read_text(encoding="utf-8") == "ink stamp, medal\n"
    assert (pictures / "0.caption").read_text(encoding="utf-8") == "a medal\n"
    assert page.captions.tags.toPlainText() == "ink stamp, number 1"
    assert page.grid.tile(0).picture.tags == "ink stamp, medal"
    page.captions.tags.setPlainText("")
    page.captions.save()
    assert not (pictures / "1.txt").exists()


def test_the_filter(qtbot, page: DatasetPage, pictures: Path) -> None:
    _look(qtbot, page, pictures)
    with qtbot.waitSignal(page.grid.counted):
        page.filter.setText("number 3")
    qtbot.waitUntil(lambda: page.grid._count == 1)
    qtbot.waitUntil(lambda: page.grid.tile(0) is not None)
    assert page.grid.tile(0).picture.path.endswith("3.png")


def test_a_folder_without_pictures_is_told(qtbot, page: DatasetPage, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    page.context.settings.set("data.folders", [str(tmp_path / "nothing")])
    with qtbot.waitSignal(page.context.note, timeout=20_000) as caught:
        page.look.click()
    assert "no picture" in caught.args[0] and caught.args[1] == "error"
    assert page.look.isEnabled()


def test_two_hundred_thousand_pictures(qtbot, tmp_path: Path) -> None:
    """Only what is in sight is asked for."""
    path = tmp_path / "index.sqlite"
    Index(path).close()
    database = sqlite3.connect(path)
    columns = "path, width, height, tags, natural, caption_problem, reason, content_hash, stamp, caption_stamp"
    rows = ((f"/p/{number:06d}.jpg", 640, 512, f"tag{number % 9}") for number in range(200_000))
    database.executemany(f"INSERT INTO pictures ({columns}) VALUES (?, ?, ?, ?, '', '', '', '', '', '')", rows)
    database.commit()
    database.close()
    grid = ThumbnailGrid()
    qtbot.addWidget(grid)
    grid.resize(1000, 700)
    grid.show()
    grid.show_index(IndexReader(path, default_settings().data))
    qtbot.waitUntil(lambda: grid._count == 200_000)
    for place in (0, 10, 50, 99, 30, 100):
        grid.verticalScrollBar().setValue(grid.verticalScrollBar().maximum() * place // 100)
        QApplication.processEvents()
        first = next(grid._visible())
        qtbot.waitUntil(lambda number=first: grid.tile(number) is not None)
        assert grid.tile(first).picture.path == f"/p/{first:06d}.jpg"
    assert len(grid._pages) * PAGE < 3000
    grid.close_reader()
