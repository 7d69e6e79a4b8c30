"""A Dataset page on the screen with real pictures, for the tests of its parts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, QThreadPool
from PySide6.QtWidgets import QApplication

from core.paths import RESOURCES
from gui.context import Context
from gui.pages.dataset import DatasetPage
from gui.settings_model import SettingsModel


def some_pictures(folder: Path) -> Path:
    """Eight of the shipped pictures, the first without captions, and two files that are no pictures."""
    folder.mkdir()
    for number, path in enumerate(sorted((RESOURCES / "starter" / "pictures").glob("*.png"))[:8]):
        shutil.copy(path, folder / f"{number}.png")
        if number:
            (folder / f"{number}.txt").write_text(f"ink stamp, number {number}", encoding="utf-8")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("not a picture", encoding="utf-8")
    return folder


@contextmanager
def shown_page(qtbot: Any, folder: Path) -> Iterator[DatasetPage]:
    """The page, on the screen; `folder` keeps the window's memory."""
    made = DatasetPage(Context(SettingsModel(), QSettings(str(folder / "window.ini"), QSettings.Format.IniFormat)))
    made.resize(1100, 700)
    made.show()
    qtbot.waitExposed(made)
    try:
        yield made
    finally:
        made.hidden()
        made.closed()
        QThreadPool.globalInstance().waitForDone(5000)
        made.deleteLater()
        QApplication.processEvents()


def look(qtbot: Any, page: DatasetPage, folder: Path, count: int = 8) -> None:
    """Look at a folder and wait for its first tile and for what is known of the pictures."""
    page.context.settings.set("data.folders", [str(folder)])
    with qtbot.waitSignal(page.scan.done, timeout=20_000):
        page.look.click()
    qtbot.waitUntil(lambda: page.grid.count == count and page.grid.tile(0) is not None, timeout=10_000)
    qtbot.waitUntil(lambda: page.pane.facts is not None and page.pane.facts.part is not None, timeout=10_000)


def names(page: DatasetPage) -> list[str]:
    """Names of the pictures that the grid shows, as far as they are read."""
    tiles = [page.grid.tile(position) for position in range(page.grid.count)]
    return [Path(tile.picture.path).name for tile in tiles if tile is not None]


def wait_for(qtbot: Any, page: DatasetPage, wanted: list[str]) -> None:
    """Until the grid shows these pictures."""
    qtbot.waitUntil(lambda: names(page) == wanted, timeout=10_000)
