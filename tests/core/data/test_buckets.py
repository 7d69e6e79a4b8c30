"""Tests of core/data/buckets.py: kohya's golden counts, its rule of assignment, the arithmetic of crops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.buckets import Fit, Size, buckets_of, fit, fit_many, make_buckets
from core.errors import UserError
from core.settings.data import DataSettings

SIZES = st.tuples(st.integers(1, 6000), st.integers(1, 6000))


@pytest.mark.parametrize(
    ("resolution", "min_side", "max_side", "step", "count"),
    [
        (512, 256, 1024, 64, 17),
        (768, 256, 1024, 64, 19),
        (1024, 256, 1024, 64, 25),
        (1024, 256, 2048, 64, 41),
        (1024, 256, 2048, 32, 81),
        ((512, 512), 256, 1024, 64, 17),
    ],
)
def test_golden_counts(resolution: int, min_side: int, max_side: int, step: int, count: int) -> None:
    assert len(make_buckets(resolution, min_side, max_side, step)) == count


def test_the_25_buckets_of_a_real_run_at_1024() -> None:
    buckets = make_buckets(1024, 256, 1024, 64)
    narrow = [(width, 1024) for width in range(256, 1024, 64)]
    wide = [(1024, height) for height in range(256, 1025, 64)]
    assert buckets == narrow + wide


@given(st.integers(64, 2048), st.integers(8, 512), st.integers(0, 2048), st.sampled_from([8, 16, 24, 32, 64]))
def test_buckets_are_multiples_of_the_step_within_the_area(resolution: int, low: int, more: int, step: int) -> None:
    buckets = make_buckets(resolution, low, low + more, step)
    assert buckets == sorted(set(buckets))
    assert all(side % step == 0 and side > 0 for bucket in buckets for side in bucket)
    assert all(width * height <= resolution**2 for width, height in buckets)
    square = resolution // step * step
    assert (square, square) in buckets
    assert {(height, width) for width, height in buckets} == set(buckets)


def test_small_data_has_buckets() -> None:
    assert len(make_buckets(128, 64, 256, 16)) == 17
    assert {(64, 192), (64, 256), (128, 128)} < set(make_buckets(128, 64, 256, 32))
    assert make_buckets(128, 256, 1024, 64) == [(128, 128)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"bucket_step": 12}, "bucket_step"),
        ({"min_side": 1024, "max_side": 512}, "max_side"),
        ({"resolution": 64, "bucket_step": 128}, "resolution"),
    ],
)
def test_impossible_numbers_are_named(changes: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        buckets_of(DataSettings(**changes))


def reference(size: Size, buckets: list[Size]) -> Fit:
    """Kohya's assignment written out for one picture, straight from formats.md."""
    width, height = size
    ratio = width / height
    nearest = min(buckets, key=lambda b: abs(b[0] / b[1] - ratio))
    bucket = size if size in buckets else nearest
    scale = bucket[1] / height if ratio > bucket[0] / bucket[1] else bucket[0] / width
    resized = int(width * scale + 0.5), int(height * scale + 0.5)
    left, top = (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2
    crop = (left, top, left + bucket[0], top + bucket[1])
    return Fit(bucket, resized, crop, abs(bucket[0] / bucket[1] - ratio))


@settings(deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=40))
def test_assignment_follows_the_written_rule(sizes: list[Size]) -> None:
    data = DataSettings(resolution=1024)
    buckets = buckets_of(data)
    fits = fit_many(np.array(sizes), data)
    assert list(fits) == [reference(size, buckets) for size in sizes]
    assert fits[0] == fit(sizes[0], data, buckets)


def test_an_exact_size_beats_an_equal_ratio() -> None:
    buckets = [(256, 256), (512, 512)]
    data = DataSettings()
    assert fit((512, 512), data, buckets).bucket == (512, 512)
    assert fit((1024, 1024), data, buckets).bucket == (256, 256)  # the first of equals


@settings(deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=40), st.booleans(), st.sampled_from([8, 32, 64]))
def test_the_crop_lies_in_the_middle_of_the_resized_picture(sizes: list[Size], upscale: bool, step: int) -> None:
    data = DataSettings(upscale=upscale, bucket_step=step)
    for one in fit_many(np.array(sizes), data):
        left, top, right, bottom = one.crop
        assert (right - left, bottom - top) == one.bucket
        assert min(left, top) >= 0
        assert right <= one.resized[0]
        assert bottom <= one.resized[1]
        assert abs(left - (one.resized[0] - right)) <= 1
        assert abs(top - (one.resized[1] - bottom)) <= 1
        assert one.bucket[0] % step == one.bucket[1] % step == 0


def test_no_upscale_keeps_small_pictures_and_cuts_to_the_step() -> None:
    data = DataSettings(upscale=False)
    one = fit((300, 420), data, [])
    assert one.resized == (300, 420)
    assert one.bucket == (256, 384)
    assert one.ar_error == pytest.approx(abs(256 / 384 - 300 / 420))


@settings(deadline=None)
@given(st.integers(600, 4000), st.integers(600, 4000))
def test_no_upscale_shrinks_large_pictures_by_the_side_that_errs_less(width: int, height: int) -> None:
    data = DataSettings(upscale=False)
    one = fit((width, height), data, [])
    ratio, area, step = width / height, 512 * 512, 64

    def down(value: float) -> int:
        return int(value + 0.5) // step * step

    by_width = down(math.sqrt(area * ratio))
    by_height = down(area / math.sqrt(area * ratio))
    error_width = abs(by_width / down(by_width / ratio) - ratio)
    error_height = abs(down(by_height * ratio) / by_height - ratio)
    if error_width < error_height:
        expected = (by_width, int(by_width / ratio + 0.5))
    else:
        expected = (int(by_height * ratio + 0.5), by_height)
    assert one.resized == expected
    assert one.bucket == (expected[0] // step * step, expected[1] // step * step)


@pytest.mark.parametrize("size", [(5, 5000), (5000, 5), (1, 1), (30, 300), (3, 900_000)])
def test_no_upscale_gives_tiny_sides_one_step_and_no_giant_bucket(size: Size) -> None:
    one = fit(size, DataSettings(upscale=False), [])
    assert min(one.bucket) == 64
    assert one.bucket[0] * one.bucket[1] <= 512 * 512


def test_no_upscale_numbers_its_own_buckets() -> None:
    fits = fit_many(np.array([(300, 420), (500, 500), (310, 430)]), DataSettings(upscale=False))
    assert fits.buckets == [(256, 384), (448, 448)]
    assert fits.bucket.tolist() == [0, 1, 0]


def test_cropped_share_is_the_area_that_is_lost() -> None:
    fits = fit_many(np.array([(1024, 1024), (2048, 1024)]), DataSettings(resolution=1024, min_side=1024))
    assert fits.buckets == [(1024, 1024)]
    assert fits.cropped_share().tolist() == pytest.approx([0.0, 0.5])


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        fit((0, 10), DataSettings(), [(512, 512)])


def test_no_pictures_are_no_mistake() -> None:
    assert len(fit_many(np.empty((0, 2), dtype=np.int64), DataSettings())) == 0
    assert len(fit_many(np.empty((0, 2), dtype=np.int64), DataSettings(upscale=False))) == 0
