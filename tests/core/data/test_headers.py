"""Tests of core/data/headers.py: the size at the scan is that of the decoded picture, cut files are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xxhash
from PIL import Image, PngImagePlugin

from core.data import headers
from core.data.headers import content_hash, measure
from core.data.pictures import PictureError, load
from tests.core.data.samples import corners, save

SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".avif", ".bmp", ".gif"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", [0, 1, 3, 5, 6, 7, 8])
def test_the_measured_size_is_the_loaded_size(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = orientation if suffix not in (".bmp", ".gif") else 0
    path = save(tmp_path / f"a{suffix}", corners(64, 32), exif)
    assert measure(path) == load(path).size == ((32, 64) if exif >= 5 else (64, 32))


def test_an_orientation_in_xmp_counts_as_it_does_for_pillow(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    jpeg = save(tmp_path / "a.jpg", corners(64, 32), xmp=xmp)
    webp = save(tmp_path / "a.webp", corners(64, 32), xmp=xmp)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    png = save(tmp_path / "a.png", corners(64, 32), pnginfo=text)
    for path in (jpeg, webp, png):
        assert measure(path) == load(path).size == (32, 64)


def test_a_png_with_its_orientation_after_the_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", corners(64, 32), 6)
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
    end = data.index(b"IEND") - 4 - (stop - start)
    rest = data[:start] + data[stop:]
    path.write_bytes(rest[:end] + data[start:stop] + rest[end:])
    assert measure(path) == load(path).size == (32, 64)


def test_plain_files_are_measured_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "open_picture", None)
    for suffix in (".jpg", ".png", ".webp"):
        assert measure(save(tmp_path / f"a{suffix}")) == (48, 32)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert measure(path) == (48, 32)


def test_a_header_longer_than_what_is_read_at_first(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", comment=b"x" * 60_000)
    assert measure(path) == (48, 32)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_files_cut_short_are_found(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(pixels))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(PictureError, match=r"cut short|damaged"):
        measure(path)


def test_whole_files_with_a_tail_are_good(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".webp"):
        path = save(tmp_path / f"a{suffix}")
        path.write_bytes(path.read_bytes() + bytes(10_000))
        assert measure(path) == (48, 32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"words", "text file"), (b"\xff\xd8\xff", "beginning is damaged")],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=reason):
        measure(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    with pytest.raises(PictureError, match="too large: 30000 x 30000"):
        measure(path)


def test_a_missing_file_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="missing"):
        measure(tmp_path / "none.png")


def test_the_content_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert content_hash(path) == xxhash.xxh3_128_hexdigest(path.read_bytes())
