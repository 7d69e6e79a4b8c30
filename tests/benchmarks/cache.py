"""The latent cache: how fast it is read in random order and verified, and what filling it costs beside the VAE."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
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
from tests.benchmarks.common import Figure

_LATENTS, _SHARD = 16_384, 512
_PICTURES, _SIDE = 64, 128


def run() -> dict[str, Figure]:
    """Latents/s from a warm disk, verified MB/s, and the caching's rate as a share of the VAE's alone."""
    with tempfile.TemporaryDirectory() as folder:
        load, checked = _reading(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        share, alone = _caching(Path(folder))
    return {
        "load": Figure(round(load), "latents/s", ">= 3000", load >= 3000),
        "verify": Figure(round(checked), "MB/s", ">= 500", checked >= 500),
        "caching": Figure(round(share, 3), "of the VAE's rate alone", ">= 0.9", share >= 0.9),
        "vae_alone": Figure(round(alone, 2), "pictures/s", "-", True),
    }


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


def _caching(folder: Path) -> tuple[float, float]:
    """(rate of the caching over that of the VAE alone on the same pixels, the latter in pictures/s); best of three."""
    settings = _settings(folder)
    _draw_pictures(folder / "pictures")
    models = open_models(settings, torch.device("cpu"))
    accelerator = make_accelerator(torch.device("cpu"), "bf16")
    index = _end(index_folders(settings, Control()))
    rates = []
    for turn in range(3):
        settings.hardware.cache_folder = str(folder / f"cache-{turn}")
        (folder / f"cache-{turn}").mkdir()
        models.load("vae")
        alone = _vae_alone(models, index, settings)
        began = time.perf_counter()
        dataset, store = _end(cache_latents(Job(settings, models, index, Control(), accelerator, "bf16")))
        took = time.perf_counter() - began
        assert len(store) == len(dataset) == _PICTURES
        rates.append((alone / took, _PICTURES / alone))
        models.drop("vae")
    return max(rates)


def _vae_alone(models: object, index: object, settings: Settings) -> float:
    """Seconds that the VAE takes for all pictures when their pixels are ready."""
    from core.data.buckets import fit

    pixels = []
    for picture in index.pictures():  # type: ignore[attr-defined]
        made = decode(picture.path, fit((picture.width, picture.height), settings.data, [(_SIDE, _SIDE)]))
        assert made.pixels is not None
        pixels.append(made.pixels)
    batch = settings.hardware.encode_batch
    encode(models, np.stack(pixels[:batch]), "bf16")  # type: ignore[arg-type]
    began = time.perf_counter()
    for start in range(0, len(pixels), batch):
        encode(models, np.stack(pixels[start : start + batch]), "bf16")  # type: ignore[arg-type]
    return time.perf_counter() - began


def _settings(folder: Path) -> Settings:
    return presets.build(
        {
            "model.base": str(ROOT / "resources" / "starter" / "model"),
            "data.folders": [str(folder / "pictures")],
            "data.resolution": _SIDE,
            "hardware.device": "cpu",
            "hardware.cache_folder": str(folder / "cache"),
        },
        "bench",
    )


def _draw_pictures(folder: Path) -> None:
    """Photograph-like JPEG files of some megapixels, as they come from users."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number in range(_PICTURES):
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
