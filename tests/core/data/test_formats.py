"""Tests of core/data/formats.py: JPEG XL and HEIC come out upright and right, other programs' formats stay shut."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import formats
from core.data.headers import examine
from core.data.index import Index
from core.data.pictures import PictureError, load
from tests.core.data.samples import TURNED, close, corners, save, seen

pylibjxl = pytest.importorskip("pylibjxl", reason="no wheel for this machine")

#: corners(64, 32) as pillow-heif writes it with quality 40; pi-heif cannot write.
HEIC = """
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERA
AAEAAQAAAAABoQABAAAAAAAAAFgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAA
AHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq
5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAA
IAAAAAEAAAAAAAAAAv///+AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAGBtZGF0AAAAVCgBr1j5E5Jf/8Yq//XZ
yHmlUz7c/LT/ORU39I60VbmF+PS59qsP9z82oJ/8Jg/8VynrpADjKpGsjYMzQ9wU1eTQQ+4+P04/xn3+5Rjc/2OuCkdeLA==
"""


def jxl(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.write_bytes(pylibjxl.encode(pixels, lossless=True, **options))
    return path


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_a_jpeg_recompressed_as_jpeg_xl_is_turned_once(tmp_path: Path, orientation: int) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    corners(64, 32).save(file, "JPEG", exif=exif, quality=95)
    path = tmp_path / "a.jxl"
    path.write_bytes(pylibjxl.jpeg_to_jxl(file.getvalue()))
    header, image = examine(str(path)), load(path)
    assert (header.width, header.height) == image.size == ((32, 64) if orientation >= 5 else (64, 32))
    assert close(seen(image), TURNED[orientation])


def test_kinds_of_jpeg_xl(tmp_path: Path) -> None:
    colour = np.asarray(corners())
    assert seen(load(jxl(tmp_path / "a.jxl", colour))) == TURNED[1]
    grey = np.asarray(corners().convert("L"))
    assert np.array_equal(np.asarray(load(jxl(tmp_path / "b.jxl", grey)))[..., 0], grey)
    alpha = np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    alpha[:, 24:, 3] = 0
    path = jxl(tmp_path / "c.jxl", alpha)
    assert seen(load(path))[1] == (255, 255, 255)
    assert examine(str(path)).alpha
    assert not examine(str(tmp_path / "a.jxl")).alpha


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_jpeg_xl_cut_short_has_a_reason(tmp_path: Path, share: float) -> None:
    path = jxl(tmp_path / "a.jxl", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(PictureError):
        load(path)


def test_heic(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif", reason="no wheel for this machine")
    path = tmp_path / "a.heic"
    path.write_bytes(base64.b64decode(HEIC))
    header = examine(str(path))
    assert (header.width, header.height) == load(path).size == (64, 32)
    assert close(seen(load(path)), TURNED[1])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PictureError):
        load(path)


def test_an_index_holds_them(tmp_path: Path) -> None:
    jxl(tmp_path / "a.jxl", np.asarray(corners()))
    (tmp_path / "b.HEIC").write_bytes(base64.b64decode(HEIC))
    (tmp_path / "c.heif").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (tmp_path / "d.jxl").write_bytes(b"\xff\x0a" + bytes(20))
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path])
        assert [Path(p.path).name for p in index.pictures()] == ["a.jxl", "b.HEIC"]
        assert all(p.reason for p in index.broken())


def test_a_picture_that_another_program_would_draw_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    corners().save(path, "EPS")
    assert path.read_bytes().startswith(b"%!PS")
    with pytest.raises(PictureError):
        load(path)
    assert "EPS" not in formats.OF_PILLOW


def test_formats_of_pillow_exist() -> None:
    Image.init()
    assert set(formats.OF_PILLOW) <= set(Image.OPEN)


def test_without_the_libraries_the_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jxl(tmp_path / "a.jxl", np.asarray(corners()))
    monkeypatch.setattr(formats, "others", lambda: [])
    with pytest.raises(PictureError, match="not a picture"):
        load(path)
    assert load(save(tmp_path / "b.png")).size == (48, 32)
