"""Sample pictures for the tests of core/data: files of every kind, made by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

#: The four corners of corners(), clockwise from the top left.
RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (120, 120, 120)


def corners(width: int = 48, height: int = 32) -> Image.Image:
    """An RGB picture with a colour in each quarter, so that every turning of it can be told."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, width // 2 :] = BLUE
    pixels[height // 2 :, : width // 2] = GREY
    return Image.fromarray(pixels)


def seen(image: Image.Image) -> list[tuple[int, ...]]:
    """Colours in the middle of the four quarters, clockwise from the top left."""
    width, height = image.size
    left, right, top, bottom = width // 4, width * 3 // 4, height // 4, height * 3 // 4
    places = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return [tuple(np.asarray(image)[y, x].tolist()) for x, y in places]


def close(first: list[tuple[int, ...]], second: list[tuple[int, ...]], most: int = 40) -> bool:
    """Whether the colours are the same but for lossy compression."""
    return bool(np.abs(np.array(first, dtype=int) - np.array(second, dtype=int)).max() <= most)


#: How Pillow shows corners() after each EXIF orientation, clockwise from the top left.
TURNED = {
    1: [RED, GREEN, BLUE, GREY],
    2: [GREEN, RED, GREY, BLUE],
    3: [BLUE, GREY, RED, GREEN],
    4: [GREY, BLUE, GREEN, RED],
    5: [RED, GREY, BLUE, GREEN],
    6: [GREY, RED, GREEN, BLUE],
    7: [BLUE, GREEN, RED, GREY],
    8: [GREEN, BLUE, GREY, RED],
}


def save(path: Path, image: Image.Image | None = None, orientation: int = 0, **options: Any) -> Path:
    """Save a picture in the format of the path's suffix, with an EXIF orientation if one is given."""
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or corners()).save(path, **options)
    return path
