"""The objective: from latents, noise, timesteps and the model's answer to one loss per picture.

Prediction (what is asked for), loss kind (how an error counts), weighting (how a timestep counts) and density (how
often it is drawn) are chosen apart; the last three are component files. Nothing here knows a module or an optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from core import registry
from core.engine.noise import DrawPlan, NoiseSchedule
from core.errors import UserError
from core.settings import Settings

#: diffusers' names of the predictions that can be chosen.
_PREDICTIONS = {"epsilon": "epsilon", "v-prediction": "v_prediction"}


def scheduler_config(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler config that a run trains, samples and is saved with: the model's own under the settings' overrides.

    With a zero terminal SNR the timesteps of samplers are spaced "trailing", so that they begin at the last one (Lin et
    al. 2023, "Common diffusion noise schedules and sample steps are flawed"). Applied twice it gives the same.

    Args:
        config: diffusers' scheduler config of the model.
    """
    effective = dict(config)
    page = settings.model
    if page.prediction != "auto":
        effective["prediction_type"] = _PREDICTIONS[page.prediction]
    if page.zero_terminal_snr != "auto":
        effective["rescale_betas_zero_snr"] = page.zero_terminal_snr == "on"
    if effective.get("rescale_betas_zero_snr"):
        effective["timestep_spacing"] = "trailing"
    return effective


def draw_plan(settings: Settings, config: Mapping[str, Any]) -> DrawPlan:
    """What is drawn for each use of a picture; `config` is the model's scheduler config.

    Raises UserError when the schedule has fewer timesteps than are wanted or the density leaves none to draw.
    """
    loss = settings.loss
    schedule = NoiseSchedule.from_config(scheduler_config(settings, config))
    last = min(loss.max_timestep, schedule.timesteps - 1)
    if loss.min_timestep > last:
        raise UserError(
            f"loss.min_timestep is {loss.min_timestep}, but the model has the timesteps 0 to {schedule.timesteps - 1}."
        )
    density, options = registry.chosen("densities", settings)
    frequencies = density.frequencies(schedule.snr(torch.arange(schedule.timesteps)), options)
    return DrawPlan(
        first=loss.min_timestep,
        last=last,
        cumulative=None if frequencies is None else _cumulative(frequencies[loss.min_timestep : last + 1]),
        offset=loss.noise_offset,
        pyramid=loss.pyramid_noise,
        pyramid_levels=loss.pyramid_levels,
        perturbation=loss.input_perturbation,
        mirror=settings.data.flip,
    )


def _cumulative(frequencies: torch.Tensor) -> torch.Tensor:
    """Probability up to each timestep of a range, float64, the last exactly 1; UserError where the sum is 0."""
    sums = frequencies.double().cumsum(0)
    if not float(sums[-1]) > 0:
        raise UserError(
            "loss.density: between loss.min_timestep and loss.max_timestep no timestep would ever be drawn. "
            "Widen the density or the range."
        )
    cumulative = sums / sums[-1]
    # From the last timestep that can be drawn on, so that a place just below 1 never falls behind it.
    cumulative[cumulative >= cumulative[-1]] = 1.0
    return cumulative


@dataclass(frozen=True)
class Objective:
    """What the model is asked to get right.

    Attributes:
        kind, weighting: Modules of core.losses and core.weightings, each with its table of options or None.
    """

    schedule: NoiseSchedule
    kind: Any
    kind_options: Any
    weighting: Any
    weighting_options: Any

    @classmethod
    def from_settings(cls, settings: Settings, config: Mapping[str, Any], device: torch.device | str) -> Objective:
        """The settings' objective on the model's noise schedule; `config` is its scheduler config."""
        schedule = NoiseSchedule.from_config(scheduler_config(settings, config), device)
        return cls(schedule, *registry.chosen("losses", settings), *registry.chosen("weightings", settings))

    def losses(
        self,
        predicted: torch.Tensor,
        latents: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of each picture (b,), float32, its weighting included.

        Args:
            predicted: The model's answer (b, c, h, w), in any precision.
            latents, noise: Of the same shape; the noise that is asked for, not a perturbed one.
            timesteps: (b,).
            mask: (b, 1, h, w) from 0 to 1, by which errors are multiplied; the mean is over the whole picture still, as
                in sd-scripts, so that a small subject does not weigh more than a large one.
        """
        target = self.schedule.target(latents, noise, timesteps)
        moment = self.schedule.moment(timesteps)
        errors: torch.Tensor = self.kind.errors(predicted.float(), target, moment, self.kind_options)
        if mask is not None:
            errors = errors * mask
        losses = errors.mean(dim=(1, 2, 3))
        weights = self.weights(moment.snr)
        return losses if weights is None else losses * weights

    def weights(self, snr: torch.Tensor) -> torch.Tensor | None:
        """How much pictures with these signal-to-noise ratios (b,) count; None where all count the same.

        Weightings are written for the error of the noise. The error of v is snr + 1 over snr times as large (Salimans
        and Ho 2022), so it is weighed by snr / (snr + 1) more: min-SNR becomes min(snr, gamma) / (snr + 1).
        """
        weights: torch.Tensor | None = self.weighting.weights(snr, self.weighting_options)
        if weights is None or self.schedule.prediction == "epsilon":
            return weights
        return weights * (snr / (snr + 1))
