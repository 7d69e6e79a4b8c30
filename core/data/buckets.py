"""Aspect-ratio buckets: how a picture is resized and cropped into one, and kohya's choice of one for each picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.least_crop import Pictures, candidates, least_crop, unique_sizes
from core.errors import UserError
from core.settings import Settings
from core.settings.data import DataSettings

Size = tuple[int, int]

#: Side of the VAE's square of pixels that becomes one latent; every bucket side must be a multiple of it.
VAE_FACTOR = 8

#: Pictures compared with all buckets at once: keeps the table of differences in the processor's cache.
_CHUNK = 16_384

#: Pictures whose crops are worked out at once by Fits.chunks(): some 6 MB, which stay in the processor's cache; more at
#: once are slower, and a window beside it waits for the system to hand the memory out.
_ROWS = 1 << 16


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
    """The fits of N pictures; fits[i] is the Fit of one.

    Only the bucket's number is kept for each, 4 bytes a picture; all else follows from it and is worked out when asked
    for. For millions of pictures ask by chunks().

    Attributes:
        buckets: The buckets, sorted; some may be empty.
        bucket: int32 (N,), number of each picture's bucket.
        sizes: Integers (N, 2), width and height of each picture as shown; referred to, not copied.
        kept: (area, step) of the no-upscale rule, None where pictures are always scaled to their bucket.
        top: Whether the top of a picture that is too high is kept, instead of its middle.
    """

    buckets: list[Size]
    bucket: NDArray[np.int32]
    sizes: NDArray[np.integer]
    kept: tuple[int, int] | None = None
    top: bool = False

    def __len__(self) -> int:
        return len(self.bucket)

    def part(self, rows: slice | NDArray[np.integer]) -> Fits:
        """The fits of some of the pictures."""
        return Fits(self.buckets, self.bucket[rows], self.sizes[rows], self.kept, self.top)

    def chunks(self) -> Iterator[tuple[slice, Fits]]:
        """(rows, their fits), some ten thousand pictures at a time."""
        for start in range(0, len(self), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self)))
            yield rows, self.part(rows)

    @property
    def chosen(self) -> NDArray[np.int64]:
        """int64 (N, 2), width and height of each picture's bucket."""
        return np.asarray(np.array(self.buckets, dtype=np.int64).reshape(-1, 2)[self.bucket])

    @property
    def resized(self) -> NDArray[np.int64]:
        """int64 (N, 2), width and height of each picture after resizing; never smaller than its bucket."""
        pictures, chosen = np.asarray(self.sizes, dtype=np.int64), self.chosen
        covering = _cover(pictures, chosen)
        if self.kept is None:
            return covering
        own, resized = _keep_size(pictures, *self.kept)
        return np.where((own == chosen).all(axis=1)[:, None], resized, covering)

    @property
    def crop(self) -> NDArray[np.int64]:
        """int64 (N, 4), left, top, right, bottom of each bucket in its resized picture."""
        chosen = self.chosen
        corner = (self.resized - chosen) // 2
        if self.top:
            corner[:, 1] = 0
        return np.concatenate([corner, corner + chosen], axis=1)

    @property
    def ar_error(self) -> NDArray[np.float64]:
        """float64 (N,), |bucket's width/height - picture's width/height|."""
        chosen = self.chosen
        return np.asarray(np.abs(chosen[:, 0] / chosen[:, 1] - self.sizes[:, 0] / self.sizes[:, 1]))

    def __getitem__(self, index: int) -> Fit:
        return next(iter(self.part(np.array([index]))))

    def __iter__(self) -> Iterator[Fit]:
        lists = (array.tolist() for array in (self.bucket, self.resized, self.crop, self.ar_error))
        for bucket, resized, crop, error in zip(*lists, strict=True):
            yield Fit(self.buckets[bucket], tuple(resized), tuple(crop), error)

    def cropped_share(self) -> NDArray[np.float64]:
        """float64 (N,): the share of each resized picture's pixels that is cut off, 0 to 1."""
        chosen, resized = self.chosen, self.resized
        return np.asarray(1.0 - chosen[:, 0] * chosen[:, 1] / (resized[:, 0] * resized[:, 1]), dtype=np.float64)

    def enlarged(self) -> NDArray[np.bool_]:
        """bool (N,): the pictures that are scaled up."""
        return np.asarray((self.resized > self.sizes).any(axis=1))


def plan_fits(pictures: Pictures, settings: Settings, rates: NDArray[np.floating] | None = None) -> Fits:
    """The fits of a whole dataset by the plan that data.buckets names.

    Args:
        pictures: Columns of the index, or anything else with their `sizes` and `signature`.
        rates: (N,) how often an epoch uses each picture, 0 for those that are not trained on; None: all once.

    Raises:
        UserError: when the settings leave no bucket.
        ValueError: when a size is not positive.
    """
    data = settings.data
    if data.buckets == "kohya":
        return fit_many(pictures.sizes, data)
    sizes = _checked(pictures.sizes)
    step, low, high = data.bucket_step, *_limits(data.min_side, data.max_side, data.bucket_step)
    choices = candidates(buckets_of(data), data.resolution**2, step, low, high)
    kept = _kept(data)
    own = None if kept is None else np.empty((len(sizes), 2), dtype=np.int32)
    if own is not None and kept is not None:
        for start in range(0, len(sizes), _ROWS):
            part = np.asarray(sizes[start : start + _ROWS], dtype=np.int64)
            own[start : start + _ROWS] = _keep_size(part, *kept)[0]
    batch = settings.training.batch_size * settings.hardware.processes
    whole = batch if data.short_batches == "avoid" else 1
    buckets, bucket = least_crop(pictures, choices, whole, rates, own)
    return Fits(buckets, bucket, sizes, kept, data.crop_focus == "top")


def _kept(data: DataSettings) -> tuple[int, int] | None:
    return None if data.upscale else (data.resolution**2, data.bucket_step)


def _checked(sizes: NDArray[np.integer]) -> NDArray[np.integer]:
    pictures = np.asarray(sizes).reshape(-1, 2)
    if len(pictures) and pictures.min() <= 0:
        raise ValueError("pictures have positive sizes")
    return pictures


def make_buckets(resolution: int | Size, min_side: int, max_side: int, step: int) -> list[Size]:
    """All bucket sizes (width, height) of about `resolution` pixels in all, sorted.

    The square of the same area rounded down to `step` is always one of them. As in kohya's sd-scripts, a
    shortest side that is no multiple of `step` is rounded down to one, and a longest side up. Raises a
    UserError when the numbers leave no bucket.
    """
    _check(resolution, min_side, max_side, step)
    area = resolution**2 if isinstance(resolution, int) else resolution[0] * resolution[1]
    low, high = _limits(min_side, max_side, step)
    square = math.isqrt(area) // step * step
    found = {(square, square)}
    for width in range(low, high + 1, step):
        height = min(high, area // width // step * step)
        if height >= low:
            found |= {(width, height), (height, width)}
    return sorted(found)


def _limits(min_side: int, max_side: int, step: int) -> tuple[int, int]:
    """The shortest and the longest side that a bucket may have, as multiples of the step."""
    return max(step, min_side - min_side % step), max_side + -max_side % step


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
    pictures = _checked(sizes)
    choices = list(buckets) if buckets is not None else buckets_of(data)
    kept = _kept(data)
    if kept is None:
        number = _nearest(pictures, np.array(choices, dtype=np.int64).reshape(-1, 2)).astype(np.int32)
    else:
        _check(data.resolution, data.min_side, data.max_side, data.bucket_step)
        chosen, _ = _keep_size(pictures.astype(np.int64), *kept)
        choices, number = unique_sizes(chosen)
    return Fits(choices, number, pictures, kept, data.crop_focus == "top")


def _nearest(pictures: NDArray[np.integer], table: NDArray[np.int64]) -> NDArray[np.int64]:
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
    code = (pictures[:, 0].astype(np.int64) << 32) | pictures[:, 1]
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
