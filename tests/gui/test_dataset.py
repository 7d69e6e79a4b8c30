"""The Dataset page: looking at real pictures, broken ones among them; captions edited in place; a very long grid."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication

from core.data.columns import Columns
from core.data.index import Picture
from core.data.picture_filter import PictureFilter
from gui.pages.dataset import DatasetPage
from gui.widgets.index_reader import PAGE
from gui.widgets.picture_views import Tile, View
from gui.widgets.thumbnail_grid import ThumbnailGrid
from tests.fixtures.processes import reader_processes
from tests.gui.dataset_pages import look, shown_page, some_pictures, wait_for


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Some of the shipped pictures, one without captions, and two files that are no pictures."""
    return some_pictures(tmp_path / "pictures")


@pytest.fixture
def page(qtbot, tmp_path: Path) -> Iterator[DatasetPage]:
    """The page, on the screen."""
    with shown_page(qtbot, tmp_path) as made:
        yield made


def test_empty_says_what_to_do(page: DatasetPage) -> None:
    assert page.stack.currentWidget() is page._no_folder
    assert not page.look.isEnabled()


def test_looking_reports_what_will_happen(qtbot, page: DatasetPage, pictures: Path) -> None:
    with qtbot.waitSignal(page.context.dataset_changed):
        look(qtbot, page, pictures)
    assert page.report.totals.texts()["Pictures"] == "8"
    fates = page.report.fates.texts()
    assert fates["Left out, broken"] == "2" and fates["Without caption"] == "1"
    assert page.tabs.tabText(3) == "Problems (2)"
    assert page.context.report.images == 8


def test_changed_settings_make_the_report_anew(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    before = page.report.buckets.bars
    with qtbot.waitSignal(page.scan.done, timeout=20_000):
        page.context.settings.set_many({"data.resolution": 128, "data.min_side": 64}, "smaller")
    assert page.report.buckets.bars != before


def test_other_folders_forget_the_report(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    page.context.settings.set("data.folders", [str(pictures), str(pictures.parent)])
    assert page.context.report is None
    assert page.stack.currentWidget() is page._not_looked


def test_what_was_looked_at_before_is_shown_at_once(qtbot, tmp_path: Path, pictures: Path) -> None:
    with shown_page(qtbot, tmp_path) as first:
        look(qtbot, first, pictures)
    with shown_page(qtbot, tmp_path) as page:
        page.context.settings.set("data.folders", [str(pictures)])
        qtbot.waitUntil(lambda: page.grid.count == 8 and page.context.report is not None, timeout=10_000)
        assert page.stack.currentWidget() is page._shown_page
        assert page.look.text() == "Look again"


def test_captions_are_written_in_place_and_taken_back(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    page.grid.select(0)
    qtbot.waitUntil(lambda: page.tabs.currentIndex() == 1)
    assert "No caption" in page.captions.marks.texts
    page.captions.tags.set_text("ink stamp, medal")
    page.captions.sentence.set_text("a medal")
    page.grid.select(1)
    assert (pictures / "0.txt").read_text(encoding="utf-8") == "ink stamp, medal\n"
    assert (pictures / "0.caption").read_text(encoding="utf-8") == "a medal\n"
    qtbot.waitUntil(lambda: page.captions.tags.text == "ink stamp, number 1")
    assert page.grid.tile(0).picture.tags == "ink stamp, medal"
    page.captions.tags.set_text("")
    page.captions.save()
    assert not (pictures / "1.txt").exists()
    for wanted in ("1.txt", "0.caption", "0.txt"):
        qtbot.waitUntil(lambda: page.pane.undo.isEnabled() and not page.pane._turns.busy, timeout=10_000)
        with qtbot.waitSignal(page.pane.captions_changed, timeout=10_000):
            page.pane.undo.click()
        assert (pictures / wanted).exists() == (wanted == "1.txt")
        qtbot.waitUntil(lambda: not page.pane._journal.busy, timeout=10_000)
    assert not page.pane.undo.isEnabled() and page.pane.redo.isEnabled()
    assert page.captions.tags.text == "ink stamp, number 1"


def test_tokens_are_counted_and_what_is_cut_off_is_marked(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    page.grid.select(1)
    qtbot.waitUntil(lambda: page.captions.tags.tokens.text() == "5 tokens", timeout=20_000)
    assert len(reader_processes()) == 1  # the window itself builds no tokenizer: it would stand still meanwhile
    page.captions.tags.set_text("cat, " * 60)
    qtbot.waitUntil(lambda: "75 are read" in page.captions.tags.tokens.text(), timeout=10_000)
    (mark,) = page.captions.tags.edit.extraSelections()
    assert mark.cursor.selectionEnd() >= 295 and "cat" in mark.cursor.selectedText()
    qtbot.waitUntil(lambda: "line-through" in page.captions.draws.texts.text(), timeout=10_000)
    page.closed()
    assert not reader_processes()


def test_ten_draws_show_what_the_model_will_read(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    page.grid.select(2)
    qtbot.waitUntil(lambda: "number 2" in page.captions.draws.texts.text(), timeout=20_000)
    assert "same at every use" in page.captions.draws.words.text()
    page.context.settings.set("data.caption_dropout", 0.5)
    qtbot.waitUntil(lambda: "left empty" in page.captions.draws.texts.text(), timeout=20_000)
    assert page.captions.draws.texts.text().count("<p") == 2
    assert sum(int(count) for count in re.findall(r"(\d+) ×", page.captions.draws.texts.text())) == 10


def test_the_text_filter(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    page.pane.filter.text.setText("number 3")
    wait_for(qtbot, page, ["3.png"])
    assert page.pane.filter.count.text() == "1 of 8"
    page.pane.filter.text.setText("no such words")
    qtbot.waitUntil(lambda: page.pane.filter.count.text() == "0 of 8", timeout=10_000)


def test_lines_tags_and_buckets_filter(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    page.report.fates.click("Without caption")
    wait_for(qtbot, page, ["0.png"])
    page.report.fates.click("Left out, broken")
    wait_for(qtbot, page, ["empty.png", "text.jpg"])
    assert [chip.text for chip in page.pane.filter.chips] == ["Broken"]
    page.pane.filter.chips[0].closed.emit()
    qtbot.waitUntil(lambda: page.grid.count == 8, timeout=10_000)
    qtbot.waitUntil(lambda: len(page.tags.tags.bars) == 8, timeout=10_000)
    page.tags.tags.clicked.emit("number 5")
    wait_for(qtbot, page, ["5.png"])
    qtbot.waitUntil(lambda: page.tags.beside.bars == [("ink stamp", 1)], timeout=10_000)
    page.pane.filter.clear()
    name, count = page.report.buckets.bars[0]
    page.report.buckets.clicked.emit(name)
    qtbot.waitUntil(lambda: page.grid.count == count, timeout=10_000)
    page.report.buckets.clicked.emit(name)
    qtbot.waitUntil(lambda: page.grid.count == 8, timeout=10_000)


def test_pictures_are_held_out_by_hand(qtbot, page: DatasetPage, pictures: Path) -> None:
    look(qtbot, page, pictures)
    (held,) = [place for place in range(8) if page.pane.facts.part[page.grid.tile(place).row] == 1]
    other = (held + 3) % 8
    page.grid.select(other)
    qtbot.waitUntil(lambda: page.captions.tile is not None)
    page.captions.hold.click()
    qtbot.waitUntil(lambda: len(page.context.settings.value("validation.chosen")) == 1, timeout=10_000)
    row = page.grid.tile(other).row
    qtbot.waitUntil(lambda: page.pane.facts is not None and page.pane.facts.part[row] == 1, timeout=10_000)
    qtbot.waitUntil(lambda: page.captions.hold.text() == "Train on it", timeout=10_000)
    page.captions.hold.click()
    qtbot.waitUntil(lambda: len(page.context.settings.value("validation.never")) == 1, timeout=10_000)
    assert page.context.settings.value("validation.chosen") == []


def test_duplicates_stand_side_by_side(qtbot, page: DatasetPage, pictures: Path) -> None:
    shutil.copy(pictures / "4.png", pictures / "4 again.png")
    look(qtbot, page, pictures, 9)
    page.pane.filter.set(problem="duplicate")
    wait_for(qtbot, page, ["4 again.png", "4.png"])
    page.grid.select(1)
    qtbot.waitUntil(lambda: len(page.captions.twins.tiles) == 1, timeout=10_000)
    assert page.captions.twins.tiles[0].picture.path.endswith("4 again.png")
    page.captions.twins.clicked.emit(page.captions.twins.tiles[0])
    assert page.captions.name.text() == "4 again.png"


def test_a_folder_without_pictures_is_told(qtbot, page: DatasetPage, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    page.context.settings.set("data.folders", [str(tmp_path / "nothing")])
    with qtbot.waitSignal(page.context.note, timeout=20_000) as caught:
        page.look.click()
    assert "no picture" in caught.args[0] and caught.args[1] == "error"
    assert page.look.isEnabled()


def test_folders_and_archives_are_dropped_on_the_page(page: DatasetPage, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "more.tar").touch()
    (tmp_path / "notes.doc").touch()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in (pictures, tmp_path / "more.tar", tmp_path / "notes.doc")])
    action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    page.dropEvent(QDropEvent(QPointF(5, 5), action, data, button, Qt.KeyboardModifier.NoModifier))
    assert page.context.settings.value("data.folders") == [str(pictures), str(tmp_path / "more.tar")]


def test_rules_of_a_folder_come_from_their_declaration(page: DatasetPage, pictures: Path) -> None:
    page.context.settings.set("data.folders", [str(pictures)])
    page.folders.edit_rules(str(pictures))
    dialog = page.folders.findChild(type(page.folders), "") or page.folders.children()[-1]
    dialog.model.set("rules.repeats", 3.0)
    dialog.accept()
    assert page.context.settings.value("data.folder_rules") == [{"path": str(pictures), "repeats": 3.0}]
    assert page.folders.lines[0].words == "repeats 3"
    page.folders.remove(str(pictures))
    assert page.context.settings.value("data.folder_rules") == []
    assert page.context.settings.value("data.folders") == []


def _many(count: int) -> Columns:
    ids = np.arange(count, dtype=np.int64) + 1
    nothing = np.zeros((count, 2), np.uint64)
    numbers = np.zeros(count, np.int32)
    return Columns(
        ids, np.full((count, 2), 512, np.int32), numbers, ["/p"], nothing, nothing, nothing[:, 0],
        np.zeros(count, np.uint8), numbers - 1, np.arange(count, dtype=np.int32),
    )  # fmt: skip


def _tile(number: int) -> Tile:
    return Tile(Picture(number, f"/p/{number:07d}.jpg", 512, 512, "", "", "", "", ""), (), number)


@pytest.fixture
def grid(qtbot, monkeypatch: pytest.MonkeyPatch) -> ThumbnailGrid:
    """Two million pictures that no disk holds."""
    made = ThumbnailGrid()
    qtbot.addWidget(made)
    made.resize(1000, 700)
    made.show()
    made._show_view(View(1, PictureFilter(), _many(2_000_000)))

    class Reader:
        def page(self, view: View, number: int) -> None:
            start = number * PAGE
            made._page_read(view.number, number, [_tile(place) for place in range(start, start + PAGE)])

        def close(self) -> None:
            pass

        deleteLater = close  # noqa: N815

    made._reader = Reader()
    return made


def test_two_million_pictures(grid: ThumbnailGrid) -> None:
    """Only what is in sight is asked for; every place can be reached."""
    bar = grid.verticalScrollBar()
    for place in (0, 10, 50, 99, 30, 100):
        bar.setValue(bar.maximum() * place // 100)
        QApplication.processEvents()
        first = next(iter(grid._visible()))
        grid.tile(first)
        assert grid.tile(first).picture.path == f"/p/{first:07d}.jpg"
    assert next(reversed(grid._visible())) == 1_999_999
    assert len(grid._pages) * PAGE < 4000


def test_selecting_with_mouse_and_keys(qtbot, grid: ThumbnailGrid) -> None:
    def click(position: int, held: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, held, grid._place(position).center())

    counts: list[int] = []
    grid.selection_changed.connect(counts.append)
    click(2)
    click(7, Qt.KeyboardModifier.ShiftModifier)
    click(4, Qt.KeyboardModifier.ControlModifier)
    assert sorted(grid.selection) == [2, 3, 5, 6, 7] and counts == [1, 6, 5]
    with qtbot.waitSignal(grid.selected) as told:
        qtbot.keyClick(grid, Qt.Key.Key_End)
    assert grid.selection.current == 1_999_999 and told.args[0].row == 1_999_999
    assert grid.viewport().rect().contains(grid._place(1_999_999))
    qtbot.keyClick(grid, Qt.Key.Key_PageUp, Qt.KeyboardModifier.ShiftModifier)
    assert len(grid.selection) == 1_999_999 - grid.selection.current + 1 > 12
    qtbot.keyClick(grid, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert len(grid.selection) == 2_000_000
    qtbot.keyClick(grid, Qt.Key.Key_Escape)
    assert len(grid.selection) == 0
    click(0)
    assert grid.number_at(QPoint(grid._layout.edge + 3, 10)) == -1


def test_a_growing_view_keeps_what_is_selected(grid: ThumbnailGrid) -> None:
    wanted = PictureFilter(text="x")
    rows = np.arange(500, dtype=np.int32)
    grid._show_view(View(2, wanted, _many(1000), rows[:100], complete=False))
    grid.select(30)
    grid._show_view(View(2, wanted, _many(1000), rows))
    assert grid.count == 500 and list(grid.selection) == [30]
    grid._show_view(View(3, PictureFilter(text="y"), _many(1000), rows[:7]))
    assert grid.count == 7 and not len(grid.selection)
