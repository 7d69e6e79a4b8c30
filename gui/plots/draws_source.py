"""The draws of the shown run, read and fitted in another thread at an easy pace."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from core import timestep_losses
from core.run_data import RunData
from core.timestep_views import Draws, DrawsReader, imported_records
from gui.widgets.background import Background

log = logging.getLogger(__name__)

#: Seconds between two looks at the file; and a look may take this share of a processor's time.
_PAUSE, _SHARE = 2.0, 0.05


class DrawsSource(QObject):
    """Holds the newest Draws of a run; refresh() looks for more now and then.

    Signals:
        changed: There are others.
    """

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.draws: Draws | None = None
        self._reader: DrawsReader | None = None
        self._data = RunData()
        self._path: Path | None = None
        self._next = 0.0
        self._later = QTimer(self, singleShot=True)
        self._later.timeout.connect(self.refresh)
        self._work = Background(self)
        self._work.done.connect(self._arrived)
        self._work.failed.connect(self._failed)

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self._work.busy

    def set_run(self, path: Path | None, data: RunData) -> None:
        """Follow another run; `path` is its folder. None: there is only data, which has no draws."""
        self._work.forget()
        self._later.stop()
        self._path, self._data = path, data
        self._reader = None
        self._next = 0.0
        if self.draws is not None:
            self.draws = None
            self.changed.emit()

    def refresh(self) -> None:
        """Look for more unless the last look was just now."""
        wait = self._next - time.monotonic()
        if self._path is None or self._work.busy or wait > 0:
            if self._path is not None and not self._later.isActive():
                self._later.start(round(1000 * max(0.1, wait)))
            return
        place, data, reader = timestep_losses.path_of(self._path), self._data, self._reader

        def look() -> tuple[DrawsReader, Draws | None, float]:
            began = time.monotonic()
            mine = reader or DrawsReader(place, imported_records(data))
            return mine, mine.look(), time.monotonic() - began

        self._work.start(look)

    def _arrived(self, found: tuple[DrawsReader, Draws | None, float]) -> None:
        self._reader, draws, seconds = found
        self._next = time.monotonic() + max(_PAUSE, seconds / _SHARE)
        if draws is not None:
            self.draws = draws
            self.changed.emit()

    def _failed(self, error: BaseException) -> None:
        """A file that cannot be read is as good as none; it is tried again, but seldom."""
        self._next = time.monotonic() + 30 * _PAUSE
        log.warning("the draws of %s cannot be read: %s", self._path, error)
