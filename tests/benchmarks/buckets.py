"""Buckets: the least-crop plan against kohya's on three sets of sizes, and how long 12.4 million pictures take.

Times are of the processor, so that a busy machine disturbs them less; the goal for duplicates is a machine's with cores
to spare, as its sorts run side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.data.buckets import Fits, plan_fits
from core.data.columns import PHASH_KNOWN, Columns
from core.data.duplicates import groups
from core.data.least_crop import Plain
from core.data.split import split
from core.settings import Settings, default_settings
from core.settings.validation import ValidationSettings
from tests.benchmarks.common import Figure

Sizes = NDArray[np.int32]

_PICTURES = 20_000
_BATCH = 16

#: Pictures of the large set; BURNISH_BENCH_ROWS makes it smaller.
_ROWS = 12_400_000


def photos(count: int, generator: np.random.Generator) -> Sizes:
    """3:2, 4:3, 16:9, squares and 4:5, upright and not, a quarter of them cut by hand, in all resolutions."""
    shapes = np.array(
        [(6000, 4000), (4000, 6000), (4032, 3024), (3024, 4032), (1920, 1080), (1080, 1920), (2048, 2048), (1080, 1350)]
    )
    shares = np.array([0.30, 0.13, 0.21, 0.13, 0.08, 0.05, 0.05, 0.05])
    sizes = shapes[generator.choice(len(shapes), count, p=shares)].astype(float)
    cut = generator.random(count) < 0.25
    sizes[cut] *= generator.uniform(0.6, 1, (int(cut.sum()), 2))
    return np.maximum(64, sizes * generator.uniform(0.3, 1, count)[:, None]).astype(np.int32)


def drawings(count: int, generator: np.random.Generator) -> Sizes:
    """A booru's: mostly upright, shapes spread around those of paper and screens, any area."""
    usual = np.log([0.707, 0.75, 0.667, 1.0, 1.414, 1.777, 0.5625])
    shape = generator.choice(usual, count, p=[0.3, 0.15, 0.15, 0.12, 0.13, 0.1, 0.05])
    ratio = np.exp(shape + generator.normal(0, 0.06, count))
    area = np.exp(generator.normal(np.log(1.6e6), 0.6, count))
    return np.maximum(64, np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1)).astype(np.int32)


def any_sizes(count: int, generator: np.random.Generator) -> Sizes:
    """Sides from 200 to 4000 pixels, independent of each other: many extreme shapes."""
    return generator.integers(200, 4000, (count, 2)).astype(np.int32)


SETS: dict[str, Callable[[int, np.random.Generator], Sizes]] = {
    "photos": photos,
    "drawings": drawings,
    "any sizes": any_sizes,
}


def run() -> dict[str, Figure]:
    """Quality at 512 and 1024 pixels, then times."""
    figures: dict[str, Figure] = {}
    for name, make in SETS.items():
        for resolution in (512, 1024):
            figures |= _compare(f"{name} at {resolution}", make, resolution)
    return figures | _times(int(os.environ.get("BURNISH_BENCH_ROWS", _ROWS)))


def settings_of(plan: str, resolution: int, batch: int) -> Settings:
    """Settings whose longest side allows 4:1."""
    settings = default_settings()
    settings.data.buckets = plan  # type: ignore[assignment]
    settings.data.resolution, settings.data.max_side = resolution, 2 * resolution
    settings.training.batch_size = batch
    return settings


def plain(sizes: Sizes) -> Plain:
    """Pictures of these sizes with signatures by chance."""
    generator = np.random.default_rng(1)
    return Plain(sizes, generator.integers(0, 2**64, (len(sizes), 2), dtype=np.uint64))


def _compare(name: str, make: Callable[[int, np.random.Generator], Sizes], resolution: int) -> dict[str, Figure]:
    pictures = plain(make(_PICTURES, np.random.default_rng(0)))
    kohya, ours = (plan_fits(pictures, settings_of(plan, resolution, _BATCH)) for plan in ("kohya", "least-crop"))
    figures = {}
    for what, unit, measure in (
        ("cropped", "%", lambda fits: 100 * fits.cropped_share().mean()),
        ("mean aspect error", "", lambda fits: fits.ar_error.mean()),
        ("batches", "", _batches),
        ("pixels of a bucket", "%", lambda fits: 100 * fits.chosen.prod(axis=1).mean() / resolution**2),
    ):
        theirs, mine = float(measure(kohya)), float(measure(ours))
        judged = "pixels" not in what
        figures[f"{name}: {what}, kohya"] = Figure(theirs, unit, "-", True)
        goal = f"<= {theirs:.4g}" if judged else "-"
        figures[f"{name}: {what}, least-crop"] = Figure(mine, unit, goal, mine <= theirs or not judged)
    return figures


def _batches(fits: Fits) -> float:
    return float((-(-np.bincount(fits.bucket) // _BATCH)).sum())


def _times(rows: int) -> dict[str, Figure]:
    """Seconds for the plans, the split and the duplicates of so many pictures."""
    generator = np.random.default_rng(0)
    pictures = plain(drawings(rows, generator))
    hashes = generator.integers(0, 2**64, rows, dtype=np.uint64)
    twins = generator.integers(0, rows, (2, rows // 50))
    hashes[twins[0]] = hashes[twins[1]] ^ (np.uint64(1) << generator.integers(0, 64, rows // 50, dtype=np.uint64))
    hashes[: rows // 100] = 0  # blank pictures
    columns = _columns(pictures, hashes)
    figures = {
        f"{plan} plan of {rows:,}": _timed(
            lambda plan=plan: plan_fits(pictures, settings_of(plan, 1024, 8)), rows, 12.0
        )
        for plan in ("kohya", "least-crop")
    }
    figures[f"split of {rows:,}"] = _timed(
        lambda: split(pictures.signature, None, None, ValidationSettings()), rows, 12.0
    )
    for part in (rows, rows // 12):
        some = _columns(Plain(pictures.sizes[:part], pictures.signature[:part]), hashes[:part])
        figures[f"duplicates of {part:,}"] = _timed(lambda some=some: groups(some), part, 30.0)
    figures["groups of duplicates found"] = Figure(float(len(np.unique(groups(columns)))), "", "-", True)
    return figures


def _timed(work: Callable[[], object], rows: int, goal: float) -> Figure:
    """Seconds of the processor; the goal is for 12.4 million rows."""
    began = time.process_time()
    work()
    taken = time.process_time() - began
    most = max(0.5, goal * rows / _ROWS)
    return Figure(taken, "s of CPU", f"<= {most:.1f}", taken <= most)


def _columns(pictures: Plain, hashes: NDArray[np.uint64]) -> Columns:
    """Columns of pictures that all were looked at."""
    count = len(hashes)
    numbers = np.arange(count)
    return Columns(
        ids=numbers + 1,
        sizes=np.asarray(pictures.sizes, dtype=np.int32),
        directory=np.zeros(count, dtype=np.int32),
        directories=["/pictures"],
        signature=pictures.signature,
        content=pictures.signature,
        phash=hashes,
        flags=np.full(count, PHASH_KNOWN, dtype=np.uint8),
        tokens=np.full(count, -1, dtype=np.int32),
        by_name=numbers.astype(np.int32),
    )
