"""Tests of core/data/endings.py: files that are cut short are found at the scan, whole ones are not decoded."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import endings, headers
from core.data.headers import examine
from core.data.pictures import PictureError, load
from tests.core.data.samples import corners, save
from tests.core.data.test_formats import HEIC

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 160, 3), dtype=np.uint8))
KINDS = [".png", ".jpg", ".webp", ".gif", ".avif", ".bmp", "animated.gif", ".heic", ".jxl"]
KINDS += [".tif", "packed.tif"]


def whole(folder: Path, kind: str) -> Path:
    """A real file of a kind."""
    path = folder / f"a{kind}"
    if kind == ".heic":
        pytest.importorskip("pi_heif", reason="no wheel for this machine")
        path.write_bytes(base64.b64decode(HEIC))
    elif kind == ".jxl":
        pylibjxl = pytest.importorskip("pylibjxl", reason="no wheel for this machine")
        path.write_bytes(pylibjxl.jpeg_to_jxl(save(folder / "b.jpg", NOISE).read_bytes()))
        assert path.read_bytes().startswith(endings.JXL_BOXES)
    elif kind == "bare.jxl":
        pylibjxl = pytest.importorskip("pylibjxl", reason="no wheel for this machine")
        path.write_bytes(pylibjxl.encode(np.asarray(NOISE)))
        assert path.read_bytes().startswith(endings.JXL_BARE)
    elif kind == "packed.tif":
        save(path, NOISE, compression="tiff_lzw")
    elif kind == "animated.gif":
        save(path, NOISE, save_all=True, append_images=[corners(160, 200), NOISE], duration=50)
    else:
        save(path, NOISE)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_not_decoded(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = whole(tmp_path, kind)
    size = load(path).size
    monkeypatch.setattr(Image.Image, "load", None)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    header = examine(str(path))
    assert (header.width, header.height) == size


@pytest.mark.parametrize("kind", [*KINDS, "bare.jxl"])
def test_files_cut_anywhere_are_found_at_the_scan(tmp_path: Path, kind: str) -> None:
    path = whole(tmp_path, kind)
    data, chance = path.read_bytes(), random.Random(kind)
    places = {len(data) - 1, len(data) - 2, len(data) // 2, *(chance.randrange(20, len(data)) for _ in range(25))}
    told = 0
    for place in places:
        path.write_bytes(data[:place])
        try:
            load(path)
        except PictureError:
            with pytest.raises(PictureError):
                examine(str(path))
            told += 1
        else:  # what is missing is not needed, as the later pictures of an animation
            examine(str(path))
    assert told > 5


@pytest.mark.parametrize("kind", [*KINDS, "bare.jxl"])
def test_whole_files_with_a_tail_are_good(tmp_path: Path, kind: str) -> None:
    path = whole(tmp_path, kind)
    size = load(path).size
    path.write_bytes(path.read_bytes() + bytes(9_000))
    header = examine(str(path))
    assert (header.width, header.height) == size


def box(name: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return (8 + len(content) if size is None else size).to_bytes(4, "big") + name + content


def ends(data: bytes) -> bool:
    return endings.has_end(data[:64], data[-64:], len(data), lambda place, count: data[place : place + count])


def test_boxes() -> None:
    first = box(b"ftyp", b"avif" + bytes(8))
    assert ends(first + box(b"meta", bytes(100)) + box(b"mdat", bytes(500)))
    assert not ends(first + box(b"meta", bytes(100)))  # cut between two boxes
    assert not ends(first + box(b"mdat", bytes(500), size=509))
    assert not ends(first + box(b"mdat", bytes(500), size=0))  # to the end, wherever that is
    long = (1).to_bytes(4, "big") + b"mdat" + (16 + 90).to_bytes(8, "big") + bytes(90)
    assert ends(first + long) and not ends((first + long)[:-1])
    assert not ends(first + b"\0\0\0\1mdat" + bytes(8))  # leads nowhere
    assert not ends(first + box(b"free") * 5_000 + box(b"mdat"))


def test_the_parts_of_a_jpeg_xl_codestream() -> None:
    first = endings.JXL_BOXES + b"\r\n\x87\n" + box(b"ftyp", b"jxl " + bytes(8))
    parts = [box(b"jxlp", number.to_bytes(4, "big") + bytes(30)) for number in (0, 1, 2 | 1 << 31)]
    assert ends(first + b"".join(parts)) and not ends(first + b"".join(parts[:2]))
    assert ends(first + box(b"jxlc", bytes(40))) and not ends(first + box(b"jxlc", bytes(40))[:-3])


def test_a_format_without_marks_is_taken_for_whole_but_a_bare_codestream_is_not() -> None:
    assert ends(b"II*\0" + bytes(50)) and ends(b"P6 1 1 255 abc") and not ends(endings.JXL_BARE + bytes(50))


def test_pieces_of_a_tiff() -> None:
    assert endings.tiff_pieces_fit({273: (8, 108), 279: (100, 100)}, 208)
    assert not endings.tiff_pieces_fit({273: (8, 108), 279: (100, 100)}, 207)
    assert not endings.tiff_pieces_fit({324: (8, 108), 325: (100, 100)}, 207)
    assert endings.tiff_pieces_fit({}, 10) and endings.tiff_pieces_fit({273: (8,)}, 10)  # nothing is told


def test_few_bytes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.avif", NOISE.resize((1200, 1500)), quality=95)
    with path.open("rb") as file:
        part = headers.Part(file.fileno())
        asked: list[int] = []
        head, tail = part.read(0, 16_384), part.read(part.length - 4_096, 4_096)
        monkeypatch.setattr(part, "read", lambda place, count: asked.append(count) or b"")
        assert endings.has_end(head, tail, part.length, part.read)
    assert sum(asked) <= 100 and part.length > 30_000
