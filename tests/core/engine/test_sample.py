"""Tests of core/engine/sample.py: samplers follow the prediction and the schedule that a model is trained with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core import events as ev
from core import registry
from core.engine.model_files import open_model
from core.engine.models import Models
from core.engine.noise import NoiseSchedule
from core.engine.sample import Drawing, make_scheduler
from core.engine.text_states import TextStates
from core.grid import CellPlan
from core.settings import Settings
from tests.core.engine.helpers import train

Make = Callable[..., Settings]

SD15: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
V_ZTSNR = {**SD15, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


class Oracle:
    """A UNet that knows the picture: its answer is exactly right for `latent` on the schedule of a config."""

    def __init__(self, latent: torch.Tensor, config: dict[str, Any]) -> None:
        self.schedule = NoiseSchedule.from_config(config)
        self.latent = latent

    def __call__(self, noisy: torch.Tensor, timestep: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        timesteps = timestep.round().long().expand(len(noisy))
        alphas = self.schedule.alphas[timesteps].reshape(-1, 1, 1, 1)
        noise = (noisy - alphas.sqrt() * self.latent) / (1 - alphas).sqrt()
        return (self.schedule.target(self.latent.expand_as(noisy), noise, timesteps),)


@pytest.mark.parametrize("config", [SD15, {**SD15, "prediction_type": "v_prediction"}, V_ZTSNR])
@pytest.mark.parametrize("sampler", registry.names("samplers"))
def test_a_right_answer_leads_to_the_picture(sampler: str, config: dict[str, Any], tiny_model: Path) -> None:
    models = Models(open_model(tiny_model), torch.device("cpu"))
    models.load("text_encoder", "tokenizer")
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(5))
    models.unet = Oracle(latent, config)
    drawing = Drawing(models, TextStates(models, "fp32").get, "fp32", scheduler=config)
    cell = CellPlan("", "noise", "", 3, 1.0, 30, sampler, 64, 64)
    found = drawing._denoise([cell])[0]
    # The last step ends at the first timestep, which has a little noise yet.
    assert float((found - latent).abs().mean()) < 0.06


@pytest.mark.parametrize("sampler", registry.names("samplers"))
def test_with_a_zero_terminal_snr_drawing_begins_with_noise_alone(sampler: str) -> None:
    scheduler = make_scheduler(sampler, V_ZTSNR)
    scheduler.set_timesteps(10)
    assert scheduler.config.prediction_type == "v_prediction"
    assert float(scheduler.timesteps[0]) == 999
    assert float(scheduler.alphas_cumprod[-1]) < 1e-6
    plain = make_scheduler(sampler, SD15)
    assert plain.config.prediction_type == "epsilon" and float(plain.alphas_cumprod[-1]) > 1e-3


def test_an_override_reaches_the_samples_of_a_run(make_settings: Make, tmp_path: Path) -> None:
    """Weights that hardly move: only what the samples take them for differs."""
    pictures = []
    for prediction in ("epsilon", "v-prediction"):
        settings = make_settings(
            model__prediction=prediction, training__learning_rate=1e-12, training__max_steps=1,
            sample__prompts=["noise"], sample__every_steps=1, sample__steps=3, validation__every_steps=1,
        )  # fmt: skip
        run, told = train(settings, tmp_path / prediction)
        sample = next(event for event in told if isinstance(event, ev.Sample))
        pictures.append(np.asarray(Image.open(run.path / sample.path)).astype(int))
        measured = [e.loss for e in told if isinstance(e, ev.Evaluated)]
        assert all(0.1 < loss < 10 for loss in measured)
    assert np.abs(pictures[0] - pictures[1]).max() > 2
