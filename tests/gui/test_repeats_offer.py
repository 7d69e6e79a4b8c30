"""The offer to take over repeats from folders' names: only where they are there, and it can be left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gui.pages.dataset import DatasetPage
from tests.gui.dataset_pages import shown_page


@pytest.fixture
def page(qtbot, tmp_path: Path) -> Iterator[DatasetPage]:
    with shown_page(qtbot, tmp_path) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name in ("10_sks dog", "1_other", "3_third", "4_fourth", "plain"):
        (tmp_path / "kohya" / name).mkdir(parents=True)
    return str(tmp_path / "kohya")


def test_the_repeats_become_rules(qtbot, page: DatasetPage, folder: str) -> None:
    offer, settings = page.folders.offer, page.context.settings
    page.folders.add([folder])
    qtbot.waitUntil(lambda: not offer.isHidden(), timeout=10_000)
    assert "10_sks dog: 10 times" in offer.words.text() and "and 1 more" in offer.words.text()
    assert not settings.value("data.folder_rules")
    offer.take.click()
    rules = [(Path(rule["path"]).name, rule["repeats"]) for rule in page.folders._rules]
    assert rules == [("10_sks dog", 10), ("3_third", 3), ("4_fourth", 4)]
    assert len(settings.value("data.folder_rules")) == 3 and offer.isHidden()
    assert [line.words for line in page.folders.lines][1:] == ["repeats 10", "repeats 3", "repeats 4"]


def test_no_is_an_answer(qtbot, page: DatasetPage, folder: str) -> None:
    offer = page.folders.offer
    page.folders.add([folder])
    qtbot.waitUntil(lambda: not offer.isHidden(), timeout=10_000)
    offer.leave.click()
    assert offer.isHidden() and not page.context.settings.value("data.folder_rules")
    page.folders._put(folder, {"flip": "no"})
    assert offer.isHidden()


def test_it_goes_with_its_folder(qtbot, page: DatasetPage, folder: str) -> None:
    offer = page.folders.offer
    page.folders.add([folder])
    qtbot.waitUntil(lambda: not offer.isHidden(), timeout=10_000)
    page.folders.remove(folder)
    assert offer.isHidden() and offer.rules == []


def test_other_folders_are_not_asked_about(qtbot, page: DatasetPage, tmp_path: Path) -> None:
    (tmp_path / "plain" / "one_two").mkdir(parents=True)
    page.folders.add([str(tmp_path / "plain")])
    qtbot.waitUntil(lambda: not page.folders.offer._reader.busy, timeout=10_000)
    assert page.folders.offer.isHidden()


def test_a_folder_that_is_named_so_itself(qtbot, page: DatasetPage, folder: str) -> None:
    own = str(Path(folder) / "10_sks dog")
    page.folders.add([own])
    qtbot.waitUntil(lambda: not page.folders.offer.isHidden(), timeout=10_000)
    page.folders.offer.take.click()
    assert [line.words for line in page.folders.lines] == ["repeats 10"]
