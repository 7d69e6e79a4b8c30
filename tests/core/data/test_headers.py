"""Tests of core/data/headers.py: the size at the scan is that of the decoded picture, cut files are found."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import xxhash
from PIL import Image, PngImagePlugin

from core.data import headers
from core.data.headers import content_hash, examine, measure
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
    monkeypatch.setattr(headers, "_slow_size", None)
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


def test_the_signature_follows_the_content_and_the_length(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(pixels))
    data = path.read_bytes()
    assert len(data) > 100_000
    first = examine(str(path)).signature
    parts = data[:16_384] + data[(len(data) - 4096) // 2 :][:4096] + data[-4096:]
    assert first == xxhash.xxh3_128_digest(len(data).to_bytes(8, "little") + parts)
    (tmp_path / "copy.png").write_bytes(data)
    assert examine(str(tmp_path / "copy.png")).signature == first
    for place in (100, len(data) // 2, len(data) - 100):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert examine(str(path)).signature != first
    path.write_bytes(data + b"x")
    assert examine(str(path)).signature != first


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".gif", ".png"])
def test_small_and_uncompressed_files_are_signed_whole(tmp_path: Path, suffix: str) -> None:
    side = 40 if suffix == ".png" else 300
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(pixels))
    data = bytearray(path.read_bytes())
    assert examine(str(path)).signature == xxhash.xxh3_128_digest(len(data).to_bytes(8, "little") + bytes(data))


def test_transparency_is_told_by_the_header(tmp_path: Path) -> None:
    clear = corners().convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    palette = corners().quantize(4)
    with_alpha = [
        save(tmp_path / "a.png", clear),
        save(tmp_path / "b.webp", clear),
        save(tmp_path / "c.webp", clear, lossless=True),
        save(tmp_path / "d.png", palette, transparency=0),
        save(tmp_path / "e.gif", palette, transparency=0),
        save(tmp_path / "f.tif", clear),
        save(tmp_path / "g.avif", clear),
        save(tmp_path / "h.png", corners().convert("LA")),
    ]
    without = [save(tmp_path / f"{n}{suffix}") for n, suffix in enumerate((*SUFFIXES, ".png"))]
    without.append(save(tmp_path / "l.webp", lossless=True))
    assert [path.name for path in with_alpha if not examine(str(path)).alpha] == []
    assert [path.name for path in without if examine(str(path)).alpha] == []


def test_names_of_every_kind_are_read_by_content(tmp_path: Path) -> None:
    """Hostile names and contents: each gives a size or one reason, none an exception of another kind."""
    good = save(tmp_path / "good.png").read_bytes()
    contents = {
        "zeros": bytes(5000),
        "noise": np.random.default_rng(0).bytes(5000),
        "jpeg of nothing": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(40) + b"\xff\xd9",
        "jpeg of marks": b"\xff\xd8" + b"\xff" * 3000 + b"\xff\xd9",
        "png without chunks": good[:8] + b"IEND",
        "png of no size": good[:16] + bytes(8) + good[24:],
        "webp of nothing": b"RIFF\x04\x00\x00\x00WEBP",
        "webp cut in its head": b"RIFF\x0c\x00\x00\x00WEBPVP8X\x00\x00\x00\x00",
        "webp without a loss, cut": b"RIFF\x0c\x00\x00\x00WEBPVP8L\x00\x00\x00\x00",
        "tiff that leads round": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "gif of nothing": b"GIF89a" + bytes(20),
        "bmp of nothing": b"BM" + bytes(100),
        "avif of nothing": b"\0\0\0\x20ftypavif" + bytes(60),
        "one byte": b"x",
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(content)
        with pytest.raises(PictureError) as caught:
            load(path)
        assert str(caught.value), name
        with contextlib.suppress(PictureError):
            header = examine(str(path))
            assert header.width > 0 < header.height
    for path in (tmp_path, tmp_path / "none.png", tmp_path / ("x" * 300)):
        with pytest.raises(PictureError):
            examine(str(path))


def test_a_system_that_cannot_read_at_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", corners(400, 300), compress_level=0)
    expected = examine(str(path))
    monkeypatch.setattr(headers, "_read_at", headers._seek_and_read)
    assert examine(str(path)) == expected
