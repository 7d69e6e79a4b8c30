"""Writes what Compare shows: the plot with its legend as PNG or SVG, the minima or the curves as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QApplication

from core import atomic, compare
from core.compare import Compared
from core.errors import UserError
from gui import theme
from gui.plots.compare_plot import ComparePlot
from gui.run_colors import color

#: What can be written: key, what it is called, ending.
KINDS = (
    ("png", "Plot as picture (PNG)", ".png"),
    ("svg", "Plot as drawing (SVG)", ".svg"),
    ("table", "Table of minima (CSV)", ".csv"),
    ("curves", "All points of the curves (CSV)", ".csv"),
)
#: Pixels of a PNG for one of the screen.
_SHARPNESS = 2
_HEAD, _LINE, _MARGIN = 40, 22, 16


def export(kind: str, path: Path, plot: ComparePlot, runs: Sequence[Compared], words: tuple[str, str, str]) -> None:
    """Write one of KINDS. `words`: the metric's key, the title, the name of the x axis. UserError when it cannot be."""
    try:
        if kind in ("png", "svg"):
            with atomic.replacing(path) as temporary:
                (_png if kind == "png" else _svg)(temporary, plot, words[1], words[2])
                if not temporary.is_file() or not temporary.stat().st_size:
                    raise OSError(0, "nothing was written")
        else:
            text = compare.table_csv(runs) if kind == "table" else compare.curves_csv(runs, words[0])
            atomic.write_text(path, text)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}). Choose another place.") from None


def _size(plot: ComparePlot) -> QSize:
    """The plot, a title over it and the legend under it."""
    return QSize(plot.width() + 2 * _MARGIN, _HEAD + plot.height() + _legend_height(plot) + 2 * _MARGIN)


def _png(path: Path, plot: ComparePlot, title: str, axis: str) -> None:
    size = _size(plot)
    image = QImage(size * _SHARPNESS, QImage.Format.Format_RGB32)
    image.fill(QColor(theme.current().surface))
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(_SHARPNESS, _SHARPNESS)
    _paint(painter, plot, title, axis)
    painter.end()
    if not image.save(str(path), "PNG"):
        raise OSError(0, "the picture could not be saved")


def _svg(path: Path, plot: ComparePlot, title: str, axis: str) -> None:
    size = _size(plot)
    drawing = QSvgGenerator()
    drawing.setFileName(str(path))
    drawing.setSize(size)
    drawing.setViewBox(QRectF(0, 0, size.width(), size.height()))
    drawing.setTitle(title)
    painter = QPainter(drawing)
    painter.fillRect(QRectF(0, 0, size.width(), size.height()), QColor(theme.current().surface))
    _paint(painter, plot, title, axis)
    painter.end()


def _paint(painter: QPainter, plot: ComparePlot, title: str, axis: str) -> None:
    tokens = theme.current()
    width = float(plot.width())
    heading = QFont(QApplication.font())
    heading.setPointSizeF(heading.pointSizeF() * 1.2)
    heading.setWeight(QFont.Weight.DemiBold)
    painter.setFont(heading)
    painter.setPen(QColor(tokens.text))
    place = QRectF(_MARGIN, _MARGIN, width, _HEAD - 8)
    painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
    painter.setFont(QApplication.font())
    painter.setPen(QColor(tokens.dim))
    painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, axis)
    painter.save()
    plot.draw_into(painter, QRectF(_MARGIN, _MARGIN + _HEAD, width, plot.height()))
    painter.restore()
    _paint_legend(painter, plot, _MARGIN + _HEAD + plot.height() + 8)


def _legend(plot: ComparePlot) -> list[tuple[float, int, str, int]]:
    """(left, line, words, colour) of each run, as many in a line as there is room for."""
    metrics = QFontMetricsF(QApplication.font())
    left, line, found = 0.0, 0, []
    for one in plot.lines.values():
        text = one.label
        if one.minimum is not None:
            text += f"  (least {one.minimum[1]:.5g} at {one.minimum[0]:,.6g})"
        need = metrics.horizontalAdvance(text) + 40
        if left and left + need > plot.width():
            left, line = 0.0, line + 1
        found.append((left, line, text, one.color))
        left += need
    return found


def _legend_height(plot: ComparePlot) -> int:
    entries = _legend(plot)
    return _LINE * (entries[-1][1] + 1) + 8 if entries else 0


def _paint_legend(painter: QPainter, plot: ComparePlot, top: float) -> None:
    tokens = theme.current()
    for left, line, text, number in _legend(plot):
        at = top + line * _LINE
        painter.fillRect(QRectF(_MARGIN + left, at + _LINE / 2 - 2, 16, 4), QColor(color(number, tokens)))
        painter.setPen(QColor(tokens.text))
        painter.drawText(QRectF(_MARGIN + left + 22, at, 2000, _LINE), Qt.AlignmentFlag.AlignVCenter, text)
