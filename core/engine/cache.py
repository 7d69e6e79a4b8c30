"""Encodes pictures to latents before the training: once for each content, VAE, bucket and crop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.data.dataset import Dataset
from core.data.decode import Decoded, ahead
from core.engine.latent_store import MASK, MEAN, MOMENTS, latent_key, latent_mask
from core.engine.models import Models, autocast
from core.engine.shards import Key, ShardStore
from core.errors import Stopped
from core.together import encoded_together

#: Pictures whose paths are fetched from the index at once.
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Encoded:
    """Progress of the caching.

    Attributes:
        done, total: Pictures, of all that were missing.
        broken: New ones that cannot be used, (path, reason).
        learned: What decoding taught of the pictures: (id in the index, content hash, perceptual hash or None).
        adopted: Latents that came from another trainer's cache.
    """

    done: int
    total: int
    broken: tuple[tuple[str, str], ...] = ()
    learned: tuple[tuple[int, str, int | None], ...] = ()
    adopted: int = 0


@dataclass(frozen=True)
class Recipe:
    """What is encoded of each picture, and how.

    Attributes:
        batch: Pictures that the VAE gets at once.
        precision: "bf16" or "fp32".
        kind: MEAN or MOMENTS: what is kept of the VAE's posterior.
        adopt: Gives the latent that another trainer cached: (path, row, mirrored) -> float32 (4, h, w), or None.
    """

    batch: int
    precision: str
    kind: int = MEAN
    adopt: Callable[[str, int, bool], NDArray[np.float32] | None] | None = None


@dataclass
class _Told:
    """What happened since the last event."""

    done: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    learned: list[tuple[int, str, int | None]] = field(default_factory=list)
    adopted: int = 0


@dataclass(frozen=True, slots=True)
class _Use:
    """A picture whose latents are to be made: their names, and those that another trainer made, by whether mirrored."""

    row: int
    decoded: Decoded
    keys: dict[bool, Key]
    adopted: dict[bool, NDArray[np.float32]]


class Encoder:
    """Fills the store with what it lacks of a dataset; a picture that cannot be decoded costs itself alone."""

    def __init__(
        self, dataset: Dataset, models: Models, store: ShardStore, recipe: Recipe, stop: Callable[[], bool]
    ) -> None:
        """Needs models.vae. `stop()` is asked between batches."""
        self._dataset, self._models, self._store, self._recipe = dataset, models, store, recipe
        self._stop = stop
        self._told = _Told()

    def work(self, rows: NDArray[np.integer], threads: int) -> Iterator[Encoded]:
        """Encode some rows of the dataset, bucket by bucket; yields after each batch.

        Raises Stopped when stop() says so, with all finished batches on their way to the disk.
        """
        yield Encoded(0, len(rows))
        order = rows[np.argsort(self._dataset.plan.bucket[rows], kind="stable")]
        pool = ThreadPoolExecutor(threads, "decode")
        try:
            depth = max(2 * self._recipe.batch, 2 * threads)
            for uses in self._batches(ahead(self._jobs(order), pool, self._decode, depth)):
                if self._stop():
                    raise Stopped
                self._encode(uses)
                yield self._tell(len(rows))
            yield self._tell(len(rows))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._store.flush()

    def _batches(self, decoded: Iterable[tuple[tuple[int, str], Decoded]]) -> Iterator[list[_Use]]:
        """Pictures of one bucket, as many as the VAE gets at once; now and then an empty batch, so that a long way
        through pictures that need nothing can be stopped."""
        waiting: list[_Use] = []
        for number, ((row, path), found) in enumerate(decoded, 1):
            use = self._take(row, path, found)
            if waiting and (self._bucket(waiting[0].row) != self._bucket(row) or len(waiting) >= self._recipe.batch):
                yield waiting
                waiting = []
            if use is not None:
                waiting.append(use)
            elif number % 256 == 0:
                yield []
        if waiting:
            yield waiting

    def _tell(self, total: int) -> Encoded:
        told, self._told = self._told, _Told(done=self._told.done)
        return Encoded(told.done, total, tuple(told.broken), tuple(told.learned), told.adopted)

    def _jobs(self, rows: NDArray[np.integer]) -> Iterator[tuple[int, str]]:
        """(row, path) of the rows, fetched in chunks."""
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            yield from zip(part.tolist(), self._dataset.paths(part), strict=True)

    def _decode(self, job: tuple[int, str]) -> Decoded:
        return self._dataset.decode(*job)

    def _bucket(self, row: int) -> int:
        return int(self._dataset.plan.bucket[row])

    def _take(self, row: int, path: str, decoded: Decoded) -> _Use | None:
        """Note what a file taught; the use when something of it must be encoded."""
        told = self._told
        told.done += 1
        if decoded.reason:
            told.broken.append((path, decoded.reason))
            return None
        told.learned.append((int(self._dataset.plan.ids[row]), decoded.content_hash, decoded.phash))
        keys = {mirrored: self._key(row, decoded, mirrored, self._recipe.kind) for mirrored in self._dataset.sides(row)}
        if all(key in self._store for key in keys.values()):
            return None
        adopted: dict[bool, NDArray[np.float32]] = {}
        if self._recipe.adopt is not None:
            for mirrored in keys:
                latent = self._recipe.adopt(path, row, mirrored)
                if latent is not None:
                    adopted[mirrored] = latent
        return _Use(row, decoded, keys, adopted)

    def _key(self, row: int, decoded: Decoded, mirrored: bool, kind: int) -> Key:
        dataset = self._dataset
        return latent_key(
            decoded.content_hash, dataset.plan.fit(row), mirrored=mirrored, kind=kind, rule=dataset.pixel_rule(row)
        )

    def _encode(self, uses: list[_Use]) -> None:
        """Encode the pictures of one size and put them, with their masks, into the store."""
        pixels: list[NDArray[np.uint8]] = []
        keys: list[Key] = []
        for use in uses:
            for mirrored, key in use.keys.items():
                if mirrored in use.adopted:
                    latent = torch.from_numpy(use.adopted[mirrored]).half()
                    if self._recipe.kind == MOMENTS:  # it was drawn already: nothing is left to draw from
                        latent = torch.cat([latent, torch.zeros_like(latent)])
                    self._store.put(key, latent)
                    self._told.adopted += 1
                elif use.decoded.pixels is not None:
                    pixels.append(use.decoded.pixels[:, ::-1] if mirrored else use.decoded.pixels)
                    keys.append(key)
                self._put_mask(use, mirrored)
        for start in range(0, len(pixels), self._recipe.batch):
            part = slice(start, start + self._recipe.batch)
            latents = encode(self._models, np.stack(pixels[part]), self._recipe.precision, self._recipe.kind)
            for key, latent in zip(keys[part], latents, strict=True):
                self._store.put(key, latent.half())
        if uses:
            self._store.flush()

    def _put_mask(self, use: _Use, mirrored: bool) -> None:
        """Keep the mask of the loss, where there is one, in float16."""
        if use.decoded.mask is None:
            return
        key = self._key(use.row, use.decoded, mirrored, MASK)
        self._store.put(key, latent_mask(use.decoded.mask, self._models.vae_factor, mirrored).half())


@torch.no_grad()
def encode(models: Models, pixels: NDArray[np.uint8], precision: str, kind: int = MEAN) -> torch.Tensor:
    """The VAE's posterior of pixels (b, h, w, 3) uint8, not scaled, float32: its mean (b, 4, h/8, w/8).

    MOMENTS: mean and standard deviation, (b, 8, h/8, w/8). fp16 is not used here (the larger VAEs overflow in it); a
    result that is not finite is encoded again in fp32.
    """
    tensor = torch.from_numpy(pixels).to(models.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    together = encoded_together(len(tensor), models.device.type == "cpu")
    return torch.cat([_posterior(models, part, precision, kind) for part in tensor.split(together)])


def _posterior(models: Models, tensor: torch.Tensor, precision: str, kind: int) -> torch.Tensor:
    """What encode() gives, of pictures (b, 3, h, w) from -1 to 1 that are encoded together."""
    tensor = models.arrange(tensor)

    def posterior() -> torch.Tensor:
        found: Any = models.vae.encode(tensor).latent_dist
        return torch.cat([found.mean, found.std], dim=1).float() if kind == MOMENTS else found.mean.float()

    with autocast(models.device, "bf16" if precision == "bf16" else "fp32"):
        latents = posterior()
    return latents if bool(torch.isfinite(latents).all()) else posterior()
