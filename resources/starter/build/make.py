"""Makes everything in the starter folder again: python resources/starter/build/make.py (hours of processor time)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import train_text
import train_unet
import train_vae
from export import export_pipeline
from latents import cache_latents
from sd15_layout import write_sd15_layout
from sheets import draw_sample_sheet, draw_vae_sheet
from sources import fetch_sources, vocabulary_wheel
from starter_pictures import draw_starter_pictures
from tokenizer import write_tokenizer
from train_unet import trained_unet
from train_vae import trained_vae

RESOURCES = Path(__file__).resolve().parents[2]
STEPS = {"vae": train_vae.STEPS, "text": train_text.STEPS, "unet": train_unet.STEPS}
TRIAL_STEPS = 3


def export_model(work: Path, scaling_factor: float, target: Path) -> None:
    """Export the averaged weights with the latents' scaling factor."""
    vae = trained_vae(work)
    vae.register_to_config(scaling_factor=scaling_factor)
    unet, text_encoder = trained_unet(work)
    export_pipeline(target, work / "tokenizer", vae, unet, text_encoder)


def make(work: Path, resources: Path, steps: dict[str, int]) -> None:
    """Fetch, render, train, export and draw the sheets; what work already holds is not done again."""
    import torch

    starter = resources / "starter"
    sources = work / "sources"
    fetch_sources(sources)
    write_tokenizer(vocabulary_wheel(sources), work / "tokenizer")
    write_sd15_layout(resources / "models" / "sd15", work / "tokenizer")
    print(f"{draw_starter_pictures(sources, starter)} starter pictures", flush=True)
    train_vae.train_vae(sources, work, steps["vae"])
    draw_vae_sheet(sources, work, work / "vae-sheet.png")
    latents = cache_latents(sources, work, trained_vae(work))
    train_text.train_text(sources, work, steps["text"])
    train_unet.train_unet(sources, work, steps["unet"])
    scaling_factor = torch.load(latents, weights_only=True)["scaling_factor"]
    export_model(work, scaling_factor, starter / "model")
    draw_sample_sheet(sources, starter / "model", resources / "docs" / "starter-sheet.png")


def main() -> None:
    """Read the command line and make everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(tempfile.gettempdir()) / "burnish-starter"
    parser.add_argument("--work", type=Path, default=default, help="folder for downloads, caches and checkpoints")
    parser.add_argument("--trial", type=Path, help="go through everything with few steps and write into this folder")
    chosen = parser.parse_args()
    if chosen.trial:  # with a work folder of its own, or the real run would go on from the trial's weights
        make(chosen.trial / "work", chosen.trial, dict.fromkeys(STEPS, TRIAL_STEPS))
    else:
        make(chosen.work, RESOURCES, STEPS)


if __name__ == "__main__":
    main()
