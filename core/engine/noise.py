"""Noise, timesteps and the forward process: every draw is a pure function of seed, epoch and picture.

Nothing here has a state: a resume at any step draws what the uninterrupted run would have drawn, and the draws do not
depend on batch size, number of GPUs or order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from core.data.draws import hash_of
from core.errors import UserError

#: What a model can be asked for, as diffusers' scheduler configs call it.
PREDICTIONS = ("epsilon", "v_prediction")


def seed_of(*key: object) -> int:
    """The hash of `key` as a seed for torch (63 bits)."""
    return hash_of(*key) & (2**63 - 1)


def generator(*key: object) -> torch.Generator:
    """A CPU generator whose seed is a hash of `key`."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_device(seed: int, device: torch.device) -> None:
    """Seed the global generators that the modules of a device draw from (dropout).

    torch.manual_seed() writes down its whole stack for every kind of device that torch knows and that is not in use:
    2 ms at every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in the schedule each picture of a batch is.

    Attributes:
        snr: Signal-to-noise ratios, shape (batch,).
        progress: Timesteps as shares of all, 0 to below 1, shape (batch,).
    """

    snr: torch.Tensor
    progress: torch.Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process q(x_t | x_0) = N(sqrt(a_t) x_0, (1 - a_t) I) (Ho et al. 2020), and what the model predicts.

    Attributes:
        alphas: Cumulative products a_t of 1 - beta, shape (timesteps,), float32; the last is 0 where the betas are
            rescaled to a zero terminal SNR (Lin et al. 2023).
        prediction: One of PREDICTIONS.
    """

    alphas: torch.Tensor
    prediction: str = "epsilon"

    @classmethod
    def from_config(cls, config: Mapping[str, Any], device: torch.device | str = "cpu") -> NoiseSchedule:
        """From a diffusers scheduler config, by diffusers' own DDPMScheduler; UserError for other predictions."""
        from diffusers import DDPMScheduler

        prediction = str(config.get("prediction_type", "epsilon"))
        if prediction not in PREDICTIONS:
            raise UserError(
                f"The model's scheduler says that it predicts '{prediction}'; only models that predict noise (epsilon) "
                "or v can be trained. If it is one of them, choose it as model.prediction."
            )
        wanted = (
            "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"
        )  # fmt: skip
        scheduler: Any = DDPMScheduler(**{key: config[key] for key in wanted if config.get(key) is not None})
        return cls(scheduler.alphas_cumprod.to(device), prediction)

    @property
    def timesteps(self) -> int:
        """Number of timesteps."""
        return len(self.alphas)

    def _parts(self, timesteps: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """(sqrt(a_t), sqrt(1 - a_t)) of timesteps (b,), each (b, 1, 1, 1)."""
        alphas = self.alphas[timesteps].reshape(-1, 1, 1, 1)
        return alphas.sqrt().to(dtype), (1 - alphas).sqrt().to(dtype)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """x_t for latents x_0 (b, c, h, w), noise of the same shape and timesteps (b,)."""
        signal, spread = self._parts(timesteps, latents.dtype)
        return signal * latents + spread * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the model is to predict: the noise, or v = sqrt(a_t) noise - sqrt(1 - a_t) x_0 (Salimans, Ho 2022)."""
        if self.prediction == "epsilon":
            return noise
        signal, spread = self._parts(timesteps, latents.dtype)
        return signal * noise - spread * latents

    def snr(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Signal-to-noise ratio a_t / (1 - a_t) of timesteps (b,), as in the min-SNR paper."""
        alphas = self.alphas[timesteps]
        return alphas / (1 - alphas)

    def moment(self, timesteps: torch.Tensor) -> Moment:
        """Where timesteps (b,) are."""
        return Moment(self.snr(timesteps), timesteps / self.timesteps)


@dataclass(frozen=True)
class DrawPlan:
    """What is drawn for each use of a picture in training.

    Attributes:
        first, last: Timesteps, both included.
        cumulative: Probability of a timestep up to each of first ... last, float64, ending with 1; None for the same
            probability everywhere.
        offset: Size of the constant per channel that is added to the noise (noise offset, Guttenberg 2023).
        pyramid: Share of each coarser level of noise in the level above (Whitaker 2023, "multi-resolution noise"); 0
            for plain noise.
        pyramid_levels: Most levels of coarser noise.
        perturbation: Size of more noise in the model's input that it is not asked for (Ning et al. 2023, "Input
            perturbation reduces exposure bias").
        mirror: Whether half of the uses are mirrored.
    """

    first: int = 0
    last: int = 999
    cumulative: torch.Tensor | None = None
    offset: float = 0.0
    pyramid: float = 0.0
    pyramid_levels: int = 6
    perturbation: float = 0.0
    mirror: bool = False


@dataclass(frozen=True)
class Draw:
    """What chance decides for one use of a picture.

    Attributes:
        noise: (c, h, w); what the model is asked for.
        added: What is really added to the latent: the noise itself, or a perturbed one.
    """

    noise: torch.Tensor
    added: torch.Tensor
    timestep: int
    mirrored: bool


def draw_training(shape: torch.Size, key: tuple[object, ...], plan: DrawPlan) -> Draw:
    """The draw of one use of a picture in training.

    Args:
        shape: Of the latent (c, h, w).
        key: (seed, epoch, picture hash); the same key draws the same.
    """
    source = generator("train", *key)
    timestep = _draw_timestep(plan, source)
    mirrored = bool(torch.rand(1, generator=source) < 0.5) if plan.mirror else False
    noise = torch.randn(shape, generator=source)
    if plan.offset:
        noise += plan.offset * torch.randn(shape[0], 1, 1, generator=source)
    if plan.pyramid:
        noise = _with_pyramid(noise, plan, source)
    added = noise
    if plan.perturbation:
        added = noise + plan.perturbation * torch.randn(shape, generator=source)
    return Draw(noise, added, timestep, mirrored)


def _draw_timestep(plan: DrawPlan, source: torch.Generator) -> int:
    if plan.cumulative is None:
        return int(torch.randint(plan.first, plan.last + 1, (1,), generator=source))
    place = torch.rand(1, generator=source, dtype=torch.float64)
    return plan.first + int(torch.searchsorted(plan.cumulative, place, right=True))


def _with_pyramid(noise: torch.Tensor, plan: DrawPlan, source: torch.Generator) -> torch.Tensor:
    """Noise (c, h, w) with ever coarser noise on top, brought back to a spread of 1.

    Each level is 2 to 4 times coarser than the one before, by chance, so that no grid is learned.
    """
    channels, height, width = noise.shape
    total, shrink = noise.clone(), 1.0
    for level in range(1, plan.pyramid_levels + 1):
        shrink *= 2.0 + 2.0 * float(torch.rand(1, generator=source))
        small = (max(1, int(height / shrink)), max(1, int(width / shrink)))
        coarse = torch.randn(1, channels, *small, generator=source)
        smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
        total += plan.pyramid**level * smooth[0]
        if small == (1, 1):
            break
    return total / total.std()
