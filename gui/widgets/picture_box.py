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
        paint_picture(self, self._pixmap)


def paint_picture(widget: QWidget, pixmap: QPixmap | None) -> None:
    """Paint a picture as large as a widget has room, on a rounded ground; the ground alone while there is none."""
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    ground = QPainterPath()
    ground.addRoundedRect(QRectF(widget.rect()), 6, 6)
    painter.fillPath(ground, QColor(theme.current().raised))
    if pixmap is not None and not pixmap.isNull():
        painter.setClipPath(ground)
        size = QSize(pixmap.size()).scaled(widget.size(), Qt.AspectRatioMode.KeepAspectRatio)
        target = QRectF(0, 0, size.width(), size.height())
        target.moveCenter(QRectF(widget.rect()).center())
        painter.drawPixmap(target, pixmap, QRectF(pixmap.rect()))
    painter.end()
