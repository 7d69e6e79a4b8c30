"""Trains the starter model's autoencoder on flat and ink scenes of the icon collections."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from parts import SEED, make_vae
from render import INK, PAPER, WHITE, Colour, flat_scene, ink_scene
from sources import FLAT, HIGH_CONTRAST, read_icons
from torch.nn.functional import avg_pool2d
from training import Average, cosine_rate, load_checkpoint, save_checkpoint, set_rate, settle

STEPS = 2400
FULL_SCENES_FROM = 0.8
PEAK_RATE = 1.5e-3
KL_WEIGHT = 5e-4
TONE_WEIGHT = 3.0
SAVE_EVERY = 250
SKIN_TONES = ("light", "medium-light", "medium", "medium-dark", "dark")


class Scenes:
    """An endless supply of random scenes."""

    def __init__(self, sources: Path) -> None:
        self.flat = [body for name, body in read_icons(sources, FLAT).items() if not _toned(name)]
        self.ink = list(read_icons(sources, HIGH_CONTRAST).values())

    def draw(self, rng: random.Random) -> np.ndarray:
        """Draw one random 128 x 128 scene as bytes."""
        count = 2 if rng.random() < 0.2 else 1
        if rng.random() < 0.25:
            paper, ink = (PAPER, INK) if rng.random() < 0.7 else (WHITE, (0, 0, 0))
            icons = rng.sample(self.ink, count)
            return np.asarray(ink_scene(icons, (128, 128), 1, rng.uniform(0.7, 1.1), paper, ink))
        icons = rng.sample(self.flat, count)
        background = random_background(rng)
        shift = (rng.uniform(-8, 8), rng.uniform(-8, 8))
        scale, flip = rng.uniform(0.7, 1.05), rng.random() < 0.5
        return np.asarray(flat_scene(icons, (128, 128), scale, shift, background, flip))


def _toned(name: str) -> bool:
    return name.endswith(tuple(f"-{tone}" for tone in SKIN_TONES)) or "skin-tone" in name


def random_background(rng: random.Random) -> Colour:
    """Choose a background: mostly white, sometimes light, seldom any colour."""
    chance = rng.random()
    low = 255 if chance < 0.65 else 190 if chance < 0.9 else 0
    return (rng.randint(low, 255), rng.randint(low, 255), rng.randint(low, 255))


def make_batch(scenes: Scenes, step: int, full: bool) -> torch.Tensor:
    """Draw a batch for a step: four whole scenes or 16 quarter-size cuts of eight."""
    rng = random.Random(SEED * 1_000_003 + step)
    pictures = []
    for _ in range(4 if full else 8):
        scene = scenes.draw(rng)
        if rng.random() < 0.15:
            scene = scene[:, :, rng.sample(range(3), 3)]
        if full:
            pictures.append(scene)
            continue
        for _ in range(2):
            left, top = rng.randint(0, 64), rng.randint(0, 64)
            pictures.append(scene[top : top + 64, left : left + 64])
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return (stacked.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def loss_of(vae: AutoencoderKL, batch: torch.Tensor) -> tuple[torch.Tensor, float, float]:
    """Return the training loss, the mean absolute error and the mean KL divergence."""
    with torch.autocast("cpu", torch.bfloat16):
        moments = vae.quant_conv(vae.encoder(batch)).float()
    mean, log_variance = moments.chunk(2, dim=1)
    log_variance = log_variance.clamp(-30, 20)
    latents = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    with torch.autocast("cpu", torch.bfloat16):
        result = vae.decoder(vae.post_quant_conv(latents))
    result = result.float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    error = (result - batch).abs().mean()
    edges = sum((result.diff(dim=d) - batch.diff(dim=d)).abs().mean() for d in (2, 3))
    tone = (avg_pool2d(result, 8) - avg_pool2d(batch, 8)).square().mean()
    return error + edges + TONE_WEIGHT * tone + KL_WEIGHT * kl, float(error.detach()), float(kl.detach())


def train_vae(sources: Path, work: Path, steps: int = STEPS) -> Path:
    """Train, or go on training, the autoencoder; return its checkpoint."""
    settle(SEED)
    path = work / "vae.pt"
    scenes = Scenes(sources)
    vae = make_vae().to(memory_format=torch.channels_last)
    vae.train()
    optimizer = torch.optim.AdamW(vae.parameters(), PEAK_RATE, (0.9, 0.99), weight_decay=1e-4, fused=True)
    average = Average({"vae": vae}, 0.997)
    start = 0
    if saved := load_checkpoint(path):
        vae.load_state_dict(saved["vae"])
        optimizer.load_state_dict(saved["optimizer"])
        average.shadow["vae"] = saved["average"]
        start = saved["step"]
    began = time.time()
    for step in range(start, steps):
        set_rate(optimizer, cosine_rate(step, step / steps, PEAK_RATE, 100))
        batch = make_batch(scenes, step, step >= FULL_SCENES_FROM * steps)
        loss, error, kl = loss_of(vae, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        if step % 50 == 0:
            rate = (step - start + 1) / (time.time() - began)
            print(f"vae {step} loss {loss:.4f} error {error:.4f} kl {kl:.2f} steps/s {rate:.2f}", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save_checkpoint(path, {
                "vae": vae.state_dict(), "average": average.shadow["vae"],
                "optimizer": optimizer.state_dict(), "step": step + 1,
            })  # fmt: skip
    return path


def trained_vae(work: Path) -> AutoencoderKL:
    """Load the trained autoencoder's averaged weights."""
    saved = torch.load(work / "vae.pt", weights_only=True)
    vae = make_vae()
    vae.load_state_dict(saved["average"])
    return vae.eval().requires_grad_(False)


if __name__ == "__main__":
    import sys

    train_vae(Path(sys.argv[1]) / "sources", Path(sys.argv[1]))
