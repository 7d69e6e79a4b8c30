"""From a file to the pixels of its bucket, for the cache and for training without one: read once, hash, decode, cut.

Threads do this ahead of the model: reading, decoding and resizing happen outside Python's lock, and threads share all
memory, which worker processes would not.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.data import pictures, source
from core.data.buckets import Fit
from core.data.headers import has_alpha
from core.data.phash import phash64
from core.data.pictures import PictureError, Transparency, to_bucket
from core.data.reasons import reason_of

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of one file.

    Attributes:
        content_hash: xxh3_128 of its bytes, "" where it could not be read.
        phash: Perceptual hash, None where it was not decoded.
        pixels: uint8 (height, width, 3) of the bucket, None where there is a reason.
        mask: uint8 (height, width), 255 where the loss counts; None for everywhere.
        reason: Why the picture cannot be used, "" when it can.
    """

    content_hash: str = ""
    phash: int | None = None
    pixels: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    reason: str = ""


def decode(path: str, fit: Fit, transparency: Transparency = "white", mask: str = "none") -> Decoded:
    """Read, hash and decode a picture and cut it to its bucket; never raises for what is wrong with a file.

    The hash is of the very bytes that are decoded, so that a file which changes meanwhile cannot get a wrong name.

    Args:
        mask: "none", "alpha" (the picture's transparency), or "file" (see mask_beside()).
    """
    try:
        data = source.read_bytes(path)
    except (OSError, ValueError) as error:
        return Decoded(reason=reason_of(error))
    content = xxhash.xxh3_128_hexdigest(data)
    try:
        image = pictures.load_bytes(data, transparency)
        pixels = to_bucket(image, fit)
        shown = None
        if mask == "alpha":
            shown = cut_mask(alpha_of(data), image.size, fit)
        elif mask == "file":
            shown = cut_mask(mask_beside(path), image.size, fit)
    except PictureError as error:
        return Decoded(content, reason=str(error))
    return Decoded(content, phash64(image), pixels, shown)


def alpha_of(data: bytes) -> Image.Image | None:
    """The transparency of a picture, upright, 255 where it is solid; None for a picture without."""
    with pictures.open_picture(io.BytesIO(data)) as image:
        if not has_alpha(image):
            return None
        upright = ImageOps.exif_transpose(image)
        straight = upright.convert("LA") if upright.mode == "La" else upright
        return straight.convert("RGBA").getchannel("A")


def mask_beside(path: str) -> Image.Image | None:
    """The mask of a picture, None for none.

    NAME.mask.png, NAME-masklabel.png (OneTrainer's), or NAME.png in a folder "mask" or "masks" beside it. White is
    trained, black is not. PictureError for a mask that cannot be read.
    """
    folder, _, name = path.replace("\\", "/").rpartition("/")
    stem = name.rpartition(".")[0]
    for candidate in (f"{stem}.mask.png", f"{stem}-masklabel.png", f"mask/{stem}.png", f"masks/{stem}.png"):
        try:
            data = source.read_bytes(f"{folder}/{candidate}")
        except (OSError, ValueError):
            continue
        try:
            return pictures.load_bytes(data).convert("L")
        except PictureError as error:
            raise PictureError(f"its mask {candidate} cannot be used: {error}") from error
    return None


def cut_mask(mask: Image.Image | None, size: tuple[int, int], fit: Fit) -> NDArray[np.uint8] | None:
    """A mask cut as its picture of `size` is: uint8 (height, width) of the bucket; None stays None."""
    if mask is None:
        return None
    whole = mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
    return to_bucket(whole.convert("RGB"), fit)[:, :, 0]


def ahead(jobs: Iterable[Job], pool: ThreadPoolExecutor, work: object, depth: int) -> Iterator[tuple[Job, Decoded]]:
    """(job, its result) in order, with `depth` jobs under way in the pool; `work(job)` gives a Decoded."""
    waiting: list[tuple[Job, Future[Decoded]]] = []
    coming = iter(jobs)
    for job in islice(coming, depth):
        waiting.append((job, pool.submit(work, job)))  # type: ignore[arg-type]
    while waiting:
        job, future = waiting.pop(0)
        for following in islice(coming, 1):
            waiting.append((following, pool.submit(work, following)))  # type: ignore[arg-type]
        yield job, future.result()
