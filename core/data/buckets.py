"""Aspect-ratio buckets: which sizes there are, how a picture is resized and cropped into one (kohya)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.settings.data import DataSettings

Size = tuple[int, int]

#: Side of the VAE's square of pixels that becomes one latent; every bucket side must be a multiple of it.
VAE_FACTOR = 8

#: Pictures compared with all buckets at once: keeps the table of differences in the processor's cache.
_CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Fit:
    """How one picture gets into its bucket.

    Attributes:
        bucket: (width, height) in pixels that the model sees.
        resized: (width, height) after resizing, never smaller than the bucket.
        crop: (left, top, right, bottom) of the bucket in the resized picture.
        ar_error: |bucket's width/height - picture's width/height|.
    """

    bucket: Size
    resized: Size
    crop: tuple[int, int, int, int]
    ar_error: float


@dataclass(frozen=True, slots=True)
class Fits:
    """The fits of N pictures as arrays; fits[i] is the Fit of one.

    Attributes:
        buckets: The buckets, sorted; some may be empty.
        bucket: int32 (N,), number of each picture's bucket.
        resized: int64 (N, 2), width and height after resizing.
        crop: int64 (N, 4), left, top, right, bottom in the resized picture.
        ar_error: float64 (N,).
    """

    buckets: list[Size]
    bucket: NDArray[np.int32]
    resized: NDArray[np.int64]
    crop: NDArray[np.int64]
    ar_error: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bucket)

    def __getitem__(self, index: int) -> Fit:
        left, top, right, bottom = self.crop[index].tolist()
        width, height = self.resized[index].tolist()
        bucket = self.buckets[int(self.bucket[index])]
        return Fit(bucket, (width, height), (left, top, right, bottom), float(self.ar_error[index]))

    def __iter__(self) -> Iterator[Fit]:
        lists = (array.tolist() for array in (self.bucket, self.resized, self.crop, self.ar_error))
        for bucket, resized, crop, error in zip(*lists, strict=True):
            yield Fit(self.buckets[bucket], tuple(resized), tuple(crop), error)

    def cropped_share(self) -> NDArray[np.float64]:
        """float64 (N,): the share of each resized picture's pixels that is cut off, 0 to 1."""
        kept = (self.crop[:, 2] - self.crop[:, 0]) * (self.crop[:, 3] - self.crop[:, 1])
        return np.asarray(1.0 - kept / self.resized.prod(axis=1), dtype=np.float64)


def make_buckets(resolution: int | Size, min_side: int, max_side: int, step: int) -> list[Size]:
    """All bucket sizes (width, height) of about `resolution` pixels in all, sorted.

    The square of the same area rounded down to `step` is always one of them. As in kohya's sd-scripts, a
    shortest side that is no multiple of `step` is rounded down to one, and a longest side up. Raises a
    UserError when the numbers leave no bucket.
    """
    _check(resolution, min_side, max_side, step)
    area = resolution**2 if isinstance(resolution, int) else resolution[0] * resolution[1]
    low = max(step, min_side - min_side % step)
    high = max_side + -max_side % step
    square = math.isqrt(area) // step * step
    found = {(square, square)}
    for width in range(low, high + 1, step):
        height = min(high, area // width // step * step)
        if height >= low:
            found |= {(width, height), (height, width)}
    return sorted(found)


def _check(resolution: int | Size, min_side: int, max_side: int, step: int) -> None:
    if step <= 0 or step % VAE_FACTOR:
        raise UserError(f"data.bucket_step = {step} is not possible: it must be a multiple of {VAE_FACTOR}.")
    if max_side < min_side:
        raise UserError(
            f"data.max_side = {max_side} is below data.min_side = {min_side}: the longest side of a bucket "
            "cannot be shorter than the shortest one."
        )
    smallest = resolution if isinstance(resolution, int) else min(resolution)
    if smallest < step:
        raise UserError(
            f"data.resolution = {smallest} is below data.bucket_step = {step}: raise one or lower the other."
        )


def buckets_of(data: DataSettings) -> list[Size]:
    """make_buckets() with the numbers of the settings page."""
    return make_buckets(data.resolution, data.min_side, data.max_side, data.bucket_step)


def fit(size: Size, data: DataSettings, buckets: Sequence[Size]) -> Fit:
    """How a picture of (width, height) pixels gets into its bucket.

    Args:
        buckets: The sizes to choose from, as buckets_of() gives them; without data.upscale they are not used,
            because each picture then makes its own. ValueError when they are empty or the size is not
            positive.
    """
    return fit_many(np.array([size], dtype=np.int64), data, buckets)[0]


def fit_many(sizes: NDArray[np.integer], data: DataSettings, buckets: Sequence[Size] | None = None) -> Fits:
    """The fits of many pictures at once, by kohya's rules.

    With data.upscale: the bucket of exactly the picture's size, else the one of nearest width/height; the
    picture is scaled until it just covers it and cut in the middle. Without: pictures keep their size (those
    above the resolution's area are scaled down to it) and are cut to multiples of the step. Only there we
    depart from kohya: a picture with a side below one step, which stops kohya's script, is enlarged to one
    step.

    Args:
        sizes: Integers (N, 2): widths and heights of the pictures as shown (after EXIF orientation).

    Raises:
        UserError: when the settings leave no bucket.
        ValueError: when a size is not positive.
    """
    pictures = np.asarray(sizes, dtype=np.int64).reshape(-1, 2)
    if len(pictures) and pictures.min() <= 0:
        raise ValueError("pictures have positive sizes")
    choices = list(buckets) if buckets is not None else buckets_of(data)
    if data.upscale:
        table = np.array(choices, dtype=np.int64).reshape(-1, 2)
        number = _nearest(pictures, table)
        chosen = table[number]
        resized = _cover(pictures, chosen)
    else:
        _check(data.resolution, data.min_side, data.max_side, data.bucket_step)
        chosen, resized = _keep_size(pictures, data.resolution**2, data.bucket_step)
        table, number = np.unique(chosen, axis=0, return_inverse=True)
        choices = [(int(width), int(height)) for width, height in table]
    corner = (resized - chosen) // 2
    crop = np.concatenate([corner, corner + chosen], axis=1)
    error = np.abs(chosen[:, 0] / chosen[:, 1] - pictures[:, 0] / pictures[:, 1])
    return Fits(choices, number.reshape(-1).astype(np.int32), resized, crop, error)


def _nearest(pictures: NDArray[np.int64], table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of each picture's bucket: its exact size if there is one, else the nearest width/height."""
    if not len(table):
        raise ValueError("there is no bucket to choose from")
    ratios = table[:, 0] / table[:, 1]
    number = np.empty(len(pictures), dtype=np.int64)
    for start in range(0, len(pictures), _CHUNK):
        part = pictures[start : start + _CHUNK]
        wanted = part[:, 0] / part[:, 1]
        number[start : start + _CHUNK] = np.abs(ratios[None, :] - wanted[:, None]).argmin(axis=1)
    codes = (table[:, 0] << 32) | table[:, 1]
    order = np.argsort(codes)
    code = (pictures[:, 0] << 32) | pictures[:, 1]
    place = order[np.searchsorted(codes, code, sorter=order).clip(max=len(codes) - 1)]
    return np.where(codes[place] == code, place, number)


def _cover(pictures: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes of the pictures scaled to just cover their buckets: heights match when the picture is wider."""
    wider = pictures[:, 0] / pictures[:, 1] > chosen[:, 0] / chosen[:, 1]
    scale = np.where(wider, chosen[:, 1] / pictures[:, 1], chosen[:, 0] / pictures[:, 0])
    return np.asarray((pictures * scale[:, None] + 0.5).astype(np.int64))


def _keep_size(pictures: NDArray[np.int64], area: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(buckets, resized) by the no-upscale rule."""

    def rounded(length: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray((length + 0.5).astype(np.int64) // step * step)

    ratio = pictures[:, 0] / pictures[:, 1]
    width = np.sqrt(area * ratio)
    by_width, by_height = rounded(width), rounded(area / width)
    height_by_width, width_by_height = rounded(by_width / ratio), rounded(by_height * ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        error_width = np.abs(by_width / height_by_width - ratio)
        error_height = np.abs(width_by_height / by_height - ratio)
    shrunk_width = np.stack([by_width, (by_width / ratio + 0.5).astype(np.int64)], axis=1)
    shrunk_height = np.stack([(by_height * ratio + 0.5).astype(np.int64), by_height], axis=1)
    shrunk = np.where((error_width < error_height)[:, None], shrunk_width, shrunk_height)
    large = pictures.prod(axis=1) > area
    resized = np.where(large[:, None], shrunk, pictures)
    chosen = resized // step * step
    narrow = (chosen < step).any(axis=1)
    if narrow.any():
        chosen[narrow] = chosen[narrow].clip(step, max(step, area // step // step * step))
        resized[narrow] = _cover(pictures[narrow], chosen[narrow])
    return chosen, resized
