"""Names and folders of cached latents: whatever changes a latent changes its name, so that none can be stale.

An entry's name is a hash of the picture's content, its bucket, its size after resizing, its crop, whether it is
mirrored, and what is kept of it. The folder's name tells the VAE's weights, how it computes, and the precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from core.data.shuffle import mix
from core.engine.shards import Key

if TYPE_CHECKING:
    from core.data.buckets import Fit
    from core.data.dataset import Dataset
    from core.settings import Settings

#: What is kept of a picture: the mean of the VAE's posterior, its mean and spread (to sample from), the loss mask.
MEAN, MOMENTS, MASK = 0, 1, 2

#: Raised when names or contents change their meaning.
_VERSION = 2

Numbers = NDArray[np.uint64]


def store_folder(cache: Path, vae_fingerprint: str, precision: str) -> Path:
    """Where the latents of a VAE lie that encodes in a precision ("bf16" or "fp32")."""
    return cache / "latents" / f"{vae_fingerprint}-{precision}-{_VERSION}"


def latent_keys(
    content: Numbers,
    bucket: NDArray[np.integer],
    resized: NDArray[np.integer],
    corner: NDArray[np.integer],
    *,
    mirrored: NDArray[np.bool_] | bool = False,
    kind: int = MEAN,
    rule: NDArray[np.integer] | int = 0,
) -> Numbers:
    """Names (N, 2) of the latents of N pictures.

    Args:
        content: uint64 (N, 2), hash of each file's bytes.
        bucket, resized, corner: (N, 2) width and height of the bucket and of the resized picture; left and top of the
            crop in it.
        mirrored: For all or for each.
        kind: MEAN, MOMENTS or MASK.
        rule: What else decides the pixels, such as the ground under transparent ones; a number for all or for each.
    """
    rest = (
        np.asarray(rule, dtype=np.uint64) * np.uint64(16) + np.uint64(2 * kind) + np.asarray(mirrored, dtype=np.uint64)
    )
    found = np.empty((len(content), 2), dtype=np.uint64)
    for half, salt in ((0, 0x243F6A8885A308D3), (1, 0x13198A2E03707344)):  # digits of pi: any constants do
        name = mix(content[:, half] ^ np.uint64(salt))
        for pair in (bucket, resized, corner):
            sides = np.asarray(pair, dtype=np.uint64)
            name = mix(name ^ (sides[:, 0] << np.uint64(32)) ^ sides[:, 1])
        found[:, half] = mix(name ^ rest)
    return found


def row_keys(
    dataset: Dataset, rows: NDArray[np.integer], mirrored: NDArray[np.bool_] | bool = False, kind: int = MEAN
) -> Numbers:
    """Names (N, 2) of the latents of some rows of a dataset; `mirrored` for all or for each."""
    plan = dataset.plan
    places = (plan.content[rows], plan.bucket_sides(rows), plan.resized[rows], plan.corner[rows])
    return latent_keys(*places, mirrored=mirrored, kind=kind, rule=dataset.pixel_rules(rows))


def latent_key(content_hash: str, fit: Fit, *, mirrored: bool = False, kind: int = MEAN, rule: int = 0) -> Key:
    """The name of one picture's latent; `content_hash` has 32 hex digits."""
    content = np.frombuffer(bytes.fromhex(content_hash), dtype="<u8").astype(np.uint64).reshape(1, 2)
    sides = (np.array([pair], dtype=np.int64) for pair in (fit.bucket, fit.resized, fit.crop[:2]))
    found = latent_keys(content, *sides, mirrored=mirrored, kind=kind, rule=rule)
    return int(found[0, 0]), int(found[0, 1])


def is_live(settings: Settings) -> bool:
    """Whether pictures are decoded and encoded at each use, because no two uses have the same pixels."""
    return settings.data.crop_focus == "random" or settings.data.colour_jitter > 0


def kept_kind(settings: Settings) -> int:
    """What is kept of the pictures: MOMENTS where latents are drawn from them; of live ones the measured ones' MEAN."""
    return MOMENTS if settings.data.sample_latents and not is_live(settings) else MEAN


def latent_mask(shown: NDArray[np.uint8], factor: int, mirrored: bool) -> torch.Tensor:
    """A mask of the loss at the latent's size, float32 (1, h, w) from 0 to 1, from one in pixels (0 to 255)."""
    pixels = torch.from_numpy(np.ascontiguousarray(shown[:, ::-1] if mirrored else shown)).float().div(255)
    return torch.nn.functional.avg_pool2d(pixels[None, None], factor)[0]
