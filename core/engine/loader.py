"""Batches for the trainer: a pure function of (settings, dataset, number of the batch), made ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from core.data.buckets import Fit
from core.data.captions import compose
from core.data.dataset import Dataset
from core.data.draws import caption_generator, hash_of
from core.data.order import Order
from core.engine.latent_store import MASK, MOMENTS, kept_kind, latent_mask, row_keys
from core.engine.noise import DrawPlan, draw_training, generator
from core.engine.shards import Key, ShardStore
from core.errors import UserError
from core.settings import Settings

#: Pixels (b, h, w, 3) uint8 to latents (b, 4, h/8, w/8), not scaled; for pictures that are not cached.
Encode = Callable[[NDArray[np.uint8]], torch.Tensor]

#: Batches under way while one is used: the next one from the cache, more where pictures must be decoded.
_AHEAD_CACHED, _AHEAD_DECODED = 2, 4


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
        weights: (b,): how much each picture's loss counts, by its folder's rule; 0 for a picture that only pads the
            batch so that all processes have the same size.
        count: Real pictures of the micro-batch over all processes.
        number, epoch: Place in the endless stream of batches.
        added: What is added to the latents instead of the noise (input perturbation); None for the noise itself.
        mask: (b, 1, h, w) from 0 to 1: where the loss counts; None for everywhere.
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
    mask: torch.Tensor | None = None


class LatentSpace(NamedTuple):
    """Of a VAE: its scaling factor, channels of a latent, pixels along one side of a latent's cell."""

    scale: float
    channels: int
    factor: int


class _Use(NamedTuple):
    """What one use of a picture gives to a batch."""

    latent: torch.Tensor
    noise: torch.Tensor
    added: torch.Tensor
    timestep: int
    sizes: tuple[int, ...]
    mask: torch.Tensor | None


class _Chosen(NamedTuple):
    """The uses of one process in a batch: rows of the plan, their turns, and whether each is real."""

    rows: NDArray[np.int64]
    turns: NDArray[np.int64]
    real: NDArray[np.bool_]


def told_sizes(size: tuple[int, int], fit: Fit, mirrored: bool = False) -> tuple[int, int, int, int, int, int]:
    """What SDXL is told of a picture: original height, width, top and left of the crop, target height, width.

    The crop is counted in the resized picture (Podell et al. 2023, 2.2); a mirrored one is cut from the other side.
    """
    (width, height), (target_width, target_height) = size, fit.bucket
    left, top, right, _ = fit.crop
    return height, width, top, fit.resized[0] - right if mirrored else left, target_height, target_width


class Loader:
    """Makes batches from the cache, or from the files where crops are drawn anew at each use.

    Two loaders with the same arguments make the same batches. Nothing is held for a picture: the plan, the cache's
    catalogue and the index are mapped or asked.
    """

    def __init__(
        self,
        dataset: Dataset,
        store: ShardStore,
        settings: Settings,
        space: LatentSpace,
        draws: DrawPlan,
        share: tuple[int, int] = (0, 1),
        encode: Encode | None = None,
    ) -> None:
        """
        Args:
            share: (rank, processes).
            draws: What is drawn for each use of a picture; its `mirror` is decided by the picture's page here.
            encode: For settings whose pictures are not cached (is_live()); called in the thread that takes batches.
        """
        self.dataset = dataset
        self._store, self._settings, self._space = store, settings, space
        self._plans = {flip: replace(draws, mirror=flip) for flip in (False, True)}
        self._rank, self._processes = share
        self._encode = encode
        self._kind = kept_kind(settings)
        self._masked = any(rule.mask != "none" for rule in dataset.rules)
        self.order = Order(dataset.plan.groups, settings.training.batch_size * self._processes, settings.training.seed)

    def batch(self, number: int) -> Batch:
        """The batch of this process at a place in the stream."""
        batch, pixels = self._made(number)
        return self._whole(batch, pixels)

    def _made(self, number: int) -> tuple[Batch, list[NDArray[np.uint8]]]:
        """A batch; its latents are missing where there are pixels instead."""
        plan = self.order.batch(number)
        chosen = self._share(plan.rows, plan.turns)
        captions = self._captions(chosen, plan.epoch)
        pixels: list[NDArray[np.uint8]] = []
        if self._encode is None:
            uses = self._from_cache(chosen)
        else:
            uses, pixels = self._from_files(chosen)
        weights = [self.dataset.rule(row).weight for row in chosen.rows.tolist()]
        perturbed = any(plan.perturbation for plan in self._plans.values())
        return Batch(
            latents=torch.stack([use.latent for use in uses]),
            noise=torch.stack([use.noise for use in uses]),
            timesteps=torch.tensor([use.timestep for use in uses], dtype=torch.int64),
            captions=captions,
            sizes=torch.tensor([use.sizes for use in uses], dtype=torch.float32),
            weights=torch.tensor(weights, dtype=torch.float32) * torch.from_numpy(chosen.real.astype(np.float32)),
            count=len(plan.rows),
            number=number,
            epoch=plan.epoch,
            added=torch.stack([use.added for use in uses]) if perturbed else None,
            mask=_stacked([use.mask for use in uses], uses[0].latent),
        ), pixels

    def _whole(self, batch: Batch, pixels: list[NDArray[np.uint8]]) -> Batch:
        """The batch with its latents, in the thread that owns the models."""
        if not pixels or self._encode is None:
            return batch
        return replace(batch, latents=self._encode(np.stack(pixels)).float().cpu() * self._space.scale)

    def _share(self, rows: NDArray[np.int64], turns: NDArray[np.int64]) -> _Chosen:
        """This process's part of a global batch, padded by repeats that count 0 to the same size everywhere."""
        size = -(-len(rows) // self._processes) * self._processes
        mine = slice(self._rank, None, self._processes)
        return _Chosen(np.resize(rows, size)[mine], np.resize(turns, size)[mine], (np.arange(size) < len(rows))[mine])

    def _captions(self, chosen: _Chosen, epoch: int) -> list[str]:
        """What the model reads at each use; an edited caption file is read anew."""
        found = []
        dataset, seed = self.dataset, self._settings.training.seed
        for row, turn, captions in zip(
            chosen.rows.tolist(), chosen.turns.tolist(), dataset.captions(chosen.rows), strict=True
        ):
            drawn = caption_generator(seed, turn, dataset.plan.content_hash(row))
            found.append(compose(captions, dataset.page(row), drawn, epoch))
        return found

    # -- from the cache ---------------------------------------------------------------------------------------

    def _from_cache(self, chosen: _Chosen) -> list[_Use]:
        rows, names = chosen.rows.tolist(), self._names(chosen)
        fits = [self.dataset.plan.fit(row) for row in rows]
        draws = [
            draw_training(self._shape(fit), name, self._plans[self.dataset.page(row).flip])
            for row, fit, name in zip(rows, fits, names, strict=True)
        ]
        mirrored = np.array([draw.mirrored for draw in draws])
        keys = self._keys(chosen.rows, mirrored, self._kind)
        masks = self._keys(chosen.rows, mirrored, MASK) if self._masked else None
        uses = []
        for place, (row, fit, draw) in enumerate(zip(rows, fits, draws, strict=True)):
            mask = None
            if masks is not None and masks[place] in self._store:
                mask = self._store.get(masks[place]).float()
            told = self._told(row, fit, draw.mirrored)
            latent = self._latent(keys[place], names[place])
            uses.append(_Use(latent, draw.noise, draw.added, draw.timestep, told, mask))
        return uses

    def _names(self, chosen: _Chosen) -> list[tuple[int, int, str]]:
        """What the draws of each use are seeded by."""
        return [self._name(row, turn) for row, turn in zip(chosen.rows.tolist(), chosen.turns.tolist(), strict=True)]

    def _name(self, row: int, turn: int) -> tuple[int, int, str]:
        """What the draws of one use are seeded by."""
        return self._settings.training.seed, turn, self.dataset.plan.content_hash(row)

    def _shape(self, fit: Fit) -> torch.Size:
        factor = self._space.factor
        return torch.Size((self._space.channels, fit.bucket[1] // factor, fit.bucket[0] // factor))

    def _told(self, row: int, fit: Fit, mirrored: bool) -> tuple[int, ...]:
        width, height = self.dataset.plan.sizes[row].tolist()
        return told_sizes((width, height), fit, mirrored)

    def _keys(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_], kind: int) -> list[Key]:
        found = row_keys(self.dataset, rows, mirrored, kind)
        return [(high, low) for high, low in found.tolist()]

    def _latent(self, key: Key, name: tuple[int, int, str]) -> torch.Tensor:
        stored = self._store.get(key).float()
        if self._kind == MOMENTS:
            mean, spread = stored.chunk(2)
            stored = mean + spread * torch.randn(mean.shape, generator=generator("posterior", *name))
        return stored * self._space.scale

    # -- from the files ---------------------------------------------------------------------------------------

    def _from_files(self, chosen: _Chosen) -> tuple[list[_Use], list[NDArray[np.uint8]]]:
        """Decode each picture with a crop drawn for this use.

        Raises UserError for a picture that can no longer be used.
        """
        rows, turns = chosen.rows.tolist(), chosen.turns.tolist()
        fits = [self._cropped(row, turn) for row, turn in zip(rows, turns, strict=True)]
        paths = self.dataset.paths(chosen.rows)
        with ThreadPoolExecutor(self._settings.hardware.decode_threads, "decode") as pool:
            decoded = list(pool.map(self.dataset.decode, rows, paths, fits))
        uses, pixels = [], []
        for row, turn, fit, path, found in zip(rows, turns, fits, paths, decoded, strict=True):
            if found.pixels is None:
                raise UserError(f"{path} cannot be used any more: {found.reason}. Mend or remove it, then resume.")
            draw = draw_training(self._shape(fit), self._name(row, turn), self._plans[self.dataset.page(row).flip])
            shown = found.pixels[:, ::-1] if draw.mirrored else found.pixels
            if self._settings.data.colour_jitter:
                shown = jittered(shown, self._settings.data.colour_jitter, hash_of("colour", *self._name(row, turn)))
            mask = None if found.mask is None else latent_mask(found.mask, self._space.factor, draw.mirrored)
            told = self._told(row, fit, draw.mirrored)
            uses.append(_Use(draw.noise, draw.noise, draw.added, draw.timestep, told, mask))
            pixels.append(shown)
        return uses, pixels

    def _cropped(self, row: int, turn: int) -> Fit:
        """The picture's fit with its crop at a place drawn for this use."""
        fit = self.dataset.plan.fit(row)
        if self._settings.data.crop_focus != "random":
            return fit
        (width, height), (across, down) = fit.resized, fit.bucket
        drawn = np.random.Generator(np.random.Philox(hash_of("crop", *self._name(row, turn))))
        left, top = int(drawn.integers(width - across + 1)), int(drawn.integers(height - down + 1))
        return replace(fit, crop=(left, top, left + across, top + down))

    # -- the stream -------------------------------------------------------------------------------------------

    def stream(self, start: int) -> Generator[Batch, None, None]:
        """Endless batches from a place in the stream; the next ones are made while the present one is used."""
        depth = _AHEAD_CACHED if self._encode is None else _AHEAD_DECODED
        coming: deque[Future[tuple[Batch, list[NDArray[np.uint8]]]]] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as pool:
            try:
                number = start
                while True:
                    while len(coming) < depth:
                        coming.append(pool.submit(self._made, number))
                        number += 1
                    yield self._whole(*coming.popleft().result())
            finally:
                for future in coming:
                    future.cancel()


def jittered(pixels: NDArray[np.uint8], share: float, seed: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) with brightness, contrast and saturation each multiplied by 1 - share to 1 + share."""
    drawn = np.random.Generator(np.random.Philox(seed))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(float(drawn.uniform(1 - share, 1 + share)))
    return np.array(image, dtype=np.uint8)


def _stacked(masks: list[torch.Tensor | None], latent: torch.Tensor) -> torch.Tensor | None:
    """(b, 1, h, w); pictures without a mask count everywhere; None when none has one."""
    if all(mask is None for mask in masks):
        return None
    everywhere = torch.ones(1, *latent.shape[1:])
    return torch.stack([everywhere if mask is None else mask for mask in masks])
