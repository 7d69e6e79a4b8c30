"""Encodes pictures to latents before the training: once for each content, VAE, bucket and crop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.data.dataset import Item
from core.data.pictures import PictureError, load, to_bucket
from core.engine.latent_store import LatentStore, entry_key
from core.engine.models import Models, autocast
from core.errors import Stopped


@dataclass(frozen=True, slots=True)
class Encoded:
    """Progress of the caching: pictures done of all that were missing; `broken` are new ones (path, reason)."""

    done: int
    total: int
    broken: tuple[tuple[str, str], ...] = ()


def encode_missing(
    items: Sequence[Item],
    models: Models,
    store: LatentStore,
    *,
    batch: int,
    precision: str,
    mirror: bool,
    stop: Callable[[], bool],
) -> Iterator[Encoded]:
    """Encode every item whose latent is not in the store yet, bucket by bucket; yields after each batch.

    A picture that cannot be decoded is reported and left out; it costs itself alone. Needs models.vae. Raises Stopped
    when stop() says so, with all finished batches on the disk.
    """
    missing = _missing(items, store, mirror)
    groups: dict[tuple[int, int], list[tuple[Item, bool]]] = defaultdict(list)
    for item, mirrored in missing:
        groups[item.fit.bucket].append((item, mirrored))
    done = 0
    yield Encoded(0, len(missing))
    with ThreadPoolExecutor(max_workers=2) as pool:
        for group in groups.values():
            for start in range(0, len(group), batch):
                if stop():
                    store.flush()
                    raise Stopped
                part = group[start : start + batch]
                broken = _encode_batch(part, models, store, precision, pool)
                done += len(part)
                yield Encoded(done, len(missing), tuple(broken))
    store.flush()


def _missing(items: Sequence[Item], store: LatentStore, mirror: bool) -> list[tuple[Item, bool]]:
    """(item, mirrored) of what the store lacks; exact duplicates once."""
    wanted: dict[str, tuple[Item, bool]] = {}
    for item in items:
        for mirrored in (False, True) if mirror else (False,):
            wanted.setdefault(entry_key(item.content_hash, item.fit, mirrored), (item, mirrored))
    return [pair for key, pair in wanted.items() if key not in store]


def _encode_batch(
    part: list[tuple[Item, bool]], models: Models, store: LatentStore, precision: str, pool: ThreadPoolExecutor
) -> list[tuple[str, str]]:
    """Encode one batch of pictures of the same size; returns the broken ones."""
    broken = []
    pixels = []
    keys = []
    for (item, mirrored), loaded in zip(part, pool.map(_decode, part), strict=True):
        if isinstance(loaded, str):
            broken.append((item.path, loaded))
            continue
        pixels.append(loaded)
        keys.append(entry_key(item.content_hash, item.fit, mirrored))
    if pixels:
        for key, latent in zip(keys, encode(models, np.stack(pixels), precision), strict=True):
            store.put(key, latent)
    return broken


def _decode(pair: tuple[Item, bool]) -> np.ndarray | str:
    """Pixels (h, w, 3), uint8, cut to the bucket, or the reason why there are none."""
    item, mirrored = pair
    try:
        return to_bucket(load(Path(item.path)), item.fit, mirrored)
    except PictureError as error:
        return str(error)


@torch.no_grad()
def encode(models: Models, pixels: np.ndarray, precision: str) -> torch.Tensor:
    """Means of the VAE's posterior, not scaled: (b, 4, h/8, w/8) float32 from pixels (b, h, w, 3) uint8.

    fp16 is not used here (the larger VAEs overflow in it); a result that is not finite is encoded again in fp32.
    """
    tensor = torch.from_numpy(pixels).to(models.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    tensor = models.arrange(tensor)
    with autocast(models.device, "bf16" if precision == "bf16" else "fp32"):
        latents: torch.Tensor = models.vae.encode(tensor).latent_dist.mean.float()
    if not bool(torch.isfinite(latents).all()):
        latents = models.vae.encode(tensor).latent_dist.mean.float()
    return latents
