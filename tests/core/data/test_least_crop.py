"""Tests of core/data/least_crop.py: the buckets to choose from, least cropping, whole batches, few moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.data import least_crop
from core.data.buckets import Fits, make_buckets, plan_fits
from core.data.least_crop import Plain, candidates
from core.data.uses import rates_of, uses_per_epoch
from core.settings import Settings, default_settings
from core.settings.folder_rules import FolderRules
from tests.benchmarks.buckets import SETS

SIDES = st.one_of(st.integers(1, 6000), st.sampled_from([1, 3, 64, 512, 1024, 100_000]))
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=120)


@pytest.fixture
def whole_at_any_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures may be moved however much they lose."""
    monkeypatch.setattr(least_crop, "MOST_LOST", 1.0)


def plain(sizes: object, seed: int = 0) -> Plain:
    """Pictures of these sizes with signatures by chance."""
    table = np.array(sizes, dtype=np.int32).reshape(-1, 2)
    generator = np.random.default_rng(seed)
    return Plain(table, generator.integers(0, 2**64, (len(table), 2), dtype=np.uint64))


def made(batch: int = 1, resolution: int = 1024, **data: object) -> Settings:
    """Settings with these values of the Data page."""
    settings = default_settings()
    settings.training.batch_size = batch
    settings.data.resolution, settings.data.max_side = resolution, 2 * resolution
    for name, value in data.items():
        setattr(settings.data, name, value)
    return settings


def mixed(count: int, seed: int = 0) -> NDArray[np.int32]:
    """Sizes of photos, drawings and scraps."""
    generator = np.random.default_rng(seed)
    usual = np.array([(6000, 4000), (4000, 6000), (4032, 3024), (1080, 1920), (1000, 1414), (2048, 2048)])
    sizes = usual[generator.integers(0, len(usual), count)] * generator.uniform(0.3, 1, (count, 1))
    odd = generator.random(count) < 0.4
    sizes[odd] = generator.integers(200, 4000, (int(odd.sum()), 2))
    return sizes.astype(np.int32)


@pytest.mark.parametrize(
    ("resolution", "high", "step", "count", "least"),
    [(512, 1024, 64, 25, 0.75), (1024, 2048, 64, 57, 0.875), (1024, 2048, 32, 113, 0.925)],
)
def test_there_are_more_shapes_than_kohya_has_of_nearly_as_many_pixels(
    resolution: int, high: int, step: int, count: int, least: float
) -> None:
    kohya = make_buckets(resolution, 256, high, step)
    found = candidates(kohya, resolution**2, step, 256, high)
    assert len(found) == count > len(kohya)
    assert found == sorted(found)
    ratios = {width / height for width, height in found}
    assert len(ratios) == len(found)
    assert ratios >= {width / height for width, height in kohya}
    shares = [width * height / resolution**2 for width, height in found if high not in (width, height)]
    assert least <= min(shares) and max(shares) <= 1
    assert {(height, width) for width, height in found} == set(found)


@hypothesis_settings(deadline=None, max_examples=60)
@given(SIZES, st.booleans(), st.sampled_from([1, 2, 3, 8, 64]), st.sampled_from([512, 1024]))
def test_every_picture_once_the_crop_inside_the_bucket_covered(
    sizes: list[tuple[int, int]], upscale: bool, batch: int, resolution: int
) -> None:
    settings = made(batch, resolution, upscale=upscale)
    fits = plan_fits(plain(sizes), settings)
    assert len(fits) == len(sizes) and fits.buckets == sorted(set(fits.buckets))
    for (width, height), one in zip(sizes, fits, strict=True):
        left, top, right, bottom = one.crop
        assert (right - left, bottom - top) == one.bucket
        assert min(left, top) >= 0 and right <= one.resized[0] and bottom <= one.resized[1]
        assert one.bucket[0] % 64 == one.bucket[1] % 64 == 0
        assert one.bucket[0] * one.bucket[1] <= resolution**2
        if not upscale and min(width, height) >= 64:
            assert one.resized[0] <= width and one.resized[1] <= height


@hypothesis_settings(deadline=None, max_examples=40)
@given(SIZES)
def test_no_bucket_cuts_off_less(sizes: list[tuple[int, int]]) -> None:
    settings = made(8, short_batches="keep")
    fits = plan_fits(plain(sizes), settings)
    table = np.array(fits.buckets)
    for (width, height), share in zip(sizes, lost(fits), strict=True):
        ratio = table[:, 0] / table[:, 1] / (width / height)
        assert share == pytest.approx((1 - np.minimum(ratio, 1 / ratio)).min(), abs=1e-6)


def lost(fits: Fits) -> NDArray[np.float64]:
    """The cropped share before sizes are rounded to pixels."""
    ratio = (fits.chosen[:, 0] / fits.chosen[:, 1]) / (fits.sizes[:, 0] / fits.sizes[:, 1])
    return 1 - np.minimum(ratio, 1 / ratio)


@pytest.mark.usefixtures("whole_at_any_price")
@pytest.mark.parametrize("upscale", [True, False])
@pytest.mark.parametrize("batch", [2, 3, 8, 64])
@pytest.mark.parametrize("repeats", [[1.0], [3.0], [1.0, 4.0], [1.0, 2.0, 10.0, 0.0]])
def test_at_most_one_batch_is_short(repeats: list[float], batch: int, upscale: bool) -> None:
    settings = made(batch, upscale=upscale)
    rules = [FolderRules(repeats=value) for value in repeats]
    for seed, count in enumerate((3, 50, 401, 1500)):
        pictures = plain(mixed(count, seed))
        generator = np.random.default_rng(seed)
        rule = generator.integers(0, len(rules), count)
        train = np.flatnonzero(generator.random(count) < 0.9)
        fits = plan_fits(pictures, settings, rates_of(rule, train, rules))
        uses = uses_per_epoch(rule[train], fits.bucket[train], rules, batch).of_buckets(len(fits.buckets))
        assert (uses % batch > 0).sum() <= 1
        expected = sum(int(repeats[number]) for number in rule[train].tolist())
        assert uses.sum() == expected


@pytest.mark.usefixtures("whole_at_any_price")
@pytest.mark.parametrize("rule", [FolderRules(repeats=0.5), FolderRules(repeats=2.5), FolderRules(sample=100)])
@pytest.mark.parametrize("batch", [2, 8, 16])
def test_fractions_of_a_use_fill_batches_too(rule: FolderRules, batch: int) -> None:
    settings = made(batch)
    for seed, count in enumerate((301, 1200)):
        number = np.zeros(count, dtype=np.int32)
        rates = rates_of(number, np.arange(count), [rule])
        fits = plan_fits(plain(mixed(count, seed)), settings, rates)
        uses = uses_per_epoch(number, fits.bucket, [rule], batch).of_buckets(len(fits.buckets))
        assert (uses % batch > 0).sum() <= 1


def test_held_out_pictures_stay_in_their_best_bucket() -> None:
    pictures, settings = plain(mixed(300)), made(16)
    rates = np.ones(300)
    rates[:40] = 0
    best = plan_fits(pictures, made(16, short_batches="keep"))
    assert plan_fits(pictures, settings, rates)[0] == best[0]
    assert np.array_equal(plan_fits(pictures, settings, rates).chosen[:40], best.chosen[:40])


@pytest.mark.usefixtures("whole_at_any_price")
def test_no_assignment_in_the_same_order_crops_less() -> None:
    """Against all ways to cut the line of 12 pictures into batches of 3."""
    pictures, settings = plain(mixed(12, 3)), made(3)
    fits = plan_fits(pictures, settings)
    shape = np.log(pictures.sizes[:, 0] / pictures.sizes[:, 1])
    table = np.array(candidates(make_buckets(1024, 256, 2048, 64), 1024**2, 64, 256, 2048))
    share = 1 - np.exp(-np.abs(np.sort(shape)[:, None] - np.log(table[:, 0] / table[:, 1])[None]))
    least = sum(share[start : start + 3].sum(axis=0).min() for start in range(0, 12, 3))
    assert lost(fits).sum() == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("upscale", [True, False])
def test_the_order_of_the_rows_does_not_matter(upscale: bool) -> None:
    pictures, settings = plain(mixed(500)), made(8, upscale=upscale)
    turned = Plain(pictures.sizes[::-1].copy(), pictures.signature[::-1].copy())
    assert np.array_equal(plan_fits(pictures, settings).chosen, plan_fits(turned, settings).chosen[::-1])


def test_an_added_picture_moves_few_others() -> None:
    pictures, settings = plain(mixed(3000)), made(8)
    before = plan_fits(pictures, settings).chosen
    moves = []
    for seed in range(30):
        one = plain(mixed(1, 100 + seed), seed)
        more = Plain(*(np.concatenate(pair) for pair in zip(_parts(pictures), _parts(one), strict=True)))
        after = plan_fits(more, settings).chosen[:-1]
        moves.append(int((after != before).any(axis=1).sum()))
    assert np.mean(moves) < 0.02 * 3000


def _parts(pictures: Plain) -> tuple[NDArray[np.integer], NDArray[np.uint64]]:
    return pictures.sizes, pictures.signature


@pytest.mark.parametrize(("resolution", "batch"), [(512, 4), (1024, 16)])
@pytest.mark.parametrize("name", SETS)
def test_it_wins_against_kohya(name: str, resolution: int, batch: int) -> None:
    pictures = plain(SETS[name](5000, np.random.default_rng(7)))
    ours = plan_fits(pictures, made(batch, resolution))
    kohya = plan_fits(pictures, made(batch, resolution, buckets="kohya"))
    assert ours.cropped_share().mean() < kohya.cropped_share().mean()
    assert ours.ar_error.mean() <= kohya.ar_error.mean()

    def batches(fits: Fits) -> int:
        return int((-(-np.bincount(fits.bucket) // batch)).sum())

    assert batches(ours) == -(-5000 // batch) <= batches(kohya)


def test_the_top_stays_where_it_is_asked_for() -> None:
    pictures = plain([(1000, 3000), (3000, 1000), (1000, 1000)])
    for buckets in ("least-crop", "kohya"):
        narrow = {"buckets": buckets, "min_side": 512, "max_side": 1024}
        middle = plan_fits(pictures, made(**narrow)).crop
        top = plan_fits(pictures, made(**narrow, crop_focus="top")).crop
        assert middle[0, 1] > 0 == top[0, 1]
        assert top[0, 3] == 1024
        assert np.array_equal(middle[1:], top[1:]) and middle[1, 0] > 0
        assert np.array_equal(middle, plan_fits(pictures, made(**narrow, crop_focus="random")).crop)


def test_no_pictures_are_no_mistake() -> None:
    for upscale in (True, False):
        assert len(plan_fits(plain([]), made(8, upscale=upscale))) == 0


def test_a_picture_is_rather_in_a_short_batch_than_cut_in_half() -> None:
    sizes = [(1024, 1024)] * 7 + [(2048, 600)]
    few = plan_fits(plain(sizes), made(batch=4))
    alone = plan_fits(plain(sizes), made())
    assert few.bucket.tolist() == alone.bucket.tolist()
    near = plan_fits(plain([(1024, 1024)] * 7 + [(1100, 1024)]), made(batch=4))
    assert len(set(near.bucket.tolist())) == 1
    for seed in range(5):
        pictures = plain(mixed(60, seed), seed)
        whole, best = (plan_fits(pictures, made(batch=batch)).cropped_share() for batch in (8, 1))
        assert (whole - best).max() < least_crop.MOST_LOST + 0.02  # sides are whole multiples of the step
