"""Batches for the trainer: a pure function of (settings, dataset, number of the batch), prepared one ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from core.data.captions import compose
from core.data.dataset import Item
from core.data.order import Order
from core.engine.latent_store import LatentStore, entry_key
from core.engine.noise import draw_training, hash_of
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of one process.

    Attributes:
        latents: Scaled latents (b, 4, h, w), float32.
        noise: Same shape.
        timesteps: (b,), int64.
        captions: What the model reads at this use.
        weights: (b,): 1, or 0 for a picture that only pads the batch so that all processes have the same size.
        count: Real pictures of the micro-batch over all processes.
        number, epoch: Place in the endless stream of batches.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    captions: list[str]
    weights: torch.Tensor
    count: int
    number: int
    epoch: int


class Loader:
    """Makes batches from the cache. Two loaders with the same arguments make the same batches."""

    def __init__(
        self,
        items: list[Item],
        store: LatentStore,
        settings: Settings,
        scaling_factor: float,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._items = items
        self._store = store
        self._settings = settings
        self._scale = scaling_factor
        self._rank, self._processes = rank, processes
        buckets = np.array([item.bucket for item in items], dtype=np.int32)
        self.order = Order(buckets, settings.training.batch_size * processes, settings.training.seed)

    def batch(self, number: int) -> Batch:
        """The batch of this process at a place in the stream."""
        plan = self.order.batch(number)
        indices, weights = self._share(plan.indices)
        drawn = [self._use(self._items[int(i)], plan.epoch) for i in indices]
        return Batch(
            latents=torch.stack([latent for latent, _, _, _ in drawn]),
            noise=torch.stack([noise for _, noise, _, _ in drawn]),
            timesteps=torch.tensor([timestep for _, _, timestep, _ in drawn], dtype=torch.int64),
            captions=[caption for _, _, _, caption in drawn],
            weights=weights,
            count=len(plan.indices),
            number=number,
            epoch=plan.epoch,
        )

    def _share(self, indices: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """This process's part of a global batch, padded by repeats that count 0 to the same size everywhere."""
        size = -(-len(indices) // self._processes)
        padded = np.resize(indices, size * self._processes)
        real = np.arange(len(padded)) < len(indices)
        mine = slice(self._rank, None, self._processes)
        return padded[mine], torch.from_numpy(real[mine].astype(np.float32))

    def _use(self, item: Item, epoch: int) -> tuple[torch.Tensor, torch.Tensor, int, str]:
        """(latent, noise, timestep, caption) of one use of a picture."""
        settings = self._settings
        key = (settings.training.seed, epoch, item.content_hash)
        latent = self._latent(item, False)
        limits = (settings.loss.min_timestep, settings.loss.max_timestep)
        draw = draw_training(latent.shape, key, limits, settings.loss.noise_offset, settings.data.flip)
        if draw.mirrored:
            latent = self._latent(item, True)
        seed = hash_of("caption", *key)
        caption = compose(item.captions, settings.data, np.random.Generator(np.random.Philox(seed)))
        return latent, draw.noise, draw.timestep, caption

    def _latent(self, item: Item, mirrored: bool) -> torch.Tensor:
        return self._store.get(entry_key(item.content_hash, item.fit, mirrored)).float() * self._scale

    def stream(self, start: int) -> Iterator[Batch]:
        """Endless batches from a place in the stream; the next one is made while the present one is used."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming: Future[Batch] = pool.submit(self.batch, start)
            number = start
            while True:
                batch = coming.result()
                number += 1
                coming = pool.submit(self.batch, number)
                yield batch
