"""CLIP text encoders (transformers) and the VAE (diffusers' AutoencoderKL) from their configs: every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.anatomy.layers import Layer, Maker

Config = Mapping[str, Any]


def has_projection(config: Config) -> bool:
    """Whether a text encoder's config is that of CLIPTextModelWithProjection (SDXL's second encoder)."""
    return "CLIPTextModelWithProjection" in (config.get("architectures") or ())


def clip_layers(config: Config) -> list[Layer]:
    """All layers of CLIPTextModel, or of CLIPTextModelWithProjection where the config names that.

    The names are those of transformers 5: only the model with the projection has "text_model." in front.
    """
    projected = has_projection(config)
    prefix = "text_model." if projected else ""
    width = int(config["hidden_size"])
    start, end = Maker("embeddings"), Maker("out")
    layers = [
        Layer(f"{prefix}embeddings.{name}", "embedding", (rows, width), False, start.block, "embedding")
        for name, rows in (
            ("token_embedding", int(config.get("vocab_size", 49408))),
            ("position_embedding", int(config.get("max_position_embeddings", 77))),
        )
    ]
    for number in range(int(config["num_hidden_layers"])):
        layers += _clip_layer(Maker(f"layer {number}"), f"{prefix}encoder.layers.{number}", config)
    layers.append(end.norm(f"{prefix}final_layer_norm", width, "layer norm"))
    if projected:
        wide = (width, int(config.get("projection_dim", 512)))
        layers.append(end.linear("text_projection", wide, "projection", bias=False))
    return layers


def _clip_layer(make: Maker, name: str, config: Config) -> Iterator[Layer]:
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    yield make.norm(f"{name}.layer_norm1", width, "layer norm")
    for end in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield make.linear(f"{name}.self_attn.{end}", (width, width), "self-attention")
    yield make.norm(f"{name}.layer_norm2", width, "layer norm")
    yield make.linear(f"{name}.mlp.fc1", (width, inner), "feed-forward")
    yield make.linear(f"{name}.mlp.fc2", (inner, width), "feed-forward")


def vae_layers(config: Config) -> list[Layer]:
    """All layers of AutoencoderKL: encoder, decoder, and the two convolutions around the latents."""
    widths = [int(width) for width in config["block_out_channels"]]
    count = int(config.get("layers_per_block", 1))
    latent = int(config.get("latent_channels", 4))
    layers = list(_vae_side("encoder", int(config.get("in_channels", 3)), 2 * latent, widths, count))
    layers += _vae_side("decoder", latent, int(config.get("out_channels", 3)), widths[::-1], count + 1)
    if config.get("use_quant_conv", True):
        layers.append(Maker("encoder").conv("quant_conv", (2 * latent, 2 * latent), 1, "conv in/out"))
    if config.get("use_post_quant_conv", True):
        layers.append(Maker("decoder").conv("post_quant_conv", (latent, latent), 1, "conv in/out"))
    return layers


def _vae_side(side: str, channels_in: int, channels_out: int, widths: list[int], count: int) -> Iterator[Layer]:
    """The encoder ("down", widths from the outside in) or the decoder ("up", from the inside out)."""
    make = Maker(side)
    way = "down" if side == "encoder" else "up"
    inmost = widths[-1] if side == "encoder" else widths[0]
    yield make.conv(f"{side}.conv_in", (channels_in, widths[0]), 3, "conv in/out")
    before = widths[0]
    for number, width in enumerate(widths):
        path = f"{side}.{way}_blocks.{number}"
        for resnet in range(count):
            yield from make.resnet(f"{path}.resnets.{resnet}", (before, width))
            before = width
        if number < len(widths) - 1:
            yield make.conv(f"{path}.{way}samplers.0.conv", (width, width), 3, "sampler")
    yield from _vae_middle(make, f"{side}.mid_block", inmost)
    yield make.norm(f"{side}.conv_norm_out", widths[-1])
    yield make.conv(f"{side}.conv_out", (widths[-1], channels_out), 3, "conv in/out")


def _vae_middle(make: Maker, path: str, width: int) -> Iterator[Layer]:
    for number in (0, 1):
        yield from make.resnet(f"{path}.resnets.{number}", (width, width))
    attention = f"{path}.attentions.0"
    yield make.norm(f"{attention}.group_norm", width)
    for end in ("to_q", "to_k", "to_v", "to_out.0"):
        yield make.linear(f"{attention}.{end}", (width, width), "self-attention")
