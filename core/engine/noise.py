"""Noise, timesteps and the forward process: every draw is a pure function of seed, epoch and picture.

Nothing here has a state: a resume at any step draws what the uninterrupted run would have drawn, and the draws do not
depend on batch size, number of GPUs or order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import xxhash


def hash_of(*key: object) -> int:
    """A hash (64 bits) of `key`, from which whatever is drawn for it is seeded."""
    return xxhash.xxh3_64_intdigest("/".join(str(part) for part in key).encode())


def seed_of(*key: object) -> int:
    """The hash of `key` as a seed for torch (63 bits)."""
    return hash_of(*key) & (2**63 - 1)


def generator(*key: object) -> torch.Generator:
    """A CPU generator whose seed is a hash of `key`."""
    return torch.Generator().manual_seed(seed_of(*key))


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process q(x_t | x_0) = N(sqrt(a_t) x_0, (1 - a_t) I) (Ho et al. 2020).

    Attributes:
        alphas: Cumulative products a_t of 1 - beta, shape (timesteps,), float32.
    """

    alphas: torch.Tensor

    @classmethod
    def from_config(cls, config: Mapping[str, Any], device: torch.device | str = "cpu") -> NoiseSchedule:
        """From a diffusers scheduler config, by diffusers' own DDPMScheduler."""
        from diffusers import DDPMScheduler

        wanted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
        scheduler: Any = DDPMScheduler(**{key: config[key] for key in wanted if key in config})
        return cls(scheduler.alphas_cumprod.to(device))

    @property
    def timesteps(self) -> int:
        """Number of timesteps."""
        return len(self.alphas)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """x_t for latents x_0 (b, c, h, w), noise of the same shape and timesteps (b,)."""
        signal = self.alphas[timesteps].sqrt().reshape(-1, 1, 1, 1).to(latents.dtype)
        spread = (1 - self.alphas[timesteps]).sqrt().reshape(-1, 1, 1, 1).to(latents.dtype)
        return signal * latents + spread * noise

    def snr(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Signal-to-noise ratio a_t / (1 - a_t) of timesteps (b,), as in the min-SNR paper."""
        alphas = self.alphas[timesteps]
        return alphas / (1 - alphas)


@dataclass(frozen=True)
class Draw:
    """What chance decides for one use of a picture: noise (c, h, w), the timestep, whether it is mirrored."""

    noise: torch.Tensor
    timestep: int
    mirrored: bool


def draw_training(
    shape: torch.Size, key: tuple[object, ...], timesteps: tuple[int, int], offset: float, mirror: bool
) -> Draw:
    """The draw of one use of a picture in training.

    Args:
        shape: Of the latent (c, h, w).
        key: (seed, epoch, picture hash); the same key draws the same.
        timesteps: First and last timestep, both included.
        offset: Size of the constant per channel that is added to the noise (noise offset, Guttenberg 2023).
        mirror: Whether half of the uses are mirrored.
    """
    source = generator("train", *key)
    timestep = int(torch.randint(timesteps[0], timesteps[1] + 1, (1,), generator=source))
    mirrored = bool(torch.rand(1, generator=source) < 0.5) if mirror else False
    noise = torch.randn(shape, generator=source)
    if offset:
        noise += offset * torch.randn(shape[0], 1, 1, generator=source)
    return Draw(noise, timestep, mirrored)
