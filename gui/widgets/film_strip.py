"""The film strip: samples of a run stand on the time axis of its curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QApplication, QSizePolicy, QToolTip, QWidget

from core.events import Sample
from gui import theme
from gui.plots.timeline import Timeline
from gui.widgets.picture_loader import PictureLoader

_THUMB = 72
_GAP = 6
_TICKS = 10
_CAPTION = 18


class FilmStrip(QWidget):
    """One prompt's samples by step; as many as fit, the newest first in line.

    Signals:
        chosen: A sample was clicked or entered.
    """

    chosen = Signal(object)

    def __init__(self, timeline: Timeline, loader: PictureLoader) -> None:
        super().__init__()
        self.timeline = timeline
        self.margins = (0, 0)
        self._loader = loader
        self._folder = Path()
        self._samples: Sequence[Sample] = ()
        self._places: list[tuple[QRectF, Sample]] = []
        self._current: Sample | None = None
        self._hovered: Sample | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Samples by step")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        timeline.changed.connect(self.update)
        timeline.cursor_changed.connect(self.update)
        loader.loaded.connect(self._repaint)
        theme.signals().changed.connect(self._repaint)

    def _repaint(self, *_: object) -> None:
        """Another theme, or a picture that has come. No lambda: it would keep the widget alive for ever."""
        self.update()

    def sizeHint(self) -> QSize:
        """A row of thumbnails with ticks above and steps under them."""
        return QSize(400, _TICKS + _THUMB + _CAPTION)

    def set_samples(self, folder: Path, samples: Sequence[Sample]) -> None:
        """Show these, ascending by step; paths are relative to `folder`."""
        self._folder, self._samples = folder, samples
        if self._current not in samples:
            self._current = None
        self.update()

    def set_current(self, sample: Sample | None) -> None:
        """Frame a sample and keep it among those that are shown."""
        self._current = sample
        self.update()

    def shown(self) -> list[Sample]:
        """The samples for which there is room, by step."""
        self._lay_out()
        return [sample for _, sample in self._places]

    def path(self, sample: Sample) -> Path:
        """The picture's file."""
        return self._folder / sample.path

    def _x(self, step: float) -> float:
        """Where a step stands, in pixels."""
        left, right = self.margins[0], self.width() - self.margins[1]
        x = float(self.timeline.forward(np.array([float(step)]))[0])
        return left + (x - self.timeline.low) / (self.timeline.high - self.timeline.low) * (right - left)

    def _lay_out(self) -> None:
        """Place the framed sample, then the newest, then older ones where they do not overlap."""
        left, right = float(self.margins[0]), float(self.width() - self.margins[1])
        order = sorted(self._samples, key=lambda s: (s is not self._current, -s.step))
        taken: list[tuple[float, Sample]] = []
        for sample in order:
            x = self._x(sample.step)
            if not left - 1 <= x <= right + 1 and sample is not self._current:  # the framed one stays at the edge
                continue
            start = min(max(x - _THUMB / 2, left), right - _THUMB)
            if all(abs(start - other) >= _THUMB + _GAP for other, _ in taken):
                taken.append((start, sample))
        taken.sort(key=lambda item: item[0])
        self._places = [(QRectF(start, _TICKS, _THUMB, _THUMB), sample) for start, sample in taken]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Ticks, thumbnails, steps, crosshair."""
        tokens = theme.current()
        self._lay_out()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        small = QFont(QApplication.font())
        small.setPointSizeF(max(7.5, small.pointSizeF() - 1))
        small.setFeature(QFont.Tag("tnum"), 1)
        painter.setFont(small)
        left, right = self.margins[0], self.width() - self.margins[1]
        painter.setPen(QPen(QColor(tokens.dim), 1))
        for sample in self._samples:
            x = round(self._x(sample.step)) + 0.5
            if left <= x <= right:
                painter.drawLine(QPointF(x, 2), QPointF(x, 6))
        for place, sample in self._places:
            self._paint_sample(painter, place, sample, tokens)
        if self.timeline.cursor is not None:
            x = round(self._x(self.timeline.cursor)) + 0.5
            painter.setPen(QPen(QColor(tokens.dim), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, 0), QPointF(x, _TICKS + _THUMB))
        painter.end()

    def _paint_sample(self, painter: QPainter, place: QRectF, sample: Sample, tokens: theme.Tokens) -> None:
        picture = self._loader.get(self.path(sample), _THUMB * 2)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.raised))
        painter.drawRoundedRect(place, 4, 4)
        if picture is not None:
            share = min(place.width() / picture.width(), place.height() / picture.height())
            area = QRectF(0, 0, picture.width() * share, picture.height() * share)
            area.moveCenter(place.center())
            painter.drawPixmap(area, picture, QRectF(picture.rect()))
        marked = sample is self._hovered or sample is self._current
        if marked:
            painter.setPen(QPen(QColor(tokens.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(place.adjusted(1, 1, -1, -1), 4, 4)
        painter.setPen(QColor(tokens.text if marked else tokens.dim))
        caption = QRectF(place.left() - _GAP / 2, place.bottom(), place.width() + _GAP, _CAPTION)
        painter.drawText(caption, Qt.AlignmentFlag.AlignCenter, f"{sample.step:,}")

    def _under(self, point: QPointF) -> Sample | None:
        return next((sample for place, sample in self._places if place.contains(point)), None)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Frame what is under the pointer and move the crosshair there."""
        found = self._under(event.position())
        if found is not self._hovered:
            self._hovered = found
            self.setCursor(Qt.CursorShape.PointingHandCursor if found else Qt.CursorShape.ArrowCursor)
            self.timeline.set_cursor(float(found.step) if found else None)
            self.update()
            if found:
                QToolTip.showText(event.globalPosition().toPoint(), f"Step {found.step:,}: {found.prompt}", self)

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer."""
        self._hovered = None
        self.timeline.set_cursor(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click enlarges."""
        found = self._under(event.position())
        if found is not None and event.button() == Qt.MouseButton.LeftButton:
            self.set_current(found)
            self.chosen.emit(found)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right walk, Enter enlarges."""
        move = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if move and self._samples:
            held = self._current if self._current in self._samples else None
            place = self._samples.index(held) + move if held else len(self._samples) - 1
            self.set_current(self._samples[min(max(place, 0), len(self._samples) - 1)])
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._current is not None:
            self.chosen.emit(self._current)
        else:
            super().keyPressEvent(event)
