"""Pictures read and scaled off the window's thread, and kept while there is room."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from pathlib import Path

from PySide6.QtCore import QObject, QRunnable, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader, QPixmap

#: Bytes of pixels that one loader keeps.
_ROOM = 96 << 20

Key = tuple[str, int]


class _Told(QObject):
    """Carries a picture from a reading thread to the window's."""

    read = Signal(object, object)


class _Job(QRunnable):
    """Reads one picture."""

    def __init__(self, key: Key, told: _Told) -> None:
        super().__init__()
        self._key = key
        self._told = told

    def run(self) -> None:
        """In a thread of the pool."""
        path, edge = self._key
        reader = QImageReader(path)
        reader.setAutoTransform(True)
        size = reader.size()
        if edge and max(size.width(), size.height()) > edge:
            reader.setScaledSize(size.scaled(QSize(edge, edge), Qt.AspectRatioMode.KeepAspectRatio))
        with contextlib.suppress(RuntimeError):
            self._told.read.emit(self._key, reader.read())


class PictureLoader(QObject):
    """Gives a picture at once when it is known, else later.

    Signals:
        loaded: Path of a picture that get() can give now.
    """

    loaded = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(2)
        self._told = _Told(self)
        self._told.read.connect(self._keep)
        self._known: OrderedDict[Key, QPixmap] = OrderedDict()
        self._asked: set[Key] = set()
        self._bytes = 0

    def get(self, path: Path | str, edge: int = 0) -> QPixmap | None:
        """The picture with its longer side at most `edge` pixels (0: as it is); None while it is being read."""
        key = (str(path), edge)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        if key not in self._asked:
            self._asked.add(key)
            self._pool.start(_Job(key, self._told))
        return None

    def peek(self, path: Path | str, edge: int = 0) -> QPixmap | None:
        """The picture if it is known; nothing is read."""
        return self._known.get((str(path), edge))

    def forget(self, path: Path | str) -> None:
        """Read a picture anew when it is asked for again."""
        for key in [key for key in self._known if key[0] == str(path)]:
            self._bytes -= _weight(self._known.pop(key))
        self._asked = {key for key in self._asked if key[0] != str(path)}

    def wait(self) -> None:
        """Until nothing is being read."""
        self._pool.waitForDone()

    def _keep(self, key: Key, image: QImage) -> None:
        if image.isNull():
            # It may be asked for again: a picture on a slow disk can come late.
            self._asked.discard(key)
            return
        pixmap = QPixmap.fromImage(image)
        self._known[key] = pixmap
        self._asked.discard(key)
        self._bytes += _weight(pixmap)
        while self._bytes > _ROOM and len(self._known) > 1:
            self._bytes -= _weight(self._known.popitem(last=False)[1])
        self.loaded.emit(key[0])


def _weight(pixmap: QPixmap) -> int:
    return pixmap.width() * pixmap.height() * 4
