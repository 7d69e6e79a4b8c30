"""The perceptual hash: 64 bits that stay nearly the same when a picture is resized, compressed or slightly changed.

Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", the DCT hash: the signs of the 64
lowest frequencies of the picture at 32x32 in grey, against their median.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Pixels of the small picture that is hashed.
SIDE = 32

_FREQUENCIES = 8


def phash64(image: Image.Image) -> int:
    """The hash of an upright RGB or grey picture; pictures that look alike differ in few bits.

    The frequencies 1 to 8 along both sides are taken, without those of 0, which only tell of brightness along a side.
    """
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    waves = _waves()
    spectrum = waves @ np.asarray(small, dtype=np.float64) @ waves.T
    bits = (spectrum > np.median(spectrum)).reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@functools.cache
def _waves() -> NDArray[np.float64]:
    """Rows 1 to 8 of the DCT-II of 32 numbers: (8, 32)."""
    frequency, place = np.arange(1, _FREQUENCIES + 1)[:, None], np.arange(SIDE)[None, :]
    return np.asarray(np.cos(math.pi * frequency * (2 * place + 1) / (2 * SIDE)), dtype=np.float64)


def distance(one: int, other: int) -> int:
    """In how many bits two hashes differ."""
    return (one ^ other).bit_count()
