"""Draws pictures: many requests in one batch, each from its own seed, so that none depends on its batch."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from core import registry
from core.engine.models import Models, autocast
from core.engine.text_states import Conditioning
from core.errors import Stopped
from core.grid import CellPlan
from core.together import decoded_together

Texts = Callable[[list[str]], Conditioning]


@dataclass(frozen=True)
class Drawing:
    """What drawing needs besides the requests.

    Attributes:
        texts: Conditioning of prompts (a TextStates, or the trained encoder).
        stop: Asked between denoising steps; True raises Stopped.
        on_step: Told (steps done, steps in all) of a batch.
        scheduler: The scheduler config to draw with; None for the model's own.
    """

    models: Models
    texts: Texts
    precision: str
    stop: Callable[[], bool] = lambda: False
    on_step: Callable[[int, int], None] = lambda done, total: None
    scheduler: dict[str, Any] | None = None

    @torch.no_grad()
    def draw(self, requests: Sequence[CellPlan], batch: int) -> Iterator[tuple[int, Image.Image]]:
        """Yield (index into `requests`, picture) as they are made, grouped by sampler, steps and size."""
        groups: dict[tuple[str, int, int, int], list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[request.sampler, request.steps, request.width, request.height].append(index)
        for indices in groups.values():
            for start in range(0, len(indices), batch):
                part = indices[start : start + batch]
                latents = self._denoise([requests[i] for i in part])
                at_once = decoded_together(requests[part[0]].width, requests[part[0]].height)
                pictures = (picture for some in latents.split(at_once) for picture in self._decode(some))
                yield from zip(part, pictures, strict=True)

    def _denoise(self, requests: Sequence[CellPlan]) -> torch.Tensor:
        """Scaled latents (n, 4, h/8, w/8) of requests that share sampler, steps and size."""
        first = requests[0]
        device = self.models.device
        scheduler = make_scheduler(first.sampler, self.scheduler or self.models.source.configs["scheduler"])
        scheduler.set_timesteps(first.steps, device=device)
        if hasattr(scheduler, "set_begin_index"):
            # Else it is looked up by the first timestep, of which Karras' sigmas have several at a zero terminal SNR.
            scheduler.set_begin_index(0)
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        factor = self.models.vae_factor
        shape = (4, first.height // factor, first.width // factor)
        noise = torch.stack([torch.randn(shape, generator=source) for source in generators])
        latents: torch.Tensor = noise.to(device) * scheduler.init_noise_sigma
        guide = self._guidance(requests)
        extra = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
        for number, timestep in enumerate(scheduler.timesteps):
            if self.stop():
                raise Stopped
            predicted = guide(scheduler.scale_model_input(latents, timestep), timestep)
            latents = scheduler.step(predicted, timestep, latents, return_dict=False, **extra)[0]
            self.on_step(number + 1, len(scheduler.timesteps))
        return latents

    def _guidance(self, requests: Sequence[CellPlan]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Classifier-free guidance (Ho and Salimans 2022): a function (latents, timestep) -> predicted noise."""
        scales = torch.tensor([request.cfg for request in requests], device=self.models.device).reshape(-1, 1, 1, 1)
        prompts = [request.prompt for request in requests]
        guided = bool((scales > 1).any())
        states = self.texts(([request.negative for request in requests] if guided else []) + prompts)
        shape = [(r.height, r.width, 0, 0, r.height, r.width) for r in requests] * (2 if guided else 1)
        sizes = torch.tensor(shape, dtype=torch.float32, device=self.models.device)
        arguments = self.models.family.unet_arguments(states, sizes)

        def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            doubled = torch.cat([latents, latents]) if guided else latents
            doubled = self.models.arrange(doubled)
            with autocast(self.models.device, self.precision):
                predicted: torch.Tensor = self.models.unet(doubled, timestep, **arguments, return_dict=False)[0].float()
            if not guided:
                return predicted
            without, with_prompt = predicted.chunk(2)
            mixed: torch.Tensor = without + scales * (with_prompt - without)
            return mixed

        return predict

    def _decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Pictures of scaled latents (n, 4, h, w)."""
        scaled = self.models.arrange(latents / self.models.scaling_factor)
        with autocast(self.models.device, "bf16" if self.precision == "bf16" else "fp32"):
            pixels = self.models.vae.decode(scaled, return_dict=False)[0]
        bytes_ = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        array: np.ndarray = bytes_.permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(picture) for picture in array]


def make_scheduler(name: str, config: dict[str, Any]) -> Any:
    """diffusers' scheduler of a sampler, on the noise schedule and for the prediction of a scheduler config.

    With a zero terminal SNR the steps begin at the last timestep ("trailing"), whose input is noise alone.
    """
    import diffusers

    sampler = registry.component("samplers", name)
    kind = getattr(diffusers, sampler.SCHEDULER)
    wanted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "steps_offset")
    shared = {key: config[key] for key in wanted if key in config}
    if config.get("rescale_betas_zero_snr"):
        shared.update(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    known = inspect.signature(kind.__init__).parameters
    arguments = {key: value for key, value in {**shared, **sampler.ARGUMENTS}.items() if key in known}
    if "clip_sample" in known:
        arguments["clip_sample"] = False
    return kind(**arguments)
