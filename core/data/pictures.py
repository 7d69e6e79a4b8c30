"""Pictures: decodes any supported file to upright RGB, and cuts it to its bucket."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from core.data import formats
from core.data.buckets import Fit
from core.data.headers import has_alpha
from core.data.reasons import MAX_PIXELS as MAX_PIXELS
from core.data.reasons import MISSING as MISSING
from core.data.reasons import UNREADABLE as UNREADABLE
from core.data.reasons import PictureError as PictureError
from core.data.reasons import head_of, reason_of, too_large
from core.data.reasons import may_pass as may_pass
from core.data.source import read_bytes

# What is wrong with a file is told once, with its name and a reason; Pillow's murmurs name none.
warnings.filterwarnings("ignore", module=r"PIL\.")

#: What is put behind transparent pixels: a colour, or nothing ("ignore": the colours that the file has there).
Transparency = Literal["white", "black", "grey", "ignore"]

_BEHIND = {"white": "#ffffff", "black": "#000000", "grey": "#808080"}


def open_picture(source: Path | BinaryIO) -> Image.Image:
    """Open a picture without decoding it; the caller closes it. PictureError says what is wrong with it.

    Switches off Pillow's own limit on sizes (a setting of the whole process): it is below what cameras and
    scanners give. Ours, MAX_PIXELS, is checked here instead.
    """
    Image.MAX_IMAGE_PIXELS = None
    try:
        image = _open(source)
    except Exception as error:  # whatever a decoder stumbles over is the file's fault
        raise PictureError(reason_of(error, _head(source))) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise PictureError(too_large(image.width, image.height))
    return image


def _open(source: Path | BinaryIO) -> Image.Image:
    try:
        return Image.open(source, formats=formats.OF_PILLOW)
    except UnidentifiedImageError:
        return Image.open(source, formats=formats.others())


def _head(source: Path | BinaryIO) -> bytes:
    """The first bytes of a file that no decoder knows."""
    if not isinstance(source, Path):
        return head_of(source)
    try:
        with source.open("rb") as file:
            return head_of(file)
    except OSError:
        return b""


def oriented_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as load() will give it; reads the EXIF data, which for some PNG files means decoding.

    Pillow turns TIFF files itself, and their size already says so.
    """
    turned = image.format != "TIFF" and image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else (image.width, image.height)


def load(path: Path, transparency: Transparency = "white") -> Image.Image:
    """Decode a picture to upright RGB, 8 bits; of several frames the first.

    EXIF orientation is applied, transparency is laid over a colour, 16 bits are scaled down to 8. Colour
    profiles are not applied, as in kohya's scripts. PictureError says what is wrong with the file.
    """
    try:
        data = read_bytes(str(path))
    except (OSError, ValueError) as error:
        raise PictureError(reason_of(error)) from error
    return load_bytes(data, transparency)


def load_bytes(data: bytes, transparency: Transparency = "white") -> Image.Image:
    """The same from the bytes of a file, for those who need them for more than the picture."""
    with open_picture(io.BytesIO(data)) as image:
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), transparency)
        except Exception as error:  # whatever a decoder stumbles over is the file's fault
            raise PictureError(reason_of(error, data)) from error


def load_small(data: bytes, side: int) -> Image.Image:
    """A small upright RGB picture of the same content, at least `side` pixels along its shorter side where it has them.

    A JPEG file is decoded to a half, a quarter or an eighth of its size at once, which saves most of the work.
    """
    with open_picture(io.BytesIO(data)) as image:
        try:
            if image.format == "JPEG":
                image.draft("RGB", (side, side))
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), "white")
        except Exception as error:  # whatever a decoder stumbles over is the file's fault
            raise PictureError(reason_of(error, data)) from error


def _to_rgb(image: Image.Image, transparency: Transparency) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep_grey(image)
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return cast(Image.Image, ImageCms.profileToProfile(image, *profiles, outputMode="RGB"))
    if transparency != "ignore" and has_alpha(image):
        straight = image.convert("LA") if image.mode == "La" else image
        pixels = straight.convert("RGBA")
        behind = Image.new("RGBA", pixels.size, _BEHIND[transparency])
        return Image.alpha_composite(behind, pixels).convert("RGB")
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or in floating point; Pillow's own conversion would cut off all above 255.

    Integers above 8 bits are taken for 16 bits unless they are larger still; floats up to 1 are taken for
    shares.
    """
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    if image.mode.startswith("I;16"):
        scale = 65535.0
    elif image.mode == "F" and top <= 1.0:
        scale = 1.0
    else:
        scale = next((limit for limit in (255.0, 65535.0) if top <= limit), top)
    grey = (values.clip(0, None) * (255.0 / scale) + 0.5).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def to_bucket(image: Image.Image, fit: Fit, flip: bool = False) -> NDArray[np.uint8]:
    """Resize and crop an upright RGB picture as its Fit says; mirrored when `flip`.

    Returns:
        uint8 (bucket height, bucket width, 3).

    Raises:
        PictureError: the picture has not the shape that the fit was made for (the file changed since the
        scan).
    """
    width, height = fit.resized
    by_height = math.isclose(image.width * height / image.height, width, abs_tol=1.0)
    by_width = math.isclose(image.height * width / image.width, height, abs_tol=1.0)
    if not (by_height or by_width):
        raise PictureError("its size has changed since the folder was scanned; scan the folder again")
    filtered = Image.Resampling.LANCZOS if width < image.width else Image.Resampling.BICUBIC
    if image.size != fit.resized:
        # The same pixels as resizing all and cropping, without computing those that are cut off.
        box = _source_box(image.size, fit)
        image = image.resize(fit.bucket, filtered, box=box)
    else:
        image = image.crop(fit.crop)
    if flip:
        image = ImageOps.mirror(image)
    return np.array(image, dtype=np.uint8)


def _source_box(size: tuple[int, int], fit: Fit) -> tuple[float, float, float, float]:
    """The crop in coordinates of the picture before resizing."""
    across, down = size[0] / fit.resized[0], size[1] / fit.resized[1]
    left, top, right, bottom = fit.crop
    return left * across, top * down, min(right * across, size[0]), min(bottom * down, size[1])
