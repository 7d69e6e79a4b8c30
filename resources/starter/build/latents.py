"""Encodes the base world's scenes once, so that the denoiser's training reads only latents."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from parts import SEED
from render import WHITE, Colour, flat_scene
from sources import FLAT, Subject, read_icons, read_subjects

SHAPES = {"square": (128, 128), "wide": (160, 96), "tall": (96, 160)}
SQUARE_VARIANTS = 6
TINTS: dict[str, Colour] = {
    "pale yellow": (255, 246, 205), "beige": (240, 226, 196), "pale blue": (214, 234, 252),
    "pale pink": (253, 222, 230), "pale green": (220, 244, 218), "light grey": (226, 226, 230),
}  # fmt: skip
LETTERED = {
    "calendar", "newspaper", "1st-place-medal", "stop-sign", "hospital", "pool-8-ball", "atm-sign", "soccer-ball",
    "dollar-banknote", "game-die", "clapper-board", "slot-machine", "japanese-castle", "abacus",
}  # fmt: skip

Scene = tuple[list[int], str, np.ndarray]


def make_scene(
    subjects: list[Subject],
    icons: dict[str, str],
    shape: str,
    chosen: list[int],
    rng: random.Random,
    tinted: bool,
) -> Scene:
    """Draw one varied scene; return its subjects' numbers, the name of its tint and its pixels."""
    tint = rng.choice(sorted(TINTS)) if tinted else ""
    documents = [icons[subjects[number].slug] for number in chosen]
    lettered = any(subjects[number].slug in LETTERED for number in chosen)
    picture = flat_scene(
        documents,
        SHAPES[shape],
        rng.uniform(0.88, 0.97),
        (rng.uniform(-4, 4), rng.uniform(-4, 4)),
        TINTS.get(tint, WHITE),
        flip=not lettered and rng.random() < 0.25,
    )
    return chosen, tint, np.asarray(picture)


def make_scenes(subjects: list[Subject], icons: dict[str, str], shape: str) -> list[Scene]:
    """Draw every scene of one shape."""
    rng = random.Random(f"{SEED}-{shape}")
    scenes = []
    for number in range(len(subjects)):
        if shape == "square":
            for variant in range(SQUARE_VARIANTS):
                scenes.append(make_scene(subjects, icons, shape, [number], rng, tinted=variant == 5))
            continue
        scenes.append(make_scene(subjects, icons, shape, [number], rng, tinted=False))
        partner = rng.randrange(len(subjects))
        scenes.append(make_scene(subjects, icons, shape, [number, partner], rng, tinted=False))
    return scenes


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: list[np.ndarray]) -> torch.Tensor:
    """Encode pictures of one size to the means of their latents (not scaled)."""
    results = []
    for start in range(0, len(pictures), 16):
        batch = torch.from_numpy(np.stack(pictures[start : start + 16])).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            moments = vae.encode(batch.float() / 127.5 - 1).latent_dist
        results.append(moments.mean.float())
    return torch.cat(results)


def cache_latents(sources: Path, work: Path, vae: AutoencoderKL) -> Path:
    """Encode all scenes of all shapes into one file, with the scaling factor."""
    path = work / "latents.pt"
    if path.exists():
        return path
    subjects, icons = read_subjects(sources), read_icons(sources, FLAT)
    content: dict[str, Any] = {}
    for shape in SHAPES:
        scenes = make_scenes(subjects, icons, shape)
        content[shape] = {
            "subjects": [scene[0] for scene in scenes],
            "tints": [scene[1] for scene in scenes],
            "latents": encode(vae, [scene[2] for scene in scenes]),
        }
        print(f"latents {shape} {len(scenes)}", flush=True)
    content["scaling_factor"] = round(1 / float(content["square"]["latents"].std()), 5)
    torch.save(content, path)
    return path
