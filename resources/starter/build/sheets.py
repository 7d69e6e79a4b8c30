"""Draws labelled sheets: samples of the finished model for fixed prompts, and the autoencoder's reconstructions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from latents import encode
from parts import SEED
from PIL import Image, ImageDraw
from render import flat_scene, ink_scene
from sources import FLAT, HIGH_CONTRAST, Subject, read_icons, read_subjects
from train_vae import trained_vae
from world import with_article

COLUMNS = 8
SHEET_PROMPTS = 64
LABEL_HEIGHT = 28
STEPS = 30
GUIDANCE = 4.0


def sheet_subjects(subjects: Sequence[Subject]) -> list[Subject]:
    """Choose the sheet's subjects: evenly spread over the world, whatever the model makes of them."""
    return [subjects[number * len(subjects) // SHEET_PROMPTS] for number in range(SHEET_PROMPTS)]


def load_pipeline(model: Path) -> StableDiffusionPipeline:
    """Load the exported model with a DDIM sampler."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, local_files_only=True, torch_dtype=torch.float32)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(pipeline: StableDiffusionPipeline, prompts: Sequence[str], batch: int = 16) -> list[Image.Image]:
    """Draw one 128 x 128 picture for each prompt, each from its own fixed seed."""
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(SEED + start + number) for number in range(len(part))]
        with torch.autocast("cpu", torch.bfloat16):
            result = pipeline(
                part,
                height=128,
                width=128,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=generators,
            )
        pictures.extend(result.images)
    return pictures


def labelled_sheet(pictures: Sequence[Image.Image], labels: Sequence[str]) -> Image.Image:
    """Lay pictures out in rows of eight with their labels beneath."""
    width, height = pictures[0].width, pictures[0].height + LABEL_HEIGHT
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        sheet.paste(picture, (left, top))
        lines = textwrap.wrap(label, 20)[:2]
        for row, line in enumerate(lines):
            draw.text((left + width // 2, top + picture.height + 7 + 12 * row), line, fill=(0, 0, 0), anchor="mm")
    return sheet


def draw_sample_sheet(sources: Path, model: Path, target: Path) -> None:
    """Draw the sheet of 64 samples."""
    subjects = sheet_subjects(read_subjects(sources))
    pictures = sample(load_pipeline(model), [f"a flat emoji picture of {with_article(s.label)}" for s in subjects])
    target.parent.mkdir(parents=True, exist_ok=True)
    labelled_sheet(pictures, [subject.label for subject in subjects]).save(target, optimize=True)


@torch.no_grad()
def draw_vae_sheet(sources: Path, work: Path, target: Path) -> None:
    """Draw originals with their reconstructions beneath: flat scenes, then stamps."""
    subjects = sheet_subjects(read_subjects(sources))[1::2]
    flat, ink = read_icons(sources, FLAT), read_icons(sources, HIGH_CONTRAST)
    pictures = [flat_scene([flat[s.slug]]) for s in subjects[:24]] + [ink_scene([ink[s.slug]]) for s in subjects[24:]]
    vae = trained_vae(work)
    latents = encode(vae, [np.asarray(picture) for picture in pictures])
    decoded = torch.cat([vae.decode(part).sample for part in latents.split(8)])
    pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows, labels = [], []
    for start in range(0, len(pictures), COLUMNS):
        rows += [*pictures[start : start + COLUMNS], *map(Image.fromarray, pixels[start : start + COLUMNS])]
        labels += [s.label for s in subjects[start : start + COLUMNS]] + [""] * COLUMNS
    labelled_sheet(rows, labels).save(target)
