"""One picture as large as its place allows, decoded in another thread."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui import theme
from gui.widgets.background import Background


class PictureBox(QWidget):
    """A picture on a rounded ground."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self._pixmap = QPixmap()
        self._loader = Background(self)
        self._loader.done.connect(self._arrived)
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_path(self, path: str) -> None:
        """Decode in another thread, then show."""
        from gui.widgets.thumbnails import read_small

        edge = int(2 * self.height() * self.devicePixelRatioF())
        self._loader.start(lambda: read_small(path, edge))

    def _arrived(self, image: QImage) -> None:
        self._pixmap = QPixmap.fromImage(image)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Ground and picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = QPainterPath()
        ground.addRoundedRect(QRectF(self.rect()), 6, 6)
        painter.fillPath(ground, QColor(theme.current().raised))
        if not self._pixmap.isNull():
            painter.setClipPath(ground)
            size = QSize(self._pixmap.size()).scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
            target = QRectF(0, 0, size.width(), size.height())
            target.moveCenter(QRectF(self.rect()).center())
            painter.drawPixmap(target, self._pixmap, QRectF(self._pixmap.rect()))
        painter.end()
