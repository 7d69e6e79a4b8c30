"""Tests of core/data/pictures.py: every kind of file comes out as upright RGB, or as one short reason."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from core.data.buckets import Fit, fit
from core.data.pictures import (
    PictureError,
    Transparency,
    load,
    load_bytes,
    load_small,
    may_pass,
    open_picture,
    to_bucket,
)
from core.settings.data import DataSettings
from tests.core.data.samples import TURNED, close, corners, save, seen

WHITE = (255, 255, 255)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    image = load(save(tmp_path / f"a{suffix}", corners(64, 32), orientation))
    assert image.mode == "RGB"
    assert image.size == ((64, 32) if orientation < 5 else (32, 64))
    assert close(seen(image), TURNED[orientation])


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".jpeg", ".tiff"])
def test_the_other_formats(tmp_path: Path, suffix: str) -> None:
    assert close(seen(load(save(tmp_path / f"a{suffix}"))), TURNED[1])


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    assert close(seen(load(save(tmp_path / f"a{suffix}", corners().convert("CMYK")))), TURNED[1])


def test_lab(tmp_path: Path) -> None:
    lab = ImageCms.profileToProfile(
        corners(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert close(seen(load(save(tmp_path / "a.tif", lab))), TURNED[1])


def grey(image: Image.Image) -> list[int]:
    pixels = np.asarray(image)
    assert (pixels == pixels[..., :1]).all()
    return [int(value) for value in pixels[0, :, 0]]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_range(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 256 * 64, 256 * 128, 65535]], dtype=np.uint16).repeat(2, axis=0)
    image = load(save(tmp_path / f"a{suffix}", Image.fromarray(values)))
    assert image.mode == "RGB"
    assert grey(image) == [0, 64, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 51, 255]], dtype=np.int32), [0, 51, 255]),
        (np.array([[0, 13107, 65535]], dtype=np.int32), [0, 51, 255]),
        (np.array([[0, 20_000_000, 100_000_000]], dtype=np.int32), [0, 51, 255]),
        (np.array([[-1.0, 0.2, 1.0]], dtype=np.float32), [0, 51, 255]),
        (np.array([[np.nan, 51.0, 255.0]], dtype=np.float32), [0, 51, 255]),
    ],
)
def test_32_bit_and_float_grey_keep_their_range(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    assert grey(load(save(tmp_path / "a.tif", Image.fromarray(values)))) == expected


def test_one_bit_and_plain_grey(tmp_path: Path) -> None:
    bits = Image.fromarray(np.array([[0, 255, 0]], dtype=np.uint8)).convert("1")
    assert grey(load(save(tmp_path / "a.png", bits))) == [0, 255, 0]
    assert grey(load(save(tmp_path / "b.png", bits.convert("L")))) == [0, 255, 0]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = corners().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.array([[255, 0]], dtype=np.uint8), 32, 0)).resize((48, 32), 0))
    for suffix in (".png", ".webp", ".tif"):
        options = {"lossless": True} if suffix == ".webp" else {}
        result = seen(load(save(tmp_path / f"a{suffix}", image, **options)))
        assert result[1:3] == [WHITE, WHITE]
        assert result[0] == TURNED[1][0]
    half = Image.new("LA", (8, 8), (0, 128))
    assert abs(seen(load(save(tmp_path / "b.png", half)))[0][0] - 127) <= 1


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = corners().quantize(4)
    place = image.getpixel((0, 0))
    for suffix in (".png", ".gif"):
        path = save(tmp_path / f"a{suffix}", image, transparency=place)
        result = seen(load(path))
        assert result[0] == WHITE
        assert close(result[1:], TURNED[1][1:])
    assert close(seen(load(save(tmp_path / "b.png", image))), TURNED[1])


def test_rgb_with_one_transparent_colour(tmp_path: Path) -> None:
    result = seen(load(save(tmp_path / "a.png", transparency=TURNED[1][0])))
    assert result == [WHITE, *TURNED[1][1:]]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".png"])
def test_of_several_frames_the_first_is_taken(tmp_path: Path, suffix: str) -> None:
    black = Image.new("RGB", (48, 32))
    path = save(tmp_path / f"a{suffix}", save_all=True, append_images=[black, black])
    assert close(seen(load(path)), TURNED[1])


def png_of(rows: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits, which Pillow cannot write for colours; `colour` is the format's colour type."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    height, width = rows.shape[:2]
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, colour, 0, 0, 0])
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def test_16_bit_colour_and_transparency(tmp_path: Path) -> None:
    pixels = np.asarray(corners()).astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(png_of(pixels, 2))
    assert seen(load(tmp_path / "a.png")) == TURNED[1]
    alpha = np.full((*pixels.shape[:2], 1), 65535, np.uint16)
    alpha[:, 24:] = 0
    (tmp_path / "b.png").write_bytes(png_of(np.dstack([pixels, alpha]), 6))
    assert seen(load(tmp_path / "b.png")) == [TURNED[1][0], WHITE, WHITE, TURNED[1][3]]


def test_16_bit_colour_in_a_tiff(tmp_path: Path) -> None:
    pixels = (np.asarray(corners()).astype("<u2") * 257).tobytes()
    entries = [
        (256, 3, 1, 48), (257, 3, 1, 32), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 200), (277, 3, 1, 3), (278, 3, 1, 32), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    data = b"II*\0" + struct.pack("<I", 14) + struct.pack("<3H", 16, 16, 16) + directory + bytes(4)
    (tmp_path / "a.tif").write_bytes(data.ljust(200, b"\0") + pixels)
    assert seen(load(tmp_path / "a.tif")) == TURNED[1]


@pytest.mark.parametrize(("rule", "behind"), [("white", 255), ("black", 0), ("grey", 128)])
def test_transparency_is_laid_over_the_colour_of_the_rule(tmp_path: Path, rule: Transparency, behind: int) -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert set(seen(load(save(tmp_path / "a.png", clear), rule))) == {(behind,) * 3}
    assert set(seen(load(tmp_path / "a.png", "ignore"))) == {(10, 20, 30)}
    assert load_bytes((tmp_path / "a.png").read_bytes(), rule).tobytes() == load(tmp_path / "a.png", rule).tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_small_version_is_the_same_picture(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", corners(640, 480), orientation=6)
    small = load_small(path.read_bytes(), 64)
    assert min(small.size) >= 64
    assert close(seen(small), seen(load(path)))
    if suffix == ".jpg":
        assert small.width < 480
    assert load_small(save(tmp_path / "b.jpg", corners(16, 8)).read_bytes(), 64).size == (16, 8)


def noise(side: int = 200) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tif"])
def test_truncated_files_give_a_reason(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", noise())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError) as caught:
        load(path)
    assert str(path) not in str(caught.value)
    assert "cut short" in str(caught.value) or "damaged" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"just words\n", "text file"),
        (bytes(500), "zeros"),
        (b"<html><body>404</body></html>", "web page"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\x80\x01\xff\x00abc", "not a picture"),
        (b"\x89PNG\r\n\x1a\n garbage garbage garbage", "damaged"),
    ],
)
def test_other_files_give_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=reason):
        load(path)


def test_a_missing_file_may_come_back_a_damaged_one_not(tmp_path: Path) -> None:
    with pytest.raises(PictureError) as missing:
        load(tmp_path / "none.png")
    assert may_pass(str(missing.value))
    (tmp_path / "empty.png").touch()
    with pytest.raises(PictureError) as empty:
        load(tmp_path / "empty.png")
    assert not may_pass(str(empty.value))


def test_large_pictures_open_and_bombs_do_not(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("1", (20_000, 10_000)))  # above Pillow's own limit
    with open_picture(path) as image:
        assert image.size == (20_000, 10_000)
    bomb = bytearray(path.read_bytes())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    path.write_bytes(bomb)
    with pytest.raises(PictureError, match="too large: 60000 x 60000"):
        open_picture(path)


@pytest.mark.parametrize("size", [(700, 400), (90, 300), (64, 64), (2000, 31)])
def test_to_bucket_is_resizing_then_cropping(size: tuple[int, int]) -> None:
    data = DataSettings(resolution=128, min_side=64, max_side=256, bucket_step=32)
    one = fit(size, data, [(64, 256), (128, 128), (256, 64)])
    image = noise().resize(size)
    method = Image.Resampling.LANCZOS if one.resized[0] < size[0] else Image.Resampling.BICUBIC
    expected = np.asarray(image.resize(one.resized, method).crop(one.crop)).astype(int)
    result = to_bucket(image, one)
    assert result.dtype == np.uint8
    assert result.shape == (one.bucket[1], one.bucket[0], 3)
    assert result.flags.writeable
    assert np.abs(result - expected).max() <= 2  # Pillow rounds between its two passes


def test_to_bucket_mirrors() -> None:
    one = Fit((32, 32), (48, 32), (8, 0, 40, 32), 0.5)
    plain, mirrored = to_bucket(corners(), one), to_bucket(corners(), one, flip=True)
    assert (mirrored == plain[:, ::-1]).all()
    assert (mirrored != plain).any()


def test_a_picture_of_another_shape_than_at_the_scan_is_refused() -> None:
    one = fit((480, 320), DataSettings(), [(512, 512)])
    assert to_bucket(corners(480, 320), one).shape == (512, 512, 3)
    with pytest.raises(PictureError, match="scan the folder again"):
        to_bucket(corners(320, 480), one)
