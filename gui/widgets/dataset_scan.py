"""Looks at the pictures in a thread of its own: brings the index up to date and makes the report."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from core.errors import Stopped, UserError

if TYPE_CHECKING:
    from core.data.applied import Applied

log = logging.getLogger(__name__)


def index_file(settings: Any) -> Path:
    """Where the index of these settings' folders lies."""
    from core import paths
    from core.data.index import index_path

    return index_path(settings.data.folders, paths.cache_root(settings.hardware.cache_folder))


#: What can be learned beside the scan: (title, function of core.data.learning).
JOBS = {
    "tokens": ("Counting tokens", "count_tokens"),
    "twins": ("Looking for near duplicates", "look_closely"),
}
_SCANNING = "Looking at the pictures"


@dataclass(frozen=True, slots=True)
class _Order:
    """What one look is to do: scan, learn (a key of JOBS), and make the report, always."""

    settings: Any
    rescan: bool
    learn: str = ""

    @property
    def title(self) -> str:
        """What the user is told, "" for the report alone, which is quick."""
        return _SCANNING if self.rescan else JOBS[self.learn][0] if self.learn else ""


class _Look(QObject):
    """One look, in a thread that nobody has to wait for when the program ends.

    Signals:
        told: (pictures looked at, pictures in all).
        finished: It is over, one way or another.
    """

    told = Signal(int, int)
    finished = Signal()

    def __init__(self, order: _Order, applied: Applied, parent: QObject) -> None:
        super().__init__(parent)
        self.order = order
        self._applied = applied
        self.report: Any = None
        self.failure: Exception | None = None
        self._stop = threading.Event()
        self._last = 0.0
        self._thread = threading.Thread(target=self._run, name="dataset scan", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until it is over, or so long."""
        self._thread.join(seconds)

    def cancel(self) -> None:
        """End soon; what was read already is kept in the index."""
        self._stop.set()

    def _run(self) -> None:
        """In its own thread."""
        try:
            self._look()
        except Exception as error:
            self.failure = error
        with contextlib.suppress(RuntimeError):  # the window may be gone
            self.finished.emit()

    def _look(self) -> None:
        from core.data import learning
        from core.data.report import make_report
        from core.data.scanning import open_index, scan

        order = self.order
        with open_index(order.settings) as index:
            if order.rescan:
                scan(order.settings, index, self._progress)
            if order.learn:
                getattr(learning, JOBS[order.learn][1])(index, order.settings, self._progress)
            with self._applied.turn:
                self._quietly()
                self.report = make_report(index, order.settings, self._quietly, self._applied)

    def _progress(self, done: int, total: int) -> None:
        self._quietly(done, total)
        now = time.monotonic()
        if now - self._last > 0.1 or done >= total:
            self._last = now
            self.told.emit(done, total)

    def _quietly(self, *_: object) -> None:
        if self._stop.is_set():
            raise Stopped


class DatasetScan(QObject):
    """One look at a time; a newer one waits for the older one to end.

    Signals:
        began: A longer look has begun (not sent when only the report is made anew); what it does, as a title.
        progress: (pictures looked at, pictures in all).
        done: The core.data.report.Report, and whether the index may hold other pictures or captions now.
        failed: A sentence for the user; "" when the user stopped it.
    """

    began = Signal(str)
    progress = Signal(int, int)
    done = Signal(object, bool)
    failed = Signal(str)

    def __init__(self, applied: Applied, parent: QObject) -> None:
        """`applied` shares the work on all pictures with whoever else on the page does it."""
        super().__init__(parent)
        self._applied = applied
        self._look: _Look | None = None
        self._next: _Order | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self._look is not None

    def start(self, settings: Any, rescan: bool = True, learn: str = "") -> None:
        """Look at the folders of `settings`; without `rescan` only learn something, or make the report anew."""
        if self._closed:
            return
        order = _Order(settings, rescan, learn)
        if self._look is not None:
            if self._next is not None:
                order = _Order(settings, rescan or self._next.rescan, learn or self._next.learn)
            self._next = order
            if rescan or not self._look.order.title:
                self._look.cancel()
            return
        self._look = _Look(order, self._applied, self)
        self._look.told.connect(self.progress)
        self._look.finished.connect(self._finished)
        if order.title:
            self.began.emit(order.title)
        self._look.start()

    def cancel(self) -> None:
        """Stop the look under way."""
        self._next = None
        if self._look is not None:
            self._look.cancel()

    def close(self) -> None:
        """Stop and wait, and start nothing more: the window is closing."""
        self._closed = True
        self.cancel()
        if self._look is not None:
            self._look.wait(5)

    def _finished(self) -> None:
        look, self._look = self._look, None
        if look is None:
            return
        following, self._next = self._next, None
        if following is not None:
            self.start(following.settings, following.rescan, following.learn)
        elif look.failure is None:
            self.done.emit(look.report, bool(look.order.title))
        elif isinstance(look.failure, Stopped):
            self.failed.emit("")
        elif isinstance(look.failure, UserError):
            self.failed.emit(str(look.failure))
        else:
            log.error("Looking at the pictures failed", exc_info=look.failure)
            self.failed.emit(f"The pictures could not be looked at ({look.failure}). The log has the details.")
        look.deleteLater()
