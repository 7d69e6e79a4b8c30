"""Writes the published configuration files of the full-size Stable Diffusion 1.5 (no weights)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from export import pipeline_index, write_json
from parts import parameter_count, scheduler_config

UNET_PARAMETERS = 859_520_964

UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}

VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}

TEXT_ENCODER: dict[str, Any] = {
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 1,
    "projection_dim": 768,
    "vocab_size": 49408,
}


def count_unet_parameters() -> int:
    """Count the full UNet's parameters without giving them memory."""
    with torch.device("meta"):
        return parameter_count(UNet2DConditionModel.from_config(UNET))


def write_sd15_layout(folder: Path, tokenizer: Path) -> None:
    """Write every configuration file and the tokenizer into folder, after checking the UNet's size."""
    assert count_unet_parameters() == UNET_PARAMETERS
    write_json(folder / "unet" / "config.json", UNET)
    write_json(folder / "vae" / "config.json", VAE)
    write_json(folder / "text_encoder" / "config.json", TEXT_ENCODER)
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler_config())
    write_json(folder / "model_index.json", pipeline_index())
    shutil.copytree(tokenizer, folder / "tokenizer", dirs_exist_ok=True)
