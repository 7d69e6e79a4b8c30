"""Asks the index for pages of pictures in a thread of its own, the newest question first."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from core.data.index import Index, Picture

log = logging.getLogger(__name__)

#: Pictures per question.
PAGE = 60
#: Questions that may wait; older ones are about rows that were scrolled past.
_MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """Something remarkable about a picture: its badge, the badge's colour, and a sentence."""

    icon: str
    token: str
    text: str


NO_CAPTION = Mark("edit", "warn", "No caption")


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of the grid, with what is remarkable about it."""

    picture: Picture
    marks: tuple[Mark, ...]


class IndexReader(QObject):
    """One thread with one open index.

    Signals:
        counted: (text, number of pictures that match it).
        page_read: (text, offset, list of Tile).
    """

    counted = Signal(str, int)
    page_read = Signal(str, int, object)

    def __init__(self, path: Path, data_settings: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._data = data_settings
        self._wake = threading.Condition()
        self._counts: list[str] = []
        self._pages: list[tuple[str, int]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="index reader", daemon=True)
        self._thread.start()

    def count(self, text: str) -> None:
        """Ask how many pictures match `text`; takes the place of older questions."""
        with self._wake:
            self._counts = [text]
            self._pages.clear()
            self._wake.notify()

    def page(self, text: str, offset: int) -> None:
        """Ask for PAGE pictures from `offset` on."""
        with self._wake:
            if (text, offset) not in self._pages:
                self._pages.append((text, offset))
                del self._pages[:-_MOST_WAITING]
                self._wake.notify()

    def close(self) -> None:
        """End the thread and wait for it."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(5)

    def _work(self) -> None:
        from core.data.index import Index

        try:
            with Index(self._path) as index:
                while (question := self._next()) is not None:
                    self._answer(index, *question)
        except Exception:
            log.exception("The index %s could not be read", self._path)

    def _next(self) -> tuple[str, int] | None:
        """The next question, (text, -1) for a count; None when it is time to end."""
        with self._wake:
            while not (self._closing or self._counts or self._pages):
                self._wake.wait()
            if self._closing:
                return None
            return (self._counts.pop(), -1) if self._counts else self._pages.pop()

    def _answer(self, index: Index, text: str, offset: int) -> None:
        try:
            if offset < 0:
                self.counted.emit(text, index.count_matching(text))
            else:
                self.page_read.emit(text, offset, self._tiles(index.page(offset, PAGE, text)))
        except RuntimeError:
            log.debug("the grid is gone")

    def _tiles(self, pictures: list[Picture]) -> list[Tile]:
        import numpy as np

        from core.data.buckets import fit_many

        if not pictures:
            return []
        sizes = np.array([(picture.width, picture.height) for picture in pictures], dtype=np.int64)
        fits = fit_many(sizes, self._data)
        cropped = fits.cropped_share()
        enlarged = np.any(fits.resized > sizes, axis=1).tolist()
        return [
            Tile(picture, marks_of(picture, float(cropped[place]), bool(enlarged[place])))
            for place, picture in enumerate(pictures)
        ]


def marks_of(picture: Picture, cropped: float, enlarged: bool) -> tuple[Mark, ...]:
    """What is remarkable about a picture, the weightiest first."""
    found = []
    if not picture.tags and not picture.natural:
        found.append(NO_CAPTION)
    if picture.caption_problem:
        found.append(Mark("warning", "warn", picture.caption_problem))
    if cropped > 0.15:
        found.append(Mark("crop", "warn", f"{cropped:.0%} of it is cropped"))
    if enlarged:
        found.append(Mark("enlarge", "dim", "Smaller than its bucket, so it is enlarged"))
    return tuple(found)
