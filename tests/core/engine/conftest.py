"""What the engine's tests share: a tiny model, captioned pictures, settings for short runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core import presets
from core.settings import Settings
from tests.fixtures.tiny_model import make_tiny_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the SD 1.5 architecture."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve noisy pictures of three shapes with tags."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(12):
        size = [(64, 64, 3), (48, 80, 3), (80, 48, 3)][number % 3]
        Image.fromarray(generator.integers(0, 255, size, dtype=np.uint8)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"noise, number {number}", encoding="utf-8")
    return folder


@pytest.fixture
def make_settings(tiny_model: Path, pictures: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a short run; keyword arguments are changes with "__" for the dot."""

    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "model.base": str(tiny_model),
            "data.folders": [str(pictures)],
            "data.resolution": 64,
            "data.bucket_step": 16,
            "data.min_side": 32,
            "data.max_side": 96,
            "data.captions": "tags",
            "training.method": "full",
            "training.batch_size": 2,
            "training.max_steps": 6,
            "training.learning_rate": 1e-3,
            "training.precision": "fp32",
            "validation.every_steps": 0,
            "validation.most_share": 0.0,
            "validation.share": 0.2,
            "output.save_every_steps": 0,
            "output.precision": "fp32",
            "hardware.device": "cpu",
            "hardware.cache_folder": str(tmp_path / "cache"),
        }
        values.update({key.replace("__", "."): value for key, value in changes.items()})
        return presets.build(values, "test")

    return make
