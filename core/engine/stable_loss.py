"""Stable loss: the same pictures, noise and timesteps at every measurement, so that only the model can change it.

Each (picture, timestep bucket, repeat) draws its noise and timestep from a generator seeded by these alone: the value
does not depend on batch size, order or what ran before, and the training's draws are not touched. The idea of fixing
seeds and cutting the timesteps into buckets follows the notes "demystifying sd finetuning".
"""

from __future__ import annotations

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
    ) -> Measurement:
        """Mean squared error of the prediction (noise or v) over all pictures, buckets and repeats; sums in 64 bits."""
        groups: dict[torch.Size, list[tuple[Probe, int, int]]] = defaultdict(list)
        for probe in probes:
            for bucket in range(self.timestep_buckets):
                for repeat in range(self.repeats):
                    groups[probe.latent.shape].append((probe, bucket, repeat))
        sums = torch.zeros(self.timestep_buckets, dtype=torch.float64)
        for uses in groups.values():
            for start in range(0, len(uses), self.batch):
                self._measure_batch(uses[start : start + self.batch], predict, texts, device, sums)
        means = sums / (len(probes) * self.repeats)
        return Measurement(float(means.mean()), [float(mean) for mean in means])

    def _measure_batch(
        self,
        uses: list[tuple[Probe, int, int]],
        predict: Predict,
        texts: Callable[[list[str]], Conditioning],
        device: torch.device,
        sums: torch.Tensor,
    ) -> None:
        """Add the errors of some measurements to the sums of their buckets."""
        draws = [self._draw(*use) for use in uses]
        latents = torch.stack([use[0].latent for use in uses]).to(device)
        noise = torch.stack([noise for noise, _ in draws]).to(device)
        timesteps = torch.tensor([timestep for _, timestep in draws], device=device)
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        sizes = torch.tensor([use[0].sizes for use in uses], dtype=torch.float32, device=device)
        predicted = predict(noisy, timesteps, texts([use[0].caption for use in uses]), sizes)
        target = self.schedule.target(latents, noise, timesteps)
        errors = (predicted.float() - target).square().mean(dim=(1, 2, 3)).double().cpu()
        for (_, bucket, _), error in zip(uses, errors, strict=True):
            sums[bucket] += error
