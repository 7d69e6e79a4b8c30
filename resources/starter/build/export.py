"""Exports the parts as a Stable Diffusion pipeline folder with half-precision weights."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from parts import scheduler_config
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

PREFIX = "text_model."


def pipeline_index() -> dict[str, Any]:
    """Return the contents of model_index.json."""
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write content as indented JSON, making the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def tidy_config(path: Path) -> None:
    """Drop the entries about where the weights lay and how exactly they were stored."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for key in ("_name_or_path", "dtype", "torch_dtype", "transformers_version"):
        content.pop(key, None)
    if content.get("model_type") == "clip_text_model":
        content["torch_dtype"] = "float32"
    write_json(path, content)


def name_as_published(path: Path) -> None:
    """Give the text encoder's tensors the prefix that published models have."""
    tensors = load_file(path)
    named = {key if key.startswith(PREFIX) else PREFIX + key: value for key, value in tensors.items()}
    save_file(named, path, metadata={"format": "pt"})


def export_pipeline(
    target: Path,
    tokenizer: Path,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
) -> None:
    """Write the pipeline beside target and rename it into place, so readers never see half of it."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, module in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        module.to(torch.float16).save_pretrained(fresh / name, safe_serialization=True)
        tidy_config(fresh / name / "config.json")
    name_as_published(fresh / "text_encoder" / "model.safetensors")
    write_json(fresh / "scheduler" / "scheduler_config.json", scheduler_config())
    write_json(fresh / "model_index.json", pipeline_index())
    shutil.copytree(tokenizer, fresh / "tokenizer")
    former = target.with_name(f".{target.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        target.rename(former)
    fresh.rename(target)
    shutil.rmtree(former, ignore_errors=True)
