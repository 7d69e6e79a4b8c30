"""Tests of core/data/kohya_cache.py and kohya_verify.py against files written the way sd-scripts writes them."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.data.buckets import Fit, fit, make_buckets
from core.data.kohya_cache import (
    CacheFileError,
    as_conditioning,
    find,
    find_text,
    latent_path,
    read_latent,
    read_text,
)
from core.data.kohya_verify import verify
from core.errors import UserError
from core.settings import DataSettings
from tests.core.data.samples import save

SIZE = (700, 500)


@pytest.fixture
def expected() -> Fit:
    """A picture of 700 x 500 in kohya's buckets of about 512 x 512."""
    data = DataSettings()
    return fit(SIZE, data, make_buckets(data.resolution, data.min_side, data.max_side, data.bucket_step))


def latents_for(expected: Fit, seed: int = 0) -> np.ndarray[Any, Any]:
    shape = (4, expected.bucket[1] // 8, expected.bucket[0] // 8)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 5


def write_like_kohya(path: str, suffix: str, latents: Any, size: tuple[int, int] = SIZE, **more: Any) -> None:
    """What sd-scripts does when it saves latents: keys with a suffix, added to those that the file has."""
    kwargs: dict[str, Any] = {}
    if Path(path).exists():
        with np.load(path) as npz:
            kwargs |= {key: npz[key] for key in npz.files}
    kwargs["latents" + suffix] = latents
    kwargs["original_size" + suffix] = np.array(size)
    kwargs["crop_ltrb" + suffix] = np.array((0.0, 12.0, 576.0, 436.0))
    kwargs |= {key + suffix: value for key, value in more.items()}
    np.savez(path, **kwargs)


def test_names_are_kohyas(tmp_path: Path) -> None:
    picture = str(tmp_path / "my.picture.jpg")
    assert latent_path(picture, (700, 500), "sd15") == str(tmp_path / "my.picture_0700x0500_sd.npz")
    assert latent_path(picture, (12000, 5), "sdxl") == str(tmp_path / "my.picture_12000x0005_sdxl.npz")
    assert find(picture, (700, 500), "sd15") is None
    for name in ("my.picture_0700x0500_sd.npz", "my.picture_0700x0500_sdxl.npz", "my.picture_0500x0700_sd.npz"):
        (tmp_path / name).touch()
    assert find(picture, (700, 500), "sd15") == str(tmp_path / "my.picture_0700x0500_sd.npz")
    assert find(picture, (700, 500), "sdxl") == str(tmp_path / "my.picture_0700x0500_sdxl.npz")
    (tmp_path / "my.picture.npz").touch()
    assert find(picture, (700, 500), "sdxl") == str(tmp_path / "my.picture.npz")


def test_a_picture_that_exif_turns_has_no_cache(tmp_path: Path) -> None:
    for name, orientation in (("turned.jpg", 6), ("plain.jpg", 1), ("upside.jpg", 3)):
        save(tmp_path / name, orientation=orientation)
        (tmp_path / name).with_suffix(".npz").touch()
    assert find(str(tmp_path / "plain.jpg"), (48, 32), "sd15") is not None
    assert find(str(tmp_path / "turned.jpg"), (32, 48), "sd15") is None
    assert find(str(tmp_path / "upside.jpg"), (48, 32), "sd15") is None


@pytest.mark.parametrize("newer", [False, True])
def test_latents_are_read_as_they_are(tmp_path: Path, expected: Fit, newer: bool) -> None:
    path = latent_path(str(tmp_path / "a.jpg"), SIZE, "sdxl")
    plain, flipped = latents_for(expected, 1), latents_for(expected, 2)
    mask = np.ones((expected.bucket[1], expected.bucket[0]), np.float32)  # ours comes from the picture itself
    if newer:  # several sizes in one file
        write_like_kohya(path, "_8x8", np.zeros((4, 8, 8), np.float32))
    end = f"_{expected.bucket[1] // 8}x{expected.bucket[0] // 8}" if newer else ""
    write_like_kohya(path, end, plain, latents_flipped=flipped, alpha_mask=mask)
    assert read_latent(path, expected, size=SIZE).tobytes() == plain.tobytes()
    assert read_latent(path, expected, flipped=True).tobytes() == flipped.tobytes()
    write_like_kohya(str(tmp_path / "b.npz"), "", plain.astype(np.float16))
    assert read_latent(str(tmp_path / "b.npz"), expected).dtype == np.float32
    with pytest.raises(CacheFileError, match="no 'latents_flipped'"):
        read_latent(str(tmp_path / "b.npz"), expected, flipped=True)


def test_compressed_and_fortran_ordered_arrays_are_read(tmp_path: Path, expected: Fit) -> None:
    latents = latents_for(expected)
    values = {"latents": np.asfortranarray(latents), "original_size": np.array(SIZE), "crop_ltrb": np.zeros(4)}
    np.savez_compressed(tmp_path / "a.npz", **values)
    assert np.array_equal(read_latent(str(tmp_path / "a.npz"), expected), latents)


def test_what_does_not_fit_is_refused_with_its_reason(tmp_path: Path, expected: Fit) -> None:
    path = str(tmp_path / "a.npz")

    def reason(fit: Fit = expected, size: tuple[int, int] | None = SIZE) -> str:
        with pytest.raises(CacheFileError) as raised:
            read_latent(path, fit, size=size)
        return str(raised.value)

    assert reason() == "it is missing"
    write_like_kohya(path, "", latents_for(expected)[:, 1:])
    assert "shape [4, " in reason()
    Path(path).unlink()
    write_like_kohya(path, "", latents_for(expected), size=(500, 700))
    assert "of a picture of 500 x 700, this one has 700 x 500" in reason()
    assert "does not scale" in reason(size=None)
    Path(path).unlink()
    write_like_kohya(path, "", latents_for(expected))
    left, top, right, bottom = expected.crop
    assert (left, top) != (0, 0)
    uncut = Fit(expected.bucket, expected.resized, (0, 0, right - left, bottom - top), 0.0)
    assert "cut in the middle" in reason(uncut)
    near = Fit(expected.bucket, expected.resized, (left + bool(left), top + bool(top), right, bottom), 0.0)
    assert read_latent(path, near).shape[0] == 4
    bad = latents_for(expected)
    bad[2, 3, 4] = np.nan
    write_like_kohya(path, "", bad)
    assert "not finite" in reason()
    write_like_kohya(path, "", latents_for(expected).astype(np.int32))
    assert "no floating point" in reason()
    write_like_kohya(path, "", latents_for(expected), size=(0, 500))
    assert "no width and height" in reason()
    np.savez(path, latents=latents_for(expected))
    assert reason() == "it has no 'original_size'"


def _npz(path: Path, member: bytes) -> None:
    """A .npz with a good original_size and these bytes as latents.npy."""
    with zipfile.ZipFile(path, "w") as file:
        size = io.BytesIO()
        np.save(size, np.array(SIZE))
        file.writestr("original_size.npy", size.getvalue())
        file.writestr("latents.npy", member)


def test_hostile_files_are_refused_and_nothing_is_unpickled(tmp_path: Path, expected: Fit) -> None:
    path = tmp_path / "a.npz"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    def header(shape: str, dtype: str = "<f4") -> bytes:
        text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()

    pickled = io.BytesIO()
    np.save(pickled, np.array([Trap()], dtype=object), allow_pickle=True)
    for member, reason in [
        (pickled.getvalue(), "no plain numbers"),
        (pickle.dumps(Trap()), "damaged"),
        (header("(4, 99999999999, 99999999999)") + b"1234", "shorter than its header"),
        (header("(-4, 64, 64)") + b"1234", "damaged|shape"),
        (header("(4,)") + bytes(17), "longer than its header"),
        (header("(4, " + "(" * 300 + ")" * 300 + ")"), "damaged"),
        (b"\x93NUMPY\x09\x00", "damaged"),
        (b"", "damaged"),
    ]:
        _npz(path, member)
        with pytest.raises(CacheFileError, match=reason):
            read_latent(str(path), expected)
    assert not (tmp_path / "sprung").exists()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:  # 300 MB of zeros in 300 KB
        file.writestr("original_size.npy", bytes(300 << 20))
    with pytest.raises(CacheFileError, match="too much"):
        read_latent(str(path), expected)


def test_every_damage_of_a_file_is_found(tmp_path: Path, expected: Fit) -> None:
    path = str(tmp_path / "a.npz")
    latents = latents_for(expected)
    write_like_kohya(path, "", latents)
    whole = Path(path).read_bytes()
    chance = random.Random(3)
    for turn in range(200):
        damaged = bytearray(whole)
        if turn % 2:
            del damaged[chance.randrange(len(whole)) :]
        else:
            place = chance.randrange(len(whole))
            damaged[place] ^= 1 << chance.randrange(8)
        Path(path).write_bytes(damaged)
        try:
            found = read_latent(path, expected, size=SIZE)
        except CacheFileError:
            continue
        assert np.array_equal(found, latents)  # the byte did not matter


def states(count: int = 77) -> dict[str, Any]:
    chance = np.random.default_rng(count)
    shapes = {"hidden_state1": (count, 768), "hidden_state2": (count, 1280), "pool2": (1280,)}
    return {name: chance.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_text_states_are_read_and_put_side_by_side(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_te_outputs.npz", **states(227))
    found = read_text(str(tmp_path / "a_te_outputs.npz"))
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in states(227).items()
    }
    conditioning = as_conditioning(found)
    assert conditioning["encoder_hidden_states"].shape == (227, 2048)
    assert np.array_equal(conditioning["encoder_hidden_states"][:, 768:], found["hidden_state2"])
    assert np.array_equal(conditioning["pooled"], found["pool2"])
    np.savez(tmp_path / "a_te_outputs.npz", **{**states(), "pool2": np.zeros(768, np.float32)})
    with pytest.raises(CacheFileError, match="shapes"):
        read_text(str(tmp_path / "a_te_outputs.npz"))
    np.savez(tmp_path / "a_te_outputs.npz", hidden_state1=np.zeros((77, 768)))
    with pytest.raises(CacheFileError, match="no 'hidden_state2'"):
        read_text(str(tmp_path / "a_te_outputs.npz"))


def test_text_states_older_than_the_caption_are_not_offered(tmp_path: Path) -> None:
    picture, path = str(tmp_path / "a.jpg"), tmp_path / "a_te_outputs.npz"
    assert find_text(picture) is None
    path.touch()
    assert find_text(picture) == str(path)
    (tmp_path / "a.caption").touch()
    os.utime(path, ns=(100, 100))
    os.utime(tmp_path / "a.caption", ns=(99, 99))
    assert find_text(picture) == str(path)
    os.utime(tmp_path / "a.caption", ns=(101, 101))
    assert find_text(picture) is None


def test_verify_names_the_damaged_and_removes_them_only_when_told(tmp_path: Path, expected: Fit) -> None:
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    latents = latents_for(expected)
    for name in ("a_0700x0500_sd.npz", "b_0700x0500_sdxl.npz", "c.npz", "cut_0700x0500_sd.npz", "nan_0700x0500_sd.npz"):
        write_like_kohya(str(inner / name), "", latents)
    write_like_kohya(str(inner / "other_0640x0480_sd.npz"), "", latents)
    np.savez(inner / "a_te_outputs.npz", **states())
    Image.new("RGB", (8, 8)).save(inner / "c.jpg")
    (inner / "cut_0700x0500_sd.npz").write_bytes((inner / "a_0700x0500_sd.npz").read_bytes()[:-500])
    write_like_kohya(str(inner / "nan_0700x0500_sd.npz"), "", np.full_like(latents, np.nan))
    (tmp_path / "torn_te_outputs.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "of_another_program.npz").write_bytes(b"not ours")
    done: list[int] = []
    found = verify(tmp_path, progress=done.append)
    assert (found.sound, done[-1]) == (4, 8)
    reasons = {Path(path).name: reason for path, reason in found.damaged}
    assert set(reasons) == {
        "cut_0700x0500_sd.npz",
        "nan_0700x0500_sd.npz",
        "other_0640x0480_sd.npz",
        "torn_te_outputs.npz",
    }
    assert "not finite" in reasons["nan_0700x0500_sd.npz"]
    assert "another size" in reasons["other_0640x0480_sd.npz"]
    assert (inner / "cut_0700x0500_sd.npz").exists()
    assert len(verify(tmp_path, remove=True).damaged) == 4
    assert not (inner / "cut_0700x0500_sd.npz").exists()
    assert (tmp_path / "of_another_program.npz").exists()
    assert verify(tmp_path).damaged == []
    with pytest.raises(UserError, match="is not a folder"):
        verify(tmp_path / "missing")
