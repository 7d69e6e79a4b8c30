"""Tests of core/data/phash.py: the same picture in other clothes has nearly the same hash, another one has not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from core.data.phash import distance, phash64


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Soft blots, as photographs have."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize("seed", range(6))
def test_copies_are_near(seed: int) -> None:
    image = picture(seed)
    mine = phash64(image)
    for copy in (
        image.resize((160, 120)),
        image.resize((900, 675)),
        jpeg(image, 40),
        ImageEnhance.Brightness(image).enhance(1.15),
        image.convert("L"),
    ):
        assert distance(mine, phash64(copy)) <= 6


def test_others_are_far() -> None:
    hashes = [phash64(picture(seed)) for seed in range(40)]
    pairs = [distance(a, b) for place, a in enumerate(hashes) for b in hashes[:place]]
    assert min(pairs) > 12 and 28 < sum(pairs) / len(pairs) < 36


def test_the_hash_is_the_signs_of_the_low_frequencies() -> None:
    image = picture(3, (32, 32)).convert("L")
    pixels = np.asarray(image, dtype=float)
    spectrum = [
        [
            sum(
                pixels[y, x] * np.cos(np.pi * v * (2 * y + 1) / 64) * np.cos(np.pi * u * (2 * x + 1) / 64)
                for y in range(32)
                for x in range(32)
            )
            for u in range(1, 9)
        ]
        for v in range(1, 9)
    ]
    flat = np.array(spectrum).reshape(-1)
    expected = "".join(str(int(value > np.median(flat))) for value in flat)
    assert format(phash64(image), "064b") == expected
    assert phash64(image) == phash64(image)
