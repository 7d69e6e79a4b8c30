"""The starter model's parts: small members of the Stable Diffusion 1.5 family, and its noise schedule."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

TEXT_WIDTH = 96
SEED = 15

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}


def make_vae() -> AutoencoderKL:
    """Build the autoencoder: downscale factor 8, four latent channels, attention in the middle."""
    torch.manual_seed(SEED)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(48, 96, 96, 96),
        layers_per_block=2,
        act_fn="silu",
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
    )


def make_unet() -> UNet2DConditionModel:
    """Build the denoiser: three levels, one layer a block, cross attention on the upper two."""
    torch.manual_seed(SEED)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        center_input_sample=False,
        flip_sin_to_cos=True,
        freq_shift=0,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        downsample_padding=1,
        mid_block_scale_factor=1,
        act_fn="silu",
        norm_num_groups=32,
        norm_eps=1e-5,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )


def make_text_encoder() -> CLIPTextModel:
    """Build the text encoder: CLIP's layout with its full vocabulary, narrow and two layers deep."""
    torch.manual_seed(SEED)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    return CLIPTextModel(config)


def make_sampler() -> DDIMScheduler:
    """Build the DDIM scheduler with the family's schedule."""
    return DDIMScheduler(clip_sample=False, **SCHEDULE)


def scheduler_config() -> dict[str, Any]:
    """Return the contents of scheduler_config.json as the family publishes it."""
    return {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.42.1",
        **SCHEDULE,
        "clip_sample": False,
        "skip_prk_steps": True,
        "timestep_spacing": "leading",
    }


def signal_to_noise() -> torch.Tensor:
    """Return the signal-to-noise ratio of every training timestep."""
    alphas = make_sampler().alphas_cumprod
    return alphas / (1 - alphas)


def parameter_count(module: torch.nn.Module) -> int:
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
