"""Edits of captions in a thread of their own: looked at first, then done, undone, done again; always to be stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QThread, Signal

from core.errors import Stopped, UserError

if TYPE_CHECKING:
    from core.data.caption_edit import Change, Edit
    from core.data.caption_journal import Journal
    from core.data.index import Index
    from gui.widgets.picture_views import View

log = logging.getLogger(__name__)

#: Pictures asked of the index at once.
_CHUNK = 900
#: Seconds between two tellings of the progress.
_TELL_EVERY = 0.1

#: What a job does with the open index; the second argument is its progress, to be called with (done, total).
Work = Callable[["Index", Callable[[int, int], None]], Any]


@dataclass(frozen=True, slots=True)
class Picked:
    """Some pictures of a view, by ranges of positions, or all of them."""

    view: View
    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many."""
        return sum(stop - start for start, stop in self.ranges)

    def pictures(self, index: Index) -> Iterator[tuple[int, str]]:
        """(id, path) of each, some hundreds read at a time."""
        for ids in self.ids():
            yield from ((picture.id, picture.path) for picture in index.by_ids(ids))

    def ids(self) -> Iterator[list[int]]:
        """Their ids, in parts."""
        for start, stop in self.ranges:
            for place in range(start, stop, _CHUNK):
                yield self.view.ids_at(place, min(stop, place + _CHUNK)).tolist()


def journal_of(index_path: Path, roots: Sequence[str]) -> Journal:
    """The journal of edits; one folder for all indexes of a cache, listed by the picture folders."""
    from core.data.caption_journal import Journal

    return Journal(index_path.parent.parent / "caption-edits", roots)


def look(edit: Edit, picked: Picked) -> Work:
    """What an edit would do: gives a core.data.caption_edit.Preview."""

    def work(index: Index, progress: Callable[[int, int], None]) -> Any:
        from core.data.caption_edit import preview

        return preview(edit, picked.pictures(index), progress, picked.count)

    return work


def change(edit: Edit, picked: Picked, journal: Journal) -> Work:
    """Do it: gives a core.data.caption_journal.Outcome."""

    def work(index: Index, progress: Callable[[int, int], None]) -> Any:
        from core.data.caption_edit import Preview, changes

        found = changes(edit, picked.pictures(index), Preview(), progress, picked.count)
        return journal.apply(edit.words(), found, lambda done: tell_index(index, done))

    return work


def turn(journal: Journal, back: bool) -> Work:
    """Undo the newest edit, or do again the one that was undone last."""

    def work(index: Index, progress: Callable[[int, int], None]) -> Any:
        entry = journal.undoable() if back else journal.redoable()
        if entry is None:
            return None
        step = journal.undo if back else journal.redo
        return step(entry, lambda done: tell_index(index, done), progress)

    return work


def tell_index(index: Index, done: Sequence[Change]) -> None:
    """Let the index know the new captions, so that nobody has to look at the pictures again."""
    from core.data.captions import read_captions

    numbers = [change.number for change in done]
    known = {
        picture.id: picture.path
        for start in range(0, len(numbers), _CHUNK)
        for picture in index.by_ids(numbers[start : start + _CHUNK])
    }
    for change in done:
        if known.get(change.number) == change.picture:
            captions = read_captions(Path(change.picture))
            index.set_captions(change.number, captions.tags, captions.natural)


class CaptionJob(QThread):
    """One piece of work with an index of its own.

    Signals:
        told: (pictures done, pictures in all).
        done: The result; not sent when it failed or was stopped before it had one.
        failed: A sentence for the user; "" when it was stopped.
    """

    told = Signal(int, int)
    done = Signal(object)
    failed = Signal(str)

    def __init__(self, path: Path, work: Work, parent: QObject) -> None:
        super().__init__(parent)
        self._path = path
        self._work = work
        self._stop = threading.Event()
        self._last = 0.0
        self._result: Any = None
        self._failure: Exception | None = None
        self.finished.connect(self._report)

    def cancel(self) -> None:
        """End soon; what is done stays done, and can be undone."""
        self._stop.set()

    def run(self) -> None:
        """In its own thread."""
        from core.data.index import Index

        try:
            with Index(self._path) as index:
                self._result = self._work(index, self._progress)
        except Exception as error:
            self._failure = error

    def _progress(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Stopped
        now = time.monotonic()
        if now - self._last > _TELL_EVERY:
            self._last = now
            self.told.emit(done, total)

    def _report(self) -> None:
        if self._failure is None:
            self.done.emit(self._result)
        elif isinstance(self._failure, Stopped):
            self.failed.emit("")
        elif isinstance(self._failure, UserError):
            self.failed.emit(str(self._failure))
        else:
            log.error("Editing captions failed", exc_info=self._failure)
            self.failed.emit(f"The captions could not be changed ({self._failure}). The log has the details.")
        self.deleteLater()


class CaptionJobs(QObject):
    """One job at a time.

    Signals:
        busy_changed: Whether one is under way.
        told, done, failed: As of CaptionJob, of the newest job.
    """

    busy_changed = Signal(bool)
    told = Signal(int, int)
    done = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._job: CaptionJob | None = None
        self._next: tuple[Path, Work] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def start(self, path: Path, work: Work) -> None:
        """Do something; a job under way is stopped first, and its result is nobody's."""
        if self._closed:
            return
        if self._job is not None:
            self._next = (path, work)
            self._job.cancel()
            return
        self._job = CaptionJob(path, work, self)
        self._job.told.connect(self.told)
        self._job.done.connect(lambda result: self._ended(self.done, result))
        self._job.failed.connect(lambda text: self._ended(self.failed, text))
        self._job.start(QThread.Priority.LowPriority)
        self.busy_changed.emit(True)

    def _ended(self, signal: Any, result: Any) -> None:
        self._job = None
        following, self._next = self._next, None
        if following is not None:
            self.start(*following)
            return
        self.busy_changed.emit(False)
        signal.emit(result)

    def cancel(self) -> None:
        """Stop the job under way, if there is one."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Stop and wait, and start nothing more: the window is closing."""
        self._closed = True
        self.cancel()
        if self._job is not None:
            self._job.wait()
