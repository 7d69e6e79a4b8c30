"""Pictures: decodes any supported file to upright RGB, and cuts it to its bucket."""

from __future__ import annotations

import codecs
import math
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from core.data.buckets import Fit

#: Pictures above this are taken for decompression bombs: 1.5 GB as RGB.
MAX_PIXELS = 500_000_000

UNREADABLE = "the file cannot be read"
MISSING = "the file is missing"

#: What each signature in a file's first bytes is called in a reason.
_OTHER_FILES = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"<htm": "a web page",
    b"<!DO": "a web page",
    b"<svg": "an SVG drawing",
    b"<?xm": "an XML file",
}


class PictureError(Exception):
    """A file that cannot be used as a picture; its text is the reason, short, without the path."""


def open_picture(path: Path) -> Image.Image:
    """Open a picture without decoding it; the caller closes it. PictureError says what is wrong with it.

    Switches off Pillow's own limit on sizes (a setting of the whole process): it is below what cameras and
    scanners give. Ours, MAX_PIXELS, is checked here instead.
    """
    Image.MAX_IMAGE_PIXELS = None
    try:
        image = Image.open(path)
    except Exception as error:  # whatever a decoder stumbles over is the file's fault
        raise PictureError(reason_of(error, path)) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise PictureError(too_large(image.width, image.height))
    return image


def too_large(width: int, height: int) -> str:
    """The reason for a picture above MAX_PIXELS."""
    return f"too large: {width} x {height} pixels; the limit is {MAX_PIXELS // 1_000_000} million"


def may_pass(reason: str) -> bool:
    """True for a reason that lies in the disk or the permissions and may be gone without a new file."""
    return reason.startswith((UNREADABLE, MISSING))


def reason_of(error: Exception, path: Path) -> str:
    """The short reason for what a decoder raised."""
    if isinstance(error, PictureError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, OSError) and error.errno is not None:
        return f"{UNREADABLE} ({error.strerror})"
    if isinstance(error, UnidentifiedImageError):
        return _what_else(path)
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    text = str(error)
    if "truncated" in text or isinstance(error, EOFError):
        return "the file is cut short"
    return f"the file is damaged ({text or type(error).__name__})"


def _what_else(path: Path) -> str:
    """The reason for a file that no decoder knows."""
    with path.open("rb") as file:
        head = file.read(256)
    if not head:
        return "the file is empty"
    if not any(head):
        return "the file holds only zeros; the disk or the copying may have failed"
    for signature, name in _OTHER_FILES.items():
        if head.startswith(signature):
            return f"not a picture but {name}"
    return "not a picture but a text file" if _is_text(head) else "not a picture, or its beginning is damaged"


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # takes a letter cut off at the end
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)


def oriented_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as load() will give it; reads the EXIF data, which for some PNG files means decoding.

    Pillow turns TIFF files itself, and their size already says so.
    """
    turned = image.format != "TIFF" and image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else (image.width, image.height)


def load(path: Path) -> Image.Image:
    """Decode a picture to upright RGB, 8 bits; of several frames the first.

    EXIF orientation is applied, transparency is laid over white, 16 bits are scaled down to 8. Colour
    profiles are not applied, as in kohya's scripts. PictureError says what is wrong with the file.
    """
    with open_picture(path) as image:
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # whatever a decoder stumbles over is the file's fault
            raise PictureError(reason_of(error, path)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep_grey(image)
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return cast(Image.Image, ImageCms.profileToProfile(image, *profiles, outputMode="RGB"))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        straight = image.convert("LA") if image.mode == "La" else image
        pixels = straight.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
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
