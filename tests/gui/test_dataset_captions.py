"""Editing many captions on the Dataset page: looked at first, changed in a thread, undone, done again."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data.index import Index
from gui.pages.dataset import DatasetPage
from gui.widgets.bulk_captions import BulkCaptions
from tests.gui.dataset_pages import look, shown_page, some_pictures, wait_for


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight pictures; all but the first have tags."""
    return some_pictures(tmp_path / "pictures")


@pytest.fixture
def page(qtbot, tmp_path: Path, pictures: Path) -> Iterator[DatasetPage]:
    """The page, which has looked at the pictures."""
    with shown_page(qtbot, tmp_path) as made:
        look(qtbot, made, pictures)
        yield made


def _texts(pictures: Path) -> list[str]:
    return [path.read_text(encoding="utf-8").strip() for path in sorted(pictures.glob("*.txt"))]


def _open(qtbot, page: DatasetPage) -> BulkCaptions:
    page.pane.edit.click()
    assert page.pane.bulk is not None
    return page.pane.bulk


def _choose(bulk: BulkCaptions, kind: str, find: str = "", text: str = "") -> None:
    bulk._kind_buttons[kind].click()
    bulk.find.setText(find)
    bulk.text.setText(text)


def _change(qtbot, page: DatasetPage, bulk: BulkCaptions) -> None:
    qtbot.waitUntil(bulk.apply.isEnabled, timeout=10_000)
    with qtbot.waitSignal(bulk.changed, timeout=10_000):
        bulk.apply.click()


def test_all_that_are_shown_are_changed_and_changed_back(qtbot, page: DatasetPage, pictures: Path) -> None:
    before = _texts(pictures)
    bulk = _open(qtbot, page)
    _choose(bulk, "rename", "ink stamp", "woodcut")
    qtbot.waitUntil(lambda: bulk.says.text() == "7 files of 8 pictures will change.", timeout=10_000)
    assert _texts(pictures) == before
    assert "line-through" in bulk.examples.toHtml() and "woodcut" in bulk.examples.toPlainText()
    _change(qtbot, page, bulk)
    assert _texts(pictures) == [text.replace("ink stamp", "woodcut") for text in before]
    qtbot.waitUntil(lambda: page.tags.tags.bars[0] == ("woodcut", 7), timeout=10_000)
    page.pane.filter.set(tags=("woodcut",))
    qtbot.waitUntil(lambda: page.grid.count == 7, timeout=10_000)
    qtbot.waitUntil(lambda: "Rename “ink stamp” by “woodcut” (7 files)" in page.pane.undo.toolTip(), timeout=10_000)
    page.pane.undo.click()
    qtbot.waitUntil(lambda: _texts(pictures) == before, timeout=10_000)
    qtbot.waitUntil(lambda: page.grid.count == 0, timeout=10_000)
    qtbot.waitUntil(page.pane.redo.isEnabled, timeout=10_000)
    page.pane.redo.click()
    qtbot.waitUntil(lambda: page.grid.count == 7, timeout=10_000)
    assert "ink stamp" not in "".join(_texts(pictures))


def test_only_the_selected_ones(qtbot, page: DatasetPage, pictures: Path) -> None:
    page.grid.select(2)
    page.grid.selection.extend(4)
    page.grid._selection_moved()
    bulk = _open(qtbot, page)
    assert bulk.scopes[0].isChecked() and bulk.scopes[0].text() == "3 selected"
    _choose(bulk, "add", text="new")
    _change(qtbot, page, bulk)
    assert [text.endswith(", new") for text in _texts(pictures)] == [False, True, True, True, False, False, False]
    qtbot.waitUntil(lambda: page.captions.tags.text.endswith(", new"), timeout=10_000)
    with Index(page.pane._reader.path) as index:
        assert sum(picture.tags.endswith(", new") for picture in index.pictures()) == 3


def test_what_cannot_be_done_is_said(qtbot, page: DatasetPage) -> None:
    bulk = _open(qtbot, page)
    _choose(bulk, "replace", "(", "x")
    bulk.pattern.setChecked(True)
    assert "no pattern" in bulk.says.text() and not bulk.apply.isEnabled()
    bulk.pattern.setChecked(False)
    qtbot.waitUntil(lambda: bulk.says.text() == "Nothing will change.", timeout=10_000)
    assert not bulk.apply.isEnabled()
    bulk.tags.setChecked(False)
    assert "Choose which files" in bulk.says.text()


def test_a_tag_leads_to_its_edit(qtbot, page: DatasetPage) -> None:
    qtbot.waitUntil(lambda: len(page.tags.tags.bars) == 8, timeout=10_000)
    page.tags.tags.clicked.emit("number 5")
    wait_for(qtbot, page, ["5.png"])
    page.tags.rename.click()
    assert page.pane.bulk.kind == "rename" and page.pane.bulk.find.text() == "number 5"


def test_pictures_in_archives_stay_as_they_are(qtbot, page: DatasetPage, pictures: Path) -> None:
    with tarfile.open(pictures / "some.tar", "w") as tar:
        for name in ("1.png", "1.txt"):
            tar.add(pictures / name, name)
    look(qtbot, page, pictures, 9)
    whole = (pictures / "some.tar").read_bytes()
    bulk = _open(qtbot, page)
    _choose(bulk, "add", text="new")
    qtbot.waitUntil(lambda: bulk.says.text() == "8 files of 9 pictures will change.", timeout=10_000)
    assert "1 picture lies in an archive" in bulk.notes.text()
    _change(qtbot, page, bulk)
    assert (pictures / "some.tar").read_bytes() == whole
    page.pane.filter.set(folder=str(pictures / "some.tar"))
    wait_for(qtbot, page, ["1.png"])
    page.grid.select(0)
    qtbot.waitUntil(lambda: page.captions.tile is not None)
    assert page.captions.tags.edit.isReadOnly() and "archive" in page.captions.saved.text()


def test_tokens_and_near_duplicates_are_learned_when_asked(qtbot, page: DatasetPage, pictures: Path) -> None:
    (pictures / "3.txt").write_text("cat, " * 60, encoding="utf-8")
    with qtbot.waitSignal(page.scan.done, timeout=20_000):
        page.look.click()
    assert page.report.fates.texts()["Captions cut off"] == "not known yet"
    with qtbot.waitSignal(page.scan.done, timeout=30_000):
        page.report.count_tokens.click()
    assert page.report.fates.texts()["Captions cut off"] == "1"
    assert page.report.count_tokens.isHidden()
    page.report.fates.click("Captions cut off")
    wait_for(qtbot, page, ["3.png"])
    with qtbot.waitSignal(page.scan.done, timeout=30_000):
        page.report.find_twins.click()
    assert page.report.fates.texts()["Near duplicates"].isdigit()
