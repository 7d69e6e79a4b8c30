"""Draws the same picture with our sampler and with diffusers', so that the two can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.engine.model_files import open_model
from core.engine.models import Models
from core.engine.sample import Drawing
from core.engine.text_states import TextStates
from core.grid import CellPlan

CELL = CellPlan("", "a noisy thing", "blue", 7, 3.0, 4, "ddim", 64, 64)


def whole_models(path: Path) -> Models:
    """All parts of a model in memory, in 32 bits."""
    models = Models(open_model(path), torch.device("cpu"))
    models.load("unet", "vae", *models.text_parts, "tokenizer")
    return models


def draw(models: Models, cell: CellPlan = CELL) -> np.ndarray:
    """Our picture of a cell."""
    drawing = Drawing(models, TextStates(models, "fp32").get, "fp32")
    return np.asarray(next(iter(drawing.draw([cell], 1)))[1]).astype(int)


def draw_by_diffusers(pipeline: Any, cell: CellPlan = CELL) -> np.ndarray:
    """The picture of a cell by a pipeline of diffusers, with the sampler that ours means."""
    from diffusers import DDIMScheduler

    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, set_alpha_to_one=False, clip_sample=False, timestep_spacing="leading"
    )
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn(1, 4, cell.height // 8, cell.width // 8, generator=torch.Generator().manual_seed(cell.seed))
    image = pipeline(
        cell.prompt,
        negative_prompt=cell.negative,
        num_inference_steps=cell.steps,
        guidance_scale=cell.cfg,
        latents=latents,
        height=cell.height,
        width=cell.width,
    ).images[0]
    return np.asarray(image).astype(int)
