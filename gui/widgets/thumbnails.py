"""Small pictures decoded in other threads, only for what is in sight, and kept while there is room."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable

from PySide6.QtCore import QBuffer, QObject, QRunnable, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader, QPixmap

#: Bytes of pixels that are kept.
_ROOM = 40 << 20
_AT_ONCE = 2


def read_small(path: str, edge: int) -> QImage:
    """The picture with its longer side at most `edge`; a null image when nothing can decode it.

    `path` may lie in an archive. Every thread may call it.
    """
    from core.data import source

    buffer = QBuffer()
    if source.split(path) is None:
        reader = QImageReader(path)
    else:
        try:
            buffer.setData(source.read_bytes(path))
        except OSError:
            return QImage()
        reader = QImageReader(buffer)
    reader.setAutoTransform(True)
    reader.setDecideFormatFromContent(True)
    size = reader.size()
    if size.isValid() and max(size.width(), size.height()) > edge:
        reader.setScaledSize(size.scaled(QSize(edge, edge), Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1)))
    image = reader.read()
    if image.isNull():
        image = _read_with_pillow(path, edge)
    if max(image.width(), image.height()) > edge:
        image = image.scaled(edge, edge, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
    return image


def _read_with_pillow(path: str, edge: int) -> QImage:
    """For the formats that Qt does not know (AVIF, JPEG XL)."""
    from core.data import source
    from core.data.pictures import load_bytes
    from core.data.reasons import PictureError

    try:
        image = load_bytes(source.read_bytes(path))
    except (PictureError, OSError):
        return QImage()
    image.thumbnail((edge, edge))
    data = image.tobytes()
    return QImage(data, image.width, image.height, image.width * 3, QImage.Format.Format_RGB888).copy()


class _Told(QObject):
    read = Signal(str, object)


class _Job(QRunnable):
    def __init__(self, path: str, edge: int, told: _Told) -> None:
        super().__init__()
        self._path, self._edge, self._told = path, edge, told

    def run(self) -> None:
        """In a thread of the pool."""
        image = read_small(self._path, self._edge)
        with contextlib.suppress(RuntimeError):
            self._told.read.emit(self._path, image)


class Thumbnails(QObject):
    """Decodes what is wanted now; what was scrolled past before its turn came is never decoded.

    Signals:
        arrived: Path of a picture that get() gives now.
    """

    arrived = Signal(str)

    def __init__(self, edge: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._edge = edge
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(_AT_ONCE)
        self._told = _Told(self)
        self._told.read.connect(self._keep)
        self._known: OrderedDict[str, QPixmap] = OrderedDict()
        self._bytes = 0
        self._wanted: list[str] = []
        self._under_way: set[str] = set()

    def get(self, path: str) -> QPixmap | None:
        """The picture if it is known; a null pixmap when it cannot be decoded, None when nobody knows yet."""
        found = self._known.get(path)
        if found is not None:
            self._known.move_to_end(path)
        return found

    def want(self, paths: Iterable[str]) -> None:
        """What is in sight now, in the order in which it should come."""
        self._wanted = [path for path in paths if path not in self._known and path not in self._under_way]
        self._go_on()

    def _go_on(self) -> None:
        while self._wanted and len(self._under_way) < _AT_ONCE:
            path = self._wanted.pop(0)
            self._under_way.add(path)
            self._pool.start(_Job(path, self._edge, self._told))

    def _keep(self, path: str, image: QImage) -> None:
        self._under_way.discard(path)
        pixmap = QPixmap.fromImage(image)
        self._known[path] = pixmap
        self._bytes += _weight(pixmap)
        while self._bytes > _ROOM and len(self._known) > 1:
            self._bytes -= _weight(self._known.popitem(last=False)[1])
        self.arrived.emit(path)
        self._go_on()

    def wait(self) -> None:
        """Until nothing is being decoded; what waits is given up."""
        self._wanted.clear()
        self._pool.waitForDone()


def _weight(pixmap: QPixmap) -> int:
    return pixmap.width() * pixmap.height() * 4 + 200
