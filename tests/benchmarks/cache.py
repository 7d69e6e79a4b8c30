"""The latent cache: how fast it is read in random order and verified, and what filling it costs beside the VAE.

Filling is measured with a VAE of SD 1.5's size (random weights) at 256 pixels. Here pictures are decoded on the cores
that the VAE computes on, so its own rate, with the pixels at hand, can be reached only where decoding is little work
beside it; with the starter's small VAE, told as well, it is half as much as the VAE's. What it costs that a processor
encodes pictures one by one, for the sake of the same bits, is measured beside encoding them together.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from core import presets
from core.data.decode import decode
from core.engine.cache import encode
from core.engine.caching import Job, cache_latents
from core.engine.control import Control
from core.engine.distributed import make_accelerator
from core.engine.models import open_models
from core.engine.prepare import index_folders
from core.engine.shards import ShardStore, verify, write_shard
from core.paths import ROOT
from core.settings import Settings
from tests.benchmarks.common import Figure, at_most

_LATENTS, _SHARD = 16_384, 512
#: Pictures and their side in pixels: for a VAE of real size, and for the starter's.
_REAL, _SMALL = (16, 256), (64, 128)
#: SD 1.5's own VAE.
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def run() -> dict[str, Figure]:
    """Latents/s from a warm disk, verified MB/s, and the caching's rate as a share of the VAE's alone."""
    with tempfile.TemporaryDirectory() as folder:
        load, checked = _reading(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        real = _caching(Path(folder), *_REAL, full_size=True)
    with tempfile.TemporaryDirectory() as folder:
        small = _caching(Path(folder), *_SMALL, full_size=False)
    return {
        "load": Figure(round(load), "latents/s", ">= 3000", load >= 3000),
        "verify": Figure(round(checked), "MB/s", ">= 500", checked >= 500),
        "caching": Figure(round(real.of_alone, 3), "of the VAE's rate alone", ">= 0.9", real.of_alone >= 0.9),
        "vae_alone": Figure(round(real.alone, 2), "pictures/s", "-", True),
        "caching_small": Figure(round(small.of_alone, 3), "of the starter VAE's rate alone", "-", True),
        "one_by_one": at_most(_one_by_one(), 1.1, "of the time of eight together", 2),
    }


def _one_by_one() -> float:
    """Encoding pictures one by one, as it is done on a processor, against all together; medians of turns."""
    count, side = 8, _REAL[1]
    pixels = np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8)
    models = open_models(_settings(Path(), side), torch.device("cpu"))
    models.vae = AutoencoderKL(**_VAE).requires_grad_(False).eval()

    def seconds() -> float:
        began = time.perf_counter()
        encode(models, pixels, "bf16")
        return time.perf_counter() - began

    alone, together = [], []
    for _ in range(4):  # the first turn only warms up
        alone.append(seconds())
        with patch("core.engine.cache.encoded_together", lambda asked, on_cpu: asked):
            together.append(seconds())
    return median(alone[1:]) / median(together[1:])


def _reading(folder: Path) -> tuple[float, float]:
    """(latents/s, MB/s verified) of latents 64x64x4 in float16."""
    generator = np.random.default_rng(0)
    names = generator.integers(0, 2**63, (_LATENTS, 2), dtype=np.uint64)
    for start in range(0, _LATENTS, _SHARD):
        part = [(high, low) for high, low in names[start : start + _SHARD].tolist()]
        write_shard(folder, {key: torch.randn(4, 64, 64).half() for key in part})
    ShardStore(folder).settle()
    store = ShardStore(folder)
    order = [(high, low) for high, low in names[generator.permutation(_LATENTS)].tolist()]
    for key in order[:1000]:
        store.get(key)
    began = time.perf_counter()
    total = sum(float(store.get(key)[0, 0, 0]) for key in order)
    took = time.perf_counter() - began
    assert np.isfinite(total)
    began = time.perf_counter()
    found = verify(folder)
    assert found.sound == _LATENTS and not found.damaged
    return _LATENTS / took, found.bytes / 1e6 / (time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Rates:
    """The caching's rate over that of the VAE alone, and the latter in pictures/s."""

    of_alone: float
    alone: float


def _caching(folder: Path, pictures: int, side: int, full_size: bool) -> _Rates:
    """Caching beside the VAE alone on the same pixels, in turns; the best of three."""
    settings = _settings(folder, side)
    _draw_pictures(folder / "pictures", pictures)
    models = open_models(settings, torch.device("cpu"))
    accelerator = make_accelerator(torch.device("cpu"), "bf16")
    index = _end(index_folders(settings, Control()))
    rates = []
    for turn in range(3):
        settings.hardware.cache_folder = str(folder / f"cache-{turn}")
        (folder / f"cache-{turn}").mkdir()
        models.load("vae")
        if full_size:
            models.vae = AutoencoderKL(**_VAE).requires_grad_(False).eval()
        alone = _vae_alone(models, index, settings, side)
        began = time.perf_counter()
        dataset, store = _end(cache_latents(Job(settings, models, index, Control(), accelerator, "bf16")))
        took = time.perf_counter() - began
        assert len(store) == len(dataset) == pictures
        rates.append(_Rates(alone / took, pictures / alone))
        models.drop("vae")
    return max(rates, key=lambda rate: rate.of_alone)


def _vae_alone(models: object, index: object, settings: Settings, side: int) -> float:
    """Seconds that the VAE takes for all pictures when their pixels are ready."""
    from core.data.buckets import fit

    pixels = []
    for picture in index.pictures():  # type: ignore[attr-defined]
        made = decode(picture.path, fit((picture.width, picture.height), settings.data, [(side, side)]))
        assert made.pixels is not None
        pixels.append(made.pixels)
    batch = settings.hardware.encode_batch
    encode(models, np.stack(pixels[:batch]), "bf16")  # type: ignore[arg-type]
    began = time.perf_counter()
    for start in range(0, len(pixels), batch):
        encode(models, np.stack(pixels[start : start + batch]), "bf16")  # type: ignore[arg-type]
    return time.perf_counter() - began


def _settings(folder: Path, side: int) -> Settings:
    return presets.build(
        {
            "model.base": str(ROOT / "resources" / "starter" / "model"),
            "data.folders": [str(folder / "pictures")],
            "data.resolution": side,
            "hardware.device": "cpu",
            "hardware.cache_folder": str(folder / "cache"),
        },
        "bench",
    )


def _draw_pictures(folder: Path, count: int) -> None:
    """Photograph-like JPEG files of some megapixels, as they come from users."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number in range(count):
        small = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((1200, 1200), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:03}.jpg", quality=90)


def _end(events: Iterator[object]) -> object:
    """What a generator of events returns."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value
