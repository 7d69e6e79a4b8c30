"""Looks at the pictures in a thread of its own: brings the index up to date and makes the report."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from core.errors import Stopped, UserError

log = logging.getLogger(__name__)


def index_file(settings: Any) -> Path:
    """Where the index of these settings' folders lies."""
    from core import paths
    from core.data.index import index_path

    cache = paths.resolve(settings.hardware.cache_folder) if settings.hardware.cache_folder else paths.cache_folder()
    return index_path(settings.data.folders, cache)


class _Look(QThread):
    """One look: scan (unless only the report is wanted), then the report."""

    told = Signal(int, int)

    def __init__(self, settings: Any, rescan: bool, parent: QObject) -> None:
        super().__init__(parent)
        self.settings = settings
        self.report: Any = None
        self.failure: Exception | None = None
        self._rescan = rescan
        self._stop = threading.Event()
        self._last = 0.0

    def cancel(self) -> None:
        """End soon; what was read already is kept in the index."""
        self._stop.set()

    def run(self) -> None:
        """In its own thread."""
        try:
            self._look()
        except Exception as error:
            self.failure = error

    def _look(self) -> None:
        from core import paths
        from core.data.index import Index
        from core.data.report import make_report

        with Index(index_file(self.settings)) as index:
            if self._rescan:
                index.scan([paths.resolve(folder) for folder in self.settings.data.folders], self._progress)
            pictures = []
            for picture in index.pictures():
                pictures.append(picture)
                if len(pictures) % 1000 == 0 and self._stop.is_set():
                    raise Stopped
            self.report = make_report(pictures, index.broken(), self.settings)

    def _progress(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Stopped
        now = time.monotonic()
        if now - self._last > 0.1 or done >= total:
            self._last = now
            self.told.emit(done, total)


class DatasetScan(QObject):
    """One look at a time; a newer one waits for the older one to end.

    Signals:
        began: A scan of the folders has begun (not sent when only the report is made anew).
        progress: (pictures looked at, pictures in all).
        done: The core.data.report.Report.
        failed: A sentence for the user; "" when the user stopped it.
    """

    began = Signal()
    progress = Signal(int, int)
    done = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._look: _Look | None = None
        self._next: tuple[Any, bool] | None = None

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self._look is not None

    def start(self, settings: Any, rescan: bool = True) -> None:
        """Look at the folders of `settings`; without `rescan` only make the report of what is known anew."""
        if self._look is not None:
            keep = self._next is not None and self._next[1]
            self._next = (settings, rescan or keep)
            if not rescan:
                return
            self._look.cancel()
            return
        self._look = _Look(settings, rescan, self)
        self._look.told.connect(self.progress)
        self._look.finished.connect(self._finished)
        if rescan:
            self.began.emit()
        self._look.start(QThread.Priority.LowPriority)

    def cancel(self) -> None:
        """Stop the look under way."""
        self._next = None
        if self._look is not None:
            self._look.cancel()

    def close(self) -> None:
        """Stop and wait: the window is closing."""
        self.cancel()
        if self._look is not None:
            self._look.wait(5000)

    def _finished(self) -> None:
        look, self._look = self._look, None
        if look is None:
            return
        following, self._next = self._next, None
        if following is not None:
            self.start(*following)
        elif look.failure is None:
            self.done.emit(look.report)
        elif isinstance(look.failure, Stopped):
            self.failed.emit("")
        elif isinstance(look.failure, UserError):
            self.failed.emit(str(look.failure))
        else:
            log.error("Looking at the pictures failed", exc_info=look.failure)
            self.failed.emit(f"The pictures could not be looked at ({look.failure}). The log has the details.")
        look.deleteLater()
