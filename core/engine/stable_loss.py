"""Stable loss: the same pictures, noise and timesteps at every measurement, so that only the model can change it.

Each (picture, timestep bucket, repeat) draws its noise and timestep from a generator seeded by these alone: the value
does not depend on batch size, order, number of processes or what ran before, and the training's draws are not touched.
The idea of fixing seeds and cutting the timesteps into buckets follows the notes "demystifying sd finetuning".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from core.engine.noise import NoiseSchedule, generator
from core.engine.text_states import Conditioning

#: (noisy latents, timesteps, conditioning, sizes (b, 6)) -> prediction
Predict = Callable[[torch.Tensor, torch.Tensor, Conditioning, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Probe:
    """A picture that is measured: scaled latent (4, h, w), caption, the hash that its draws come from, SDXL's sizes."""

    latent: torch.Tensor
    caption: str
    key: str
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Mean loss, and the mean of each timestep bucket from little noise to much."""

    loss: float
    buckets: list[float]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the batches that this process measures; all processes measure with the same weights.

    Attributes:
        sum_up: Adds a tensor up over the processes, in place; all of them call it once a measurement.
    """

    rank: int = 0
    processes: int = 1
    sum_up: Callable[[torch.Tensor], object] = lambda errors: None


ALONE = Share()

#: A measurement of one picture: probe, timestep bucket, repeat.
_Use = tuple[Probe, int, int]


@dataclass(frozen=True)
class StableLoss:
    """The ruler: what is drawn for each picture, bucket and repeat.

    Attributes:
        timestep_buckets: The schedule's timesteps are cut into so many equal parts.
    """

    schedule: NoiseSchedule
    seed: int
    timestep_buckets: int
    repeats: int
    batch: int

    def _draw(self, probe: Probe, bucket: int, repeat: int) -> tuple[torch.Tensor, int]:
        """(noise, timestep) of one measurement of one picture."""
        source = generator("stable", self.seed, probe.key, bucket, repeat)
        low = bucket * self.schedule.timesteps // self.timestep_buckets
        high = (bucket + 1) * self.schedule.timesteps // self.timestep_buckets
        timestep = int(torch.randint(low, high, (1,), generator=source))
        return torch.randn(probe.latent.shape, generator=source), timestep

    @torch.no_grad()
    def measure(
        self,
        probes: Sequence[Probe],
        predict: Predict,
        texts: Callable[[list[str]], Conditioning],
        device: torch.device,
        share: Share = ALONE,
    ) -> Measurement:
        """Mean squared error of the prediction (noise or v) over all pictures, buckets and repeats.

        Batches hold pictures of one size, the same ones however many processes take part. Their errors stay on the
        device until all are there, and are added exactly, so that their order does not matter.
        """
        uses = [
            (probe, bucket, repeat)
            for probe in probes
            for bucket in range(self.timestep_buckets)
            for repeat in range(self.repeats)
        ]
        errors = torch.zeros(len(uses), device=device)
        for number, places in enumerate(self._batches(uses)):
            if number % share.processes == share.rank:
                errors[places] = self._errors([uses[place] for place in places], predict, texts, device)
        share.sum_up(errors)
        return self._mean(uses, errors.tolist())

    def _batches(self, uses: list[_Use]) -> list[list[int]]:
        """Places of the uses that go through the model together."""
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        for place, (probe, _, _) in enumerate(uses):
            groups[probe.latent.shape].append(place)
        return [
            places[start : start + self.batch]
            for places in groups.values()
            for start in range(0, len(places), self.batch)
        ]

    def _mean(self, uses: list[_Use], errors: list[float]) -> Measurement:
        buckets: list[list[float]] = [[] for _ in range(self.timestep_buckets)]
        for (_, bucket, _), error in zip(uses, errors, strict=True):
            buckets[bucket].append(error)
        means = [math.fsum(found) / len(found) for found in buckets]
        return Measurement(math.fsum(means) / len(means), means)

    def _errors(
        self,
        uses: list[_Use],
        predict: Predict,
        texts: Callable[[list[str]], Conditioning],
        device: torch.device,
    ) -> torch.Tensor:
        """The error of each of some measurements, (b,) float32."""
        draws = [self._draw(*use) for use in uses]
        latents = torch.stack([use[0].latent for use in uses]).to(device)
        noise = torch.stack([noise for noise, _ in draws]).to(device)
        timesteps = torch.tensor([timestep for _, timestep in draws], device=device)
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        sizes = torch.tensor([use[0].sizes for use in uses], dtype=torch.float32, device=device)
        predicted = predict(noisy, timesteps, texts([use[0].caption for use in uses]), sizes)
        target = self.schedule.target(latents, noise, timesteps)
        return (predicted.float() - target).square().mean(dim=(1, 2, 3))
