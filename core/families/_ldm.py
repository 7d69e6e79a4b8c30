"""Names of tensors in the original (CompVis) single-file layout, made from a diffusers config; strings only.

The layout is that of the latent-diffusion code (Rombach et al. 2022). The rules below hold for any number of blocks and
layers, so that small models of the same architecture have the same names as the full-size ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.families._layout import Place

#: Where the UNet and the VAE are in a single file, in every family.
UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."

Config = Mapping[str, Any]

_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_modules(config: Config) -> Iterator[tuple[str, str]]:
    """(diffusers module, original module) of the UNet's blocks."""
    down, up = config["down_block_types"], config["up_block_types"]
    layers = config.get("layers_per_block", 2)
    number = 0
    for block, kind in enumerate(down):
        for layer in range(layers):
            number += 1
            yield f"down_blocks.{block}.resnets.{layer}", f"input_blocks.{number}.0"
            if "CrossAttn" in kind:
                yield f"down_blocks.{block}.attentions.{layer}", f"input_blocks.{number}.1"
        if block < len(down) - 1:
            number += 1
            yield f"down_blocks.{block}.downsamplers.0.conv", f"input_blocks.{number}.0.op"
    yield "mid_block.resnets.0", "middle_block.0"
    yield "mid_block.attentions.0", "middle_block.1"
    yield "mid_block.resnets.1", "middle_block.2"
    number = 0
    for block, kind in enumerate(up):
        for layer in range(layers + 1):
            attention = "CrossAttn" in kind
            yield f"up_blocks.{block}.resnets.{layer}", f"output_blocks.{number}.0"
            if attention:
                yield f"up_blocks.{block}.attentions.{layer}", f"output_blocks.{number}.1"
            if layer == layers and block < len(up) - 1:
                place = 2 if attention else 1
                yield f"up_blocks.{block}.upsamplers.0.conv", f"output_blocks.{number}.{place}.conv"
            number += 1


def unet_name(key: str, config: Config) -> str:
    """The original name (without model.diffusion_model.) of a tensor of diffusers' UNet2DConditionModel.

    Raises KeyError for a name that the layout has no place for.
    """
    fixed = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    module, _, leaf = key.rpartition(".")
    if module in fixed:
        return f"{fixed[module]}.{leaf}"
    for ours, theirs in _unet_modules(config):
        if key.startswith(ours + "."):
            rest = key[len(ours) + 1 :]
            if ".resnets." in f".{ours}":
                part, _, leaf = rest.rpartition(".")
                rest = f"{_UNET_RESNET[part]}.{leaf}"
            return f"{theirs}.{rest}"
    raise KeyError(key)


def vae_name(key: str, config: Config) -> str:
    """The original name (without first_stage_model.) of a tensor of diffusers' AutoencoderKL."""
    blocks = len(config["block_out_channels"])
    parts = key.split(".")
    if parts[0] not in ("encoder", "decoder"):
        return key
    side, rest = parts[0], parts[1:]
    if rest[0] == "conv_norm_out":
        return ".".join([side, "norm_out", *rest[1:]])
    if rest[0] == "mid_block":
        if rest[1] == "resnets":
            name = [side, "mid", f"block_{int(rest[2]) + 1}", *rest[3:]]
            return _rename_part(".".join(name), _VAE_RESNET)
        inner = _rename_part(".".join(rest[3:]), _VAE_ATTENTION)
        return f"{side}.mid.attn_1.{inner}"
    if rest[0] in ("down_blocks", "up_blocks"):
        place = int(rest[1]) if rest[0] == "down_blocks" else blocks - 1 - int(rest[1])
        way = rest[0].split("_")[0]
        if rest[2] == "resnets":
            return _rename_part(".".join([side, way, str(place), "block", *rest[3:]]), _VAE_RESNET)
        return ".".join([side, way, str(place), f"{way}sample", *rest[4:]])
    return key


def _rename_part(name: str, renames: Mapping[str, str]) -> str:
    """Replace a whole dotted part of a name."""
    for old, new in renames.items():
        if f".{old}." in f".{name}.":
            return f".{name}.".replace(f".{old}.", f".{new}.").strip(".")
    return name


def unet_place(key: str, config: Config) -> Place:
    """Place of a tensor of the UNet."""
    return Place(UNET_PREFIX + unet_name(key, config))


def vae_place(key: str, config: Config) -> Place:
    """Place of a tensor of the VAE; its attention's matrices are 1x1 convolutions in the file."""
    matrix = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")
    return Place(VAE_PREFIX + vae_name(key, config), convolution=".attentions." in key and key.endswith(matrix))


def clip_place(key: str, prefix: str) -> Place:
    """Place of a tensor of a CLIP text encoder that the file keeps under transformers' names."""
    return Place(f"{prefix}text_model.{key.removeprefix('text_model.')}")
