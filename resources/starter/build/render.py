"""Renders icons and composes them into scenes: the base world's flat style and the starter set's ink style."""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PIL import Image, ImageDraw
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

WHITE = (255, 255, 255)
Colour = tuple[int, int, int]
Box = tuple[float, float, float]


def render_icon(document: str, size: int) -> Image.Image:
    """Render an SVG document to a square RGBA picture."""
    canvas = QImage(size, size, QImage.Format.Format_RGBA8888_Premultiplied)
    canvas.fill(0)
    painter = QPainter(canvas)
    QSvgRenderer(document.encode("utf-8")).render(painter, QRectF(0, 0, size, size))
    painter.end()
    plain = canvas.convertToFormat(QImage.Format.Format_RGBA8888)
    pixels = np.frombuffer(plain.constBits(), np.uint8).reshape(size, plain.bytesPerLine() // 4, 4)
    return Image.fromarray(pixels[:, :size].copy(), "RGBA")


def slots(width: int, height: int, count: int, scale: float) -> list[Box]:
    """Place count squares in a row (or a column if the scene is tall): each as left, top, side."""
    across, down = (count, 1) if width >= height else (1, count)
    side = min(width / across, height / down) * scale
    boxes = []
    for number in range(count):
        column, row = (number, 0) if across > 1 else (0, number)
        left = width / across * (column + 0.5) - side / 2
        top = height / down * (row + 0.5) - side / 2
        boxes.append((left, top, side))
    return boxes


def paste_icon(scene: Image.Image, document: str, box: Box, flip: bool = False) -> None:
    """Draw an icon into the scene at left, top, side."""
    left, top, side = box
    icon = render_icon(document, max(1, round(side)))
    if flip:
        icon = icon.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scene.paste(icon, (round(left), round(top)), icon)


def flat_scene(
    documents: Sequence[str],
    size: tuple[int, int] = (128, 128),
    scale: float = 0.94,
    shift: tuple[float, float] = (0, 0),
    background: Colour = WHITE,
    flip: bool = False,
) -> Image.Image:
    """Draw icons in their own colours over a plain background."""
    scene = Image.new("RGB", size, background)
    for document, (left, top, side) in zip(documents, slots(*size, len(documents), scale), strict=True):
        paste_icon(scene, document, (left + shift[0], top + shift[1], side), flip)
    return scene


PAPER: Colour = (242, 226, 190)
INK: Colour = (38, 34, 52)
PITCH = 8


def draw_sheet(size: tuple[int, int], unit: float, paper: Colour, ink: Colour) -> Image.Image:
    """Draw an empty stamp: paper with a notched edge, the same seen from all sides, and a frame in ink.

    A notch is eight units wide: one cell of the latents when a unit is a pixel, which the autoencoder keeps sharp.
    """
    width, height = size
    cell = round(PITCH * unit)
    sheet = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(sheet)
    across, down = width // cell, height // cell
    for number in notches(across):
        for top in (0, height - cell):
            draw.rectangle((number * cell, top, (number + 1) * cell - 1, top + cell - 1), fill=ink)
    for number in notches(down):
        for left in (0, width - cell):
            draw.rectangle((left, number * cell, left + cell - 1, (number + 1) * cell - 1), fill=ink)
    draw.rectangle((cell, cell, width - 1 - cell, height - 1 - cell), outline=ink, width=round(PITCH / 2 * unit))
    return sheet


def notches(cells: int) -> list[int]:
    """Which of an edge's cells are inked: every second one, counted from both ends."""
    return [cell for cell in range(cells) if min(cell, cells - 1 - cell) % 2]


def ink_scene(
    documents: Sequence[str],
    size: tuple[int, int] = (128, 128),
    unit: float = 1,
    scale: float = 0.94,
    paper: Colour = PAPER,
    ink: Colour = INK,
) -> Image.Image:
    """Draw icons as a stamp: one dark ink on paper, inside a notched frame."""
    scene = draw_sheet(size, unit, paper, ink)
    inset = 12 * unit
    inner = (round(size[0] - 2 * inset), round(size[1] - 2 * inset))
    for document, (left, top, side) in zip(documents, slots(*inner, len(documents), scale), strict=True):
        coloured = document.replace("#000000", "#{:02x}{:02x}{:02x}".format(*ink))
        paste_icon(scene, coloured, (left + inset, top + inset, side))
    return scene
