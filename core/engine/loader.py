"""Batches for the trainer: a pure function of (settings, dataset, number of the batch), prepared one ahead."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from core.data.captions import compose
from core.data.dataset import Item
from core.data.order import Order
from core.engine.latent_store import LatentStore, entry_key
from core.engine.noise import DrawPlan, draw_training, hash_of
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of one process.

    Attributes:
        latents: Scaled latents (b, 4, h, w), float32.
        noise: Same shape.
        timesteps: (b,), int64.
        captions: What the model reads at this use.
        sizes: (b, 6), float32: original height and width, top and left of the crop, target height and width, in
            pixels, which SDXL is told.
        weights: (b,): 1, or 0 for a picture that only pads the batch so that all processes have the same size.
        count: Real pictures of the micro-batch over all processes.
        number, epoch: Place in the endless stream of batches.
        added: What is added to the latents instead of the noise (input perturbation); None for the noise itself.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    captions: list[str]
    sizes: torch.Tensor
    weights: torch.Tensor
    count: int
    number: int
    epoch: int
    added: torch.Tensor | None = None


class _Use(NamedTuple):
    """What one use of a picture gives to a batch."""

    latent: torch.Tensor
    noise: torch.Tensor
    added: torch.Tensor
    timestep: int
    caption: str
    sizes: tuple[int, ...]


def sizes(item: Item, mirrored: bool = False) -> tuple[int, int, int, int, int, int]:
    """What SDXL is told of a picture: original height, width, top and left of the crop, target height, width.

    The crop is counted in the resized picture (Podell et al. 2023, 2.2); a mirrored one is cut from the other side.
    """
    (width, height), (target_width, target_height) = item.size, item.fit.bucket
    left, top, right, _ = item.fit.crop
    return height, width, top, item.fit.resized[0] - right if mirrored else left, target_height, target_width


class Loader:
    """Makes batches from the cache. Two loaders with the same arguments make the same batches."""

    def __init__(
        self,
        items: list[Item],
        store: LatentStore,
        settings: Settings,
        scaling_factor: float,
        draws: DrawPlan,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._items = items
        self._store = store
        self._settings = settings
        self._scale = scaling_factor
        self._draws = draws
        self._rank, self._processes = rank, processes
        buckets = np.array([item.bucket for item in items], dtype=np.int32)
        self.order = Order(buckets, settings.training.batch_size * processes, settings.training.seed)

    def batch(self, number: int) -> Batch:
        """The batch of this process at a place in the stream."""
        plan = self.order.batch(number)
        indices, weights = self._share(plan.indices)
        drawn = [self._use(self._items[int(i)], plan.epoch) for i in indices]
        return Batch(
            latents=torch.stack([use.latent for use in drawn]),
            noise=torch.stack([use.noise for use in drawn]),
            timesteps=torch.tensor([use.timestep for use in drawn], dtype=torch.int64),
            captions=[use.caption for use in drawn],
            sizes=torch.tensor([use.sizes for use in drawn], dtype=torch.float32),
            weights=weights,
            count=len(plan.indices),
            number=number,
            epoch=plan.epoch,
            added=torch.stack([use.added for use in drawn]) if self._draws.perturbation else None,
        )

    def _share(self, indices: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """This process's part of a global batch, padded by repeats that count 0 to the same size everywhere."""
        size = -(-len(indices) // self._processes)
        padded = np.resize(indices, size * self._processes)
        real = np.arange(len(padded)) < len(indices)
        mine = slice(self._rank, None, self._processes)
        return padded[mine], torch.from_numpy(real[mine].astype(np.float32))

    def _use(self, item: Item, epoch: int) -> _Use:
        """One use of a picture in an epoch."""
        settings = self._settings
        key = (settings.training.seed, epoch, item.content_hash)
        latent = self._latent(item, False)
        draw = draw_training(latent.shape, key, self._draws)
        if draw.mirrored:
            latent = self._latent(item, True)
        seed = hash_of("caption", *key)
        caption = compose(item.captions, settings.data, np.random.Generator(np.random.Philox(seed)))
        return _Use(latent, draw.noise, draw.added, draw.timestep, caption, sizes(item, draw.mirrored))

    def _latent(self, item: Item, mirrored: bool) -> torch.Tensor:
        return self._store.get(entry_key(item.content_hash, item.fit, mirrored)).float() * self._scale

    def stream(self, start: int) -> Generator[Batch, None, None]:
        """Endless batches from a place in the stream; the next one is made while the present one is used."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming: Future[Batch] = pool.submit(self.batch, start)
            number = start
            while True:
                batch = coming.result()
                number += 1
                coming = pool.submit(self.batch, number)
                yield batch
