"""The selected picture with its captions, edited in place and written whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFocusEvent, QImage, QPainter, QPainterPath, QPaintEvent, QPixmap
from PySide6.QtWidgets import QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from gui import theme
from gui.widgets.background import Background
from gui.widgets.basics import Empty, label
from gui.widgets.index_reader import NO_CAPTION

if TYPE_CHECKING:
    from gui.widgets.index_reader import Tile


class PictureBox(QWidget):
    """A picture as large as the width allows."""

    def __init__(self) -> None:
        super().__init__()
        self._pixmap = QPixmap()
        self._loader = Background(self)
        self._loader.done.connect(self._arrived)
        self.setFixedHeight(280)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_path(self, path: str) -> None:
        """Decode in another thread, then show."""
        from gui.widgets.thumbnails import read_small

        edge = int(480 * self.devicePixelRatioF())
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


class CaptionEdit(QPlainTextEdit):
    """The text of one caption file.

    Signals:
        written: The file was written (or removed, when the text is empty).
        failed: A sentence for the user.
    """

    written = Signal()
    failed = Signal(str)

    def __init__(self, suffix: str, hint: str) -> None:
        super().__init__()
        self._suffix = suffix
        self._path: Path | None = None
        self._saved = ""
        self.setPlaceholderText(hint)
        self.setTabChangesFocus(True)
        self.setFixedHeight(88)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(1200)
        self._later.timeout.connect(self.save)
        self.textChanged.connect(self._later.start)

    def show_caption(self, picture: Path, text: str) -> None:
        """Show the caption of another picture; the one before is saved first."""
        self.save()
        self._path = picture.with_suffix(self._suffix)
        self._saved = text
        self.setPlainText(text)
        self._later.stop()

    def save(self) -> None:
        """Write the file if the text changed."""
        self._later.stop()
        text = self.toPlainText().strip()
        if self._path is None or text == self._saved.strip():
            return
        from core import atomic

        try:
            if text:
                atomic.write_text(self._path, text + "\n")
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            self.failed.emit(f"{self._path} cannot be written ({error.strerror or error}).")
            return
        self._saved = text
        self.written.emit()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Save when the field is left."""
        super().focusOutEvent(event)
        self.save()


class CaptionPanel(QWidget):
    """Picture, facts, the two captions.

    Signals:
        written: The Tile with its new captions.
        failed: A sentence for the user.
    """

    written = Signal(object)
    failed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.tile: Tile | None = None
        text = "Click a picture to see it large and edit its captions."
        self._empty = Empty("picture", "No picture selected", text, width=240)
        self._whole = QWidget()
        self._picture = PictureBox()
        self._name, self._facts = label("", "value", wrap=True), label("", "dim", wrap=True)
        self._marks = label("", "warning", wrap=True)
        self.tags = CaptionEdit(".txt", "Tags, separated by commas")
        self.sentence = CaptionEdit(".caption", "A sentence that says what is to be seen")
        self._saved = label("", "dim")
        self._lay_out()
        for edit in (self.tags, self.sentence):
            edit.written.connect(self._written)
            edit.failed.connect(self.failed)

    def _lay_out(self) -> None:
        inner = QVBoxLayout(self._whole)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(8)
        for widget in (self._picture, self._name, self._facts, self._marks):
            inner.addWidget(widget)
        for title, edit in (("Tags (.txt)", self.tags), ("Sentence (.caption)", self.sentence)):
            inner.addWidget(label(title, "dim"))
            inner.addWidget(edit)
        inner.addWidget(self._saved)
        inner.addStretch(1)
        self._whole.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._empty)
        layout.addWidget(self._whole)

    def show_tile(self, tile: Tile) -> None:
        """Show a picture and its captions; those of the picture before are saved first."""
        self.save()
        self.tile = tile
        picture = tile.picture
        path = Path(picture.path)
        self._empty.hide()
        self._whole.show()
        self._picture.show_path(picture.path)
        self._name.setText(path.name)
        self._name.setToolTip(str(path))
        self._facts.setText(f"{picture.width} × {picture.height} px")
        self._marks.setText("\n".join(mark.text for mark in tile.marks))
        self._marks.setVisible(bool(tile.marks))
        self.tags.show_caption(path, picture.tags)
        self.sentence.show_caption(path, picture.natural)
        self._saved.setText("Changes are saved when you leave the field.")

    def _written(self) -> None:
        """Keep the tile up to date; nothing but the words of the files is known of it."""
        if self.tile is None:
            return
        self._saved.setText("Saved. Look at the pictures again to count it.")
        tags, sentence = self.tags.toPlainText().strip(), self.sentence.toPlainText().strip()
        marks = tuple(mark for mark in self.tile.marks if mark != NO_CAPTION)
        if not tags and not sentence:
            marks = (NO_CAPTION, *marks)
        picture = replace(self.tile.picture, tags=tags, natural=sentence)
        self.tile = replace(self.tile, picture=picture, marks=marks)
        self._marks.setText("\n".join(mark.text for mark in marks))
        self._marks.setVisible(bool(marks))
        self.written.emit(self.tile)

    def save(self) -> None:
        """Write what is not written yet."""
        self.tags.save()
        self.sentence.save()
