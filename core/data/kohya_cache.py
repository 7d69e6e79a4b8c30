"""kohya's caches beside the pictures: latents and text states in .npz files, found, checked and read.

Their latents are samples of the VAE's distribution, in float32, not multiplied by the VAE's scaling factor. Nothing in
a file says which VAE made it, and only its name or a key says for which size of picture and bucket; so whoever adopts
such a cache vouches for the VAE. Names and keys as sd-scripts (2026-02) writes them; nothing is ever unpickled.
"""

# Plain strings and os functions: at millions of files, Path objects cost more time than the disk.
# ruff: noqa: PTH110, PTH122, PTH123

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from core.data.buckets import VAE_FACTOR, Fit, Size
from core.data.reasons import PictureError

LATENT_CHANNELS = 4
TEXT_SUFFIX = "_te_outputs.npz"

#: Bytes that one array may have: a mask of 8192 x 8192 in float32. A header that says more is damaged or hostile.
_MAX_BYTES = 256 << 20

#: Characters of an array's header; numpy's own limit.
_MAX_HEADER = 10_000

#: A cut may lie a pixel off the one that is expected: kohya rounds sizes before it halves them.
_NEAR = 1


class CacheFileError(PictureError):
    """A cache file that cannot be used; its text is the reason, short, without the path."""


def latent_suffix(family: str) -> str:
    """The end of the names of latent caches of a model family: SDXL has one of its own, all others share one."""
    return "_sdxl.npz" if family == "sdxl" else "_sd.npz"


def latent_path(picture: str, size: Size, family: str) -> str:
    """The name that kohya's scripts give a picture's latents; `size` (width, height) is the picture's own."""
    return f"{os.path.splitext(picture)[0]}_{size[0]:04d}x{size[1]:04d}{latent_suffix(family)}"


def find(picture: str, original_size: Size, family: str) -> str | None:
    """The cache file that holds a picture's latents, None when there is none; the old name {stem}.npz wins.

    Args:
        original_size: (width, height) of the upright picture. kohya's scripts do not turn pictures by their EXIF
            orientation, so for one that is to be turned there is no cache that fits: None.
    """
    stem = os.path.splitext(picture)[0]
    for path in (f"{stem}.npz", latent_path(picture, original_size, family)):
        if os.path.exists(path):
            return None if _is_turned(picture) else path
    return None


def _is_turned(picture: str) -> bool:
    """Whether EXIF data say that the picture is to be turned or mirrored when shown."""
    from PIL import Image

    try:
        with open(picture, "rb") as file:
            if b"Exif" not in (head := file.read(1 << 16)) and b"eXIf" not in head and b"EXIF" not in head:
                return False
        with Image.open(picture) as image:
            return image.getexif().get(0x0112, 1) not in (0, 1)
    except Exception:  # the picture is broken, which is told where it is decoded
        return False


def read_latent(path: str, expected: Fit, flipped: bool = False, size: Size | None = None) -> NDArray[np.float32]:
    """A picture's latents from a cache file, once it is certain that they are those which `expected` asks for.

    Args:
        expected: How the picture is to get into its bucket; kohya's scripts cut in the middle, and no other cut fits.
        flipped: The latents of the mirrored picture.
        size: (width, height) of the upright picture, where it is known; None trusts the file.

    Returns:
        float32 (4, bucket height / 8, bucket width / 8), not scaled.

    Raises:
        CacheFileError: with the reason: wrong size, wrong crop, a missing key, not finite, damaged.
    """
    height, width = expected.bucket[1] // VAE_FACTOR, expected.bucket[0] // VAE_FACTOR
    with _Arrays(path) as arrays:
        suffix = arrays.suffix(height, width)
        _check_crop(_pair(arrays.read("original_size" + suffix)), expected, size)
        latents = arrays.read(("latents_flipped" if flipped else "latents") + suffix)
    if latents.shape != (LATENT_CHANNELS, height, width):
        raise CacheFileError(
            f"its latents have the shape {list(latents.shape)}, but the bucket {expected.bucket[0]} x "
            f"{expected.bucket[1]} needs {[LATENT_CHANNELS, height, width]}"
        )
    return _finite(latents, "latents")


def _check_crop(original: Size, expected: Fit, size: Size | None) -> None:
    """Whether a picture of this size, cut in the middle as kohya does it, gives what `expected` says.

    The crop_ltrb in the file is no help: it is reckoned from the bucket and the size alone. Whether kohya enlarged
    small pictures is not said either; the scales of both ways differ by less than one step of the buckets.
    """
    if size is not None and original != size:
        raise CacheFileError(f"it is of a picture of {original[0]} x {original[1]}, this one has {size[0]} x {size[1]}")
    width, height = expected.resized
    by_width = abs(original[1] * width / original[0] - height) <= _NEAR
    by_height = abs(original[0] * height / original[1] - width) <= _NEAR
    if not by_width and not by_height:
        raise CacheFileError(f"it is of a picture of {original[0]} x {original[1]}, which does not scale to this size")
    middle = (width - expected.bucket[0]) // 2, (height - expected.bucket[1]) // 2
    if abs(expected.crop[0] - middle[0]) > _NEAR or abs(expected.crop[1] - middle[1]) > _NEAR:
        raise CacheFileError("it was cut in the middle, and this picture is to be cut elsewhere")


def _pair(array: NDArray[Any]) -> Size:
    if array.shape != (2,) or not np.isfinite(array).all() or (array < 1).any():
        raise CacheFileError("its original_size is no width and height")
    return int(array[0]), int(array[1])


def _finite(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise CacheFileError(f"its {name} are no floating point numbers ({array.dtype})")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise CacheFileError(f"its {name} hold numbers that are not finite (nan); the VAE failed on this picture")
    return values


class _Arrays:
    """The arrays of a .npz file, each read when asked for and checked by its checksum; never unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> _Arrays:
        try:
            self._zip = zipfile.ZipFile(self._path)
            self._names = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        except Exception as error:  # whatever the reader stumbles over is the file's fault
            raise CacheFileError(_reason(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def names(self) -> list[str]:
        return list(self._names)

    def suffix(self, height: int, width: int) -> str:
        """What is appended to the keys: newer files hold several sizes and name that of the latents."""
        named = f"_{height}x{width}"
        return named if "latents" + named in self else ""

    def read(self, name: str) -> NDArray[Any]:
        if name not in self:
            raise CacheFileError(f"it has no '{name}'")
        info = self._names[name]
        if info.file_size > _MAX_BYTES:
            raise CacheFileError(f"its '{name}' is said to have {info.file_size:,} bytes, which is too much")
        try:
            with self._zip.open(info) as file:
                array = _array(file, name, info.file_size)
                if file.read(1):  # at the end the checksum is compared
                    raise CacheFileError(f"its '{name}' is longer than its header says")
            return array
        except CacheFileError:
            raise
        except Exception as error:  # whatever the reader stumbles over is the file's fault
            raise CacheFileError(_reason(error)) from error


def _array(file: IO[bytes], name: str, length: int) -> NDArray[Any]:
    """One array in numpy's format; its header is believed only as far as there are bytes."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read_header(file, max_header_size=_MAX_HEADER)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise CacheFileError(f"its '{name}' holds no plain numbers ({dtype})")
    count = math.prod(shape)
    if count * dtype.itemsize > length:
        raise CacheFileError(f"its '{name}' is shorter than its header says")
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    if isinstance(error, OSError) and error.errno is not None:
        return f"it cannot be read ({error.strerror})"
    return f"it is damaged ({str(error) or type(error).__name__})"


def find_text(picture: str) -> str | None:
    """The cache file of a picture's text states; None when there is none, or a caption file is newer than it.

    kohya's scripts do not make it anew when a caption changes, nor does it say which caption, tokens or encoder it is
    of: an older caption file is the only sign that it fits, and a weak one.
    """
    stem = os.path.splitext(picture)[0]
    try:
        made = os.stat(stem + TEXT_SUFFIX).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None
    for suffix in (".txt", ".caption"):
        try:
            if os.stat(stem + suffix).st_mtime_ns > made:  # noqa: PTH116
                return None
        except OSError:
            continue
    return stem + TEXT_SUFFIX


def check(path: str) -> None:
    """Read a latent or text cache whole, whatever it is of; CacheFileError with the reason when it is damaged."""
    if path.endswith(TEXT_SUFFIX):
        read_text(path)
        return
    with _Arrays(path) as arrays:
        ends = [name.removeprefix("latents") for name in arrays.names() if re.fullmatch(r"latents(_\d+x\d+)?", name)]
        if not ends:
            raise CacheFileError("it has no 'latents'")
        for end in ends:
            latents = _finite(arrays.read("latents" + end), "latents")
            if latents.ndim != 3 or len(latents) != LATENT_CHANNELS:
                raise CacheFileError(f"its latents have the shape {list(latents.shape)}")
            size = _pair(arrays.read("original_size" + end))
            named = re.search(r"_(\d{4,})x(\d{4,})_sd(xl)?\.npz$", path)
            if named and size != (int(named[1]), int(named[2])):
                raise CacheFileError(f"it is of a picture of {size[0]} x {size[1]}, and its name says another size")
            if arrays.read("crop_ltrb" + end).shape != (4,):
                raise CacheFileError("its crop_ltrb is not four numbers")
            mirrored = [arrays.read(name) for name in arrays.names() if name == "latents_flipped" + end]
            if any(_finite(one, "mirrored latents").shape != latents.shape for one in mirrored):
                raise CacheFileError("its mirrored latents have another shape")
            if "alpha_mask" + end in arrays:
                _finite(arrays.read("alpha_mask" + end), "alpha mask")


def read_text(path: str) -> dict[str, NDArray[np.float32]]:
    """The states of SDXL's two text encoders as kohya's scripts keep them.

    Returns:
        {"hidden_state1": (n, 768), "hidden_state2": (n, 1280), "pool2": (1280,)} in float32. n is 77, or 75 k + 2 for
        long captions: kohya joins the chunks and keeps one beginning and one end.

    Raises:
        CacheFileError: with the reason.
    """
    with _Arrays(path) as arrays:
        states = {name: arrays.read(name) for name in ("hidden_state1", "hidden_state2", "pool2")}
    one, two, pooled = states.values()
    if one.ndim != 2 or two.ndim != 2 or len(one) != len(two) or pooled.shape != (two.shape[1],):
        raise CacheFileError(f"its states have the shapes {[list(state.shape) for state in states.values()]}")
    return {name: _finite(state, name) for name, state in states.items()}


def as_conditioning(text: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """What read_text() gave as the conditioning of core/families/sdxl.py, without the dimension of the batch.

    {"encoder_hidden_states": (n, 2048), "pooled": (1280,)}: both encoders' states side by side. The same numbers as
    encode_tokens() with clip_skip 2 for captions of up to 75 tokens; longer ones are joined in another way.
    """
    both = np.concatenate([text["hidden_state1"], text["hidden_state2"]], axis=-1)
    return {"encoder_hidden_states": both, "pooled": text["pool2"]}
