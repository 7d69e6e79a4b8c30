"""Tests of core/anatomy: names and shapes against the modules of diffusers and transformers, on the meta device."""

from __future__ import annotations

import json
from typing import Any

import pytest
from accelerate import init_empty_weights

from core.anatomy.encoders import clip_layers, has_projection, vae_layers
from core.anatomy.layers import BLOCKS, KINDS, Layer, tensors_of, weights_of
from core.anatomy.unet import block_of, unet_layers
from core.errors import UserError
from core.paths import RESOURCES
from tests.fixtures.tiny_model import TEXT, UNET, VAE

#: All that SDXL has and SD 1.5 has not, and depths and heads that differ from block to block.
SMALL_XL: dict[str, Any] = {
    **UNET,
    "use_linear_projection": True,
    "block_out_channels": [16, 32, 48],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 3],
    "attention_head_dim": [2, 4, 8],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}
#: SD 2.x: matrices around the transformers, heads by block.
SMALL_2: dict[str, Any] = {**UNET, "use_linear_projection": True, "attention_head_dim": [2, 4], "layers_per_block": 3}


def shipped(family: str, part: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((RESOURCES / "models" / family / part / "config.json").read_text("utf-8"))
    return config


def real_shapes(part: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the real module."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with init_empty_weights():
        if part == "unet":
            module: Any = UNet2DConditionModel.from_config(config)
        elif part == "vae":
            module = AutoencoderKL.from_config(config)
        else:
            kind = CLIPTextModelWithProjection if has_projection(config) else CLIPTextModel
            module = kind(CLIPTextConfig(**{key: v for key, v in config.items() if key != "architectures"}))
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def our_shapes(layers: list[Layer]) -> dict[str, tuple[int, ...]]:
    tensors = tensors_of(layers)
    assert len({tensor.name for tensor in tensors}) == len(tensors)
    return {tensor.name: tensor.shape for tensor in tensors}


@pytest.mark.parametrize(
    "config",
    [shipped("sd15", "unet"), shipped("sd2", "unet"), shipped("sdxl", "unet"), UNET, SMALL_XL, SMALL_2],
    ids=["SD 1.5", "SD 2.x", "SDXL", "tiny", "small XL", "small 2.x"],
)
def test_every_tensor_of_the_unet(config: dict[str, Any]) -> None:
    assert our_shapes(unet_layers(config)) == real_shapes("unet", config)


@pytest.mark.parametrize(
    ("config", "part"),
    [
        (shipped("sd15", "vae"), "vae"),
        (VAE, "vae"),
        ({**VAE, "use_quant_conv": False, "use_post_quant_conv": False, "layers_per_block": 2}, "vae"),
        (shipped("sd15", "text_encoder"), "text_encoder"),
        (shipped("sdxl", "text_encoder_2"), "text_encoder"),
        (TEXT, "text_encoder"),
    ],
    ids=["VAE", "tiny VAE", "VAE without quant", "CLIP-L", "OpenCLIP-G", "tiny CLIP"],
)
def test_every_tensor_of_the_encoders(config: dict[str, Any], part: str) -> None:
    layers = vae_layers(config) if part == "vae" else clip_layers(config)
    assert our_shapes(layers) == real_shapes(part, config)


def test_the_full_sizes() -> None:
    assert weights_of(unet_layers(shipped("sd15", "unet"))) == 859_520_964
    assert weights_of(unet_layers(shipped("sdxl", "unet"))) == 2_567_463_684


def share(family: str, blocks: tuple[str, ...] = (), kinds: tuple[str, ...] = ()) -> float:
    layers = unet_layers(shipped(family, "unet"))
    chosen = [x for x in layers if (not blocks or x.block in blocks) and (not kinds or x.kind in kinds)]
    return 100 * weights_of(chosen) / weights_of(layers)


def test_shares_of_blocks_and_kinds() -> None:
    all_but = tuple(block for block in BLOCKS if block != "down 2")
    assert share("sdxl", ("mid", "up 0")) == pytest.approx(63.1, abs=0.05)
    assert share("sdxl", all_but) == pytest.approx(70.5, abs=0.05)
    assert share("sdxl", kinds=("self-attention", "cross-attention")) == pytest.approx(37.2, abs=0.05)
    assert share("sd15", ("mid", "up 0", "up 1", "up 2", "up 3")) == pytest.approx(70.7, abs=0.05)


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_blocks_and_kinds_have_known_names(family: str) -> None:
    layers = unet_layers(shipped(family, "unet"))
    assert {layer.block for layer in layers} <= set(BLOCKS)
    assert {layer.kind for layer in layers} == set(KINDS)
    by_name = {layer.name: layer for layer in layers}
    assert by_name["mid_block.attentions.0.transformer_blocks.0.attn2.to_k"].kind == "cross-attention"
    assert by_name["up_blocks.0.upsamplers.0.conv"].kind == "sampler"
    assert by_name["up_blocks.0.upsamplers.0.conv"].block == "up 0"
    assert by_name["conv_norm_out"].kind == "norm" and by_name["conv_norm_out"].block == "out"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type = 'timestep'"),
        ({"down_block_types": ["AttnDownBlock2D", "DownBlock2D"]}, "the block AttnDownBlock2D"),
    ],
)
def test_an_unknown_kind_of_unet_is_said(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        unet_layers({**UNET, **change})


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_a_name_tells_the_block(family: str) -> None:
    for tensor in tensors_of(unet_layers(shipped(family, "unet"))):
        assert block_of(tensor.name) == block_of(f"{tensor.layer}.lora_A.default.weight") == tensor.block
