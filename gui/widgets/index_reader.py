"""Asks the index for what the Dataset page shows, in threads of its own: for tiles, filters, questions, facts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from core.errors import Stopped, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.data.applied import Applied
    from core.data.columns import Columns
    from core.data.index import Index
    from core.data.picture_filter import Facts, PictureFilter
    from gui.widgets.index_questions import Question
    from gui.widgets.picture_views import Marker, Tile, View

log = logging.getLogger(__name__)

#: Pictures per question.
PAGE = 60
#: Questions that may wait; older ones are about rows that were scrolled past.
_MOST_WAITING = 8
#: Seconds between two looks at what a search has found.
_SHOW_EVERY = 0.25
#: Seconds between two looks whether something is known by now.
_PATIENCE = 0.02


class _Worker(threading.Thread):
    """A thread with an open index that does the newest thing it is asked."""

    def __init__(self, name: str, path: Path, failed: Callable[[str], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._path = path
        self._failed = failed
        self._wake = threading.Condition()
        self._jobs: list[tuple[object, Callable[[Index], None]]] = []
        self._closing = False

    def ask(self, key: object, job: Callable[[Index], None], most: int) -> None:
        """Do `job` next; at most `most` jobs wait, the oldest are forgotten. The same `key` is not asked twice."""
        with self._wake:
            self._jobs = [one for one in self._jobs if one[0] != key]
            self._jobs.append((key, job))
            del self._jobs[:-most]
            self._wake.notify()

    def close(self) -> None:
        """End soon."""
        with self._wake:
            self._closing = True
            self._jobs.clear()
            self._wake.notify()

    def run(self) -> None:
        """In the thread."""
        from core.data.index import Index

        try:
            with Index(self._path) as index:
                while (job := self._next()) is not None:
                    self._do(job, index)
        except Exception as error:
            log.exception("The index %s could not be read", self._path)
            self._failed(f"The index of the pictures cannot be read ({error}). Look at the pictures again.")

    def _do(self, job: Callable[[Index], None], index: Index) -> None:
        try:
            job(index)
        except Stopped:
            log.debug("nobody wants the answer any more")
        except UserError as error:
            self._failed(str(error))
        except Exception as error:
            if self._closing:
                log.debug("the page is gone", exc_info=error)
                return
            log.exception("A question to the index %s failed", self._path)
            self._failed(f"The index of the pictures cannot be read ({error}). Look at the pictures again.")

    def _next(self) -> Callable[[Index], None] | None:
        with self._wake:
            while not (self._closing or self._jobs):
                self._wake.wait()
            return None if self._closing else self._jobs.pop()[1]


class IndexReader(QObject):
    """Reads one index for a grid.

    Signals:
        opened: The index can be shown; how many usable pictures it has.
        view_changed: The View to show; the same number again when a search found more.
        page_read: (number of the view, number of the page, list of Tile).
        facts_changed: The Facts: what the settings make of the pictures is known now, or known anew.
        working: Whether a filter is being worked out.
        answered: (name, answer) of a question that was asked with ask().
        failed: A sentence for the user.
    """

    opened = Signal(int)
    view_changed = Signal(object)
    page_read = Signal(int, int, object)
    facts_changed = Signal(object)
    working = Signal(bool)
    answered = Signal(str, object)
    failed = Signal(str)

    def __init__(self, path: Path, settings: Any, applied: Applied, parent: QObject | None = None) -> None:
        """`applied` shares the work on all pictures (see DatasetScan)."""
        super().__init__(parent)
        self.path = path
        self._applied = applied
        self._settings = settings
        self._columns: Columns | None = None
        self._scans, self._held = 0, -1
        self._facts: Facts | None = None
        self._marker: Marker | None = None
        self._newest = 0
        self._closing = False
        self._pages = _Worker("index pages", path, self._say_failed)
        self._filters = _Worker("index filters", path, self._say_failed)
        self._others = _Worker("index questions", path, self._say_failed)
        self._learner = _Worker("index facts", path, self._say_failed)
        self._asked: dict[str, int] = {}
        self._workers = (self._pages, self._filters, self._others, self._learner)
        for worker in self._workers:
            worker.start()

    def _say_failed(self, text: str) -> None:
        try:
            self.failed.emit(text)
        except RuntimeError:
            log.debug("the page is gone")

    # -- asking, in the window's thread -----------------------------------------------------------------------

    def show(self, wanted: PictureFilter) -> None:
        """Work out which pictures a filter shows; takes the place of older questions."""
        self._newest += 1
        number = self._newest
        self._filters.ask("view", lambda index: self._work_out(index, wanted, number), 1)

    def page(self, view: View, number: int) -> None:
        """Ask for PAGE tiles of a view."""
        self._pages.ask((view.number, number), lambda index: self._read_page(index, view, number), _MOST_WAITING)

    def follow(self, settings: Any, wanted: PictureFilter, scanned: bool = False) -> None:
        """Other settings: forget what was made of the old ones, and show the filter anew. `scanned`: the index holds
        other pictures or captions now."""
        self._settings = settings
        self._facts = None
        self._scans += scanned
        self.show(wanted)

    def ask(self, name: str, question: Question) -> None:
        """Answer a question of a panel; a newer one of the same name makes an older one's answer unwanted."""
        number = self._asked[name] = self._asked.get(name, 0) + 1
        self._others.ask(name, lambda index: self._answer(index, name, number, question), _MOST_WAITING)

    def drop(self, name: str) -> None:
        """Nobody wants the answer any more."""
        self._asked[name] = self._asked.get(name, 0) + 1

    @property
    def facts(self) -> Facts | None:
        """What is known by now."""
        return self._facts

    def close(self) -> None:
        """End the threads and wait for them."""
        self._closing = True
        self._newest += 1
        self._asked = {name: number + 1 for name, number in self._asked.items()}
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.join(5)

    # -- answering, in the threads ----------------------------------------------------------------------------

    def _read_page(self, index: Index, view: View, number: int) -> None:
        start, stop = number * PAGE, min(view.count, (number + 1) * PAGE)
        self.page_read.emit(view.number, number, self._tiles(index, view, start, stop))

    def _tiles(self, index: Index, view: View, start: int, stop: int) -> list[Tile | None]:
        """The tiles of some positions; None for a picture that is gone from the index since."""
        from core.data.picture_filter import Facts
        from gui.widgets.picture_views import Marker

        marker = self._marker or Marker(view.columns, Facts())
        ids = view.ids_at(start, stop).tolist()
        found = {picture.id: picture for picture in index.by_ids(ids)}
        return marker.tiles([found.get(one) for one in ids], view.rows_at(start, stop))

    def _answer(self, index: Index, name: str, number: int, question: Question) -> None:
        from core.data.picture_filter import Facts

        columns = self._columns
        if columns is None or self._asked.get(name) != number:
            return
        try:
            answer = question(index, columns, self._facts or Facts(), lambda: self._asked.get(name) != number)
        except UserError as error:
            self.failed.emit(str(error))
            return
        if self._asked.get(name) == number:
            self.answered.emit(name, answer)

    def _work_out(self, index: Index, wanted: PictureFilter, number: int) -> None:
        from core.data.picture_filter import PictureFilter
        from gui.widgets.picture_views import View

        def stop() -> bool:
            return number != self._newest

        self.working.emit(True)
        try:
            columns = self._open(index)
            if wanted.problem == "broken":
                self.view_changed.emit(View(number, wanted, columns, ids=_broken(index, wanted, stop)))
            elif wanted == PictureFilter():
                self.view_changed.emit(View(number, wanted, columns))
            else:
                if wanted.needs_facts:
                    self._wait_for_facts(stop)
                for view in self._views(index, columns, wanted, (number, stop)):
                    self.view_changed.emit(view)
        finally:
            if not stop():
                self.working.emit(False)

    def _open(self, index: Index) -> Columns:
        """The columns of now; the window's thread may ask for newer ones at any moment."""
        scans, settings, columns = self._scans, self._settings, self._columns
        if columns is None or self._held != scans:
            columns = index.columns()
            self._marker = None
            self._columns, self._held, self._facts = columns, scans, None
            self.opened.emit(len(columns))
        if self._facts is None:
            self._learner.ask("facts", lambda _: self._learn(columns, settings), 1)
        return columns

    def _learn(self, columns: Columns, settings: Any) -> None:
        """Work out what the settings make of the pictures."""
        from core.data.picture_facts import learn

        with self._applied.turn:
            if settings is self._settings and not self._closing:
                self._keep_facts(learn(columns, settings, self._applied), columns, settings)

    def _keep_facts(self, facts: Facts, columns: Columns, settings: Any) -> None:
        from gui.widgets.picture_views import Marker

        if settings is self._settings and columns is self._columns:
            self._facts, self._marker = facts, Marker(columns, facts)
            self.facts_changed.emit(facts)

    def _wait_for_facts(self, stop: Callable[[], bool]) -> None:
        while self._facts is None:
            if stop():
                raise Stopped
            time.sleep(_PATIENCE)

    def _views(
        self, index: Index, columns: Columns, wanted: PictureFilter, asked: tuple[int, Callable[[], bool]]
    ) -> Iterator[View]:
        """The view of a filter, growing while its texts are searched."""
        import numpy as np

        from core.data.picture_filter import Facts, in_order, matching
        from gui.widgets.picture_views import View

        number, stop = asked
        mask = matching(columns, self._facts or Facts(), wanted, stop)
        if not wanted.needs_texts:
            yield View(number, wanted, columns, in_order(columns, mask, stop))
            return
        parts: list[NDArray[np.int32]] = []
        shown, last = 0, time.monotonic()
        for rows in _search(index, columns, wanted, mask, stop):
            parts.append(rows)
            if time.monotonic() - last > _SHOW_EVERY and len(parts) > shown:
                yield View(number, wanted, columns, np.concatenate(parts), complete=False)
                shown, last = len(parts), time.monotonic()
        found = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        if not shown:  # nobody has seen it yet, so it may be put into the order of paths
            mask[:] = False
            mask[found] = True
            found = in_order(columns, mask, stop)
        yield View(number, wanted, columns, found)


def _search(
    index: Index, columns: Columns, wanted: PictureFilter, mask: NDArray[np.bool_], stop: Callable[[], bool]
) -> Iterator[NDArray[np.int32]]:
    """Rows whose texts hold what is wanted, as they are found."""
    import numpy as np

    from core.data.caption_files import distinct_tags

    words = wanted.text or max(wanted.tags, key=len)
    needed = set(wanted.tags)
    for ids in index.search(words, stop):
        if stop():
            raise Stopped
        rows = columns.rows_of(ids)
        rows = rows[mask[rows]]
        if needed and len(rows):
            texts = index.captions_of(columns.ids[rows].tolist())
            rows = rows[np.array([needed <= distinct_tags(text.tags) for text in texts], dtype=bool)]
        if len(rows):
            yield rows.astype(np.int32)


def _broken(index: Index, wanted: PictureFilter, stop: Callable[[], bool]) -> NDArray[np.int64]:
    """The ids of the broken pictures; of the filter only text and folder mean something for them."""
    import numpy as np

    found = []
    for picture in index.pictures(broken=True):
        if stop():
            raise Stopped
        inside = not wanted.folder or picture.path.startswith(wanted.folder)
        if inside and wanted.text.casefold() in picture.path.casefold():
            found.append(picture.id)
    return np.array(found, dtype=np.int64)
