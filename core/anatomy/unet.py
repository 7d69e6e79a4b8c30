"""The UNet of diffusers (UNet2DConditionModel) from its config: plan of the blocks, and every layer.

Follows Rombach et al. 2022 (SD 1.x, 2.x) and Podell et al. 2023 (SDXL); any widths, depths and numbers of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.anatomy.layers import Layer, Maker
from core.errors import UserError

Config = Mapping[str, Any]

#: Options of the config that change the architecture, with the values that are understood here.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "addition_embed_type": (None, "text_time"),
    "time_embedding_type": (None, "positional"),
    "time_cond_proj_dim": (None,),
    "resnet_time_scale_shift": (None, "default"),
    "attention_type": (None, "default"),
    "dual_cross_attention": (None, False),
    "only_cross_attention": (None, False),
    "mid_block_type": (None, "UNetMidBlock2DCrossAttn"),
    "conv_in_kernel": (None, 3),
    "conv_out_kernel": (None, 3),
    "reverse_transformer_layers_per_block": (None,),
}
#: Blocks of the modules that stand alone.
_LONE_MODULES = {
    "time_embedding": "time embedding",
    "add_embedding": "time embedding",
    "conv_in": "in",
    "mid_block": "mid",
    "conv_norm_out": "out",
    "conv_out": "out",
}
_BLOCK_TYPES = ("DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the UNet.

    Attributes:
        name: "down 0", "mid", "up 2" ...
        path: Its module ("down_blocks.0").
        resnets: (channels in, channels out) of each; those of an up block include the skip connection.
        depths: Transformer layers after each resnet; () for a block without attention. The middle block has one
            attention less than resnets.
        heads: Heads of its attention.
        context: Width of the text states.
        sampler: "down", "up" or "".
    """

    name: str
    path: str
    resnets: tuple[tuple[int, int], ...]
    depths: tuple[int, ...]
    heads: int
    context: int
    sampler: str

    @property
    def width(self) -> int:
        """Channels that it puts out."""
        return self.resnets[-1][1]


@dataclass(frozen=True, slots=True)
class UnetPlan:
    """What the config says, with every list filled in.

    Attributes:
        added_width: Numbers of SDXL's additional conditioning (pooled text, sizes), 0 without.
        linear_projection: Whether the projections around the transformers are matrices (SD 2.x, SDXL) or convolutions.
    """

    channels: tuple[int, int]
    base: int
    time_width: int
    added_width: int
    linear_projection: bool
    down: tuple[Block, ...]
    mid: Block | None
    up: tuple[Block, ...]


def _each(value: Any, count: int) -> list[Any]:
    """A value for each block: lists as they are, a single value repeated."""
    return list(value) if isinstance(value, list | tuple) else [value] * count


def plan_unet(config: Config) -> UnetPlan:
    """The plan of a config; UserError for an architecture that is not known here."""
    _require_known(config)
    widths = list(config["block_out_channels"])
    count = len(widths)
    layers = _each(config.get("layers_per_block", 2), count)
    depths = _each(config.get("transformer_layers_per_block") or 1, count)
    heads = _each(config.get("num_attention_heads") or config.get("attention_head_dim", 8), count)
    contexts = _each(config.get("cross_attention_dim") or 1280, count)
    time_width = config.get("time_embedding_dim") or widths[0] * 4
    middle = None
    if config.get("mid_block_type", "UNetMidBlock2DCrossAttn"):
        wide = (widths[-1], widths[-1])
        middle = Block("mid", "mid_block", (wide, wide), (int(depths[-1]),), int(heads[-1]), int(contexts[-1]), "")
    kinds = (config["down_block_types"], config["up_block_types"])
    return UnetPlan(
        channels=(int(config.get("in_channels", 4)), int(config.get("out_channels", 4))),
        base=widths[0],
        time_width=time_width,
        added_width=_added_width(config),
        linear_projection=bool(config.get("use_linear_projection", False)),
        down=tuple(_down(kinds[0], widths, layers, depths, heads, contexts)),
        mid=middle,
        up=tuple(_up(kinds[1], widths[::-1], layers[::-1], depths[::-1], heads[::-1], contexts[::-1])),
    )


def _require_known(config: Config) -> None:
    for key, allowed in _PLAIN.items():
        if config.get(key) not in allowed:
            raise UserError(f"The UNet's config says {key} = {config[key]!r}, a kind of model that is not known here.")
    for kind in (*config["down_block_types"], *config["up_block_types"]):
        if kind not in _BLOCK_TYPES:
            raise UserError(f"The UNet's config names the block {kind}, a kind of model that is not known here.")


def _added_width(config: Config) -> int:
    if config.get("addition_embed_type") != "text_time":
        return 0
    return int(config["projection_class_embeddings_input_dim"])


def _down(
    kinds: list[str], widths: list[int], layers: list[int], depths: list[Any], heads: list[int], contexts: list[int]
) -> Iterator[Block]:
    before = widths[0]
    for number, (kind, width) in enumerate(zip(kinds, widths, strict=True)):
        resnets = ((before, width), *(((width, width),) * (layers[number] - 1)))
        deep = tuple(_each(depths[number], layers[number])) if "CrossAttn" in kind else ()
        sampler = "down" if number < len(widths) - 1 else ""
        yield Block(f"down {number}", f"down_blocks.{number}", resnets, deep, heads[number], contexts[number], sampler)
        before = width


def _up(
    kinds: list[str], widths: list[int], layers: list[int], depths: list[Any], heads: list[int], contexts: list[int]
) -> Iterator[Block]:
    """`widths` and all other lists from the inside out."""
    last = len(widths) - 1
    before = widths[0]
    for number, (kind, width) in enumerate(zip(kinds, widths, strict=True)):
        count = layers[number] + 1
        beyond = widths[min(number + 1, last)]
        skips = [width] * (count - 1) + [beyond]
        arriving = [before] + [width] * (count - 1)
        resnets = tuple((own + skip, width) for own, skip in zip(arriving, skips, strict=True))
        deep = tuple(_each(depths[number], count)) if "CrossAttn" in kind else ()
        sampler = "up" if number < last else ""
        yield Block(f"up {number}", f"up_blocks.{number}", resnets, deep, heads[number], contexts[number], sampler)
        before = width


def unet_layers(config: Config) -> list[Layer]:
    """All layers of the UNet in the order in which the data pass them."""
    plan = plan_unet(config)
    time, start, end = Maker("time embedding"), Maker("in"), Maker("out")
    layers = [
        time.linear("time_embedding.linear_1", (plan.base, plan.time_width), "time embedding"),
        time.linear("time_embedding.linear_2", (plan.time_width, plan.time_width), "time embedding"),
    ]
    if plan.added_width:
        layers += [
            time.linear("add_embedding.linear_1", (plan.added_width, plan.time_width), "time embedding"),
            time.linear("add_embedding.linear_2", (plan.time_width, plan.time_width), "time embedding"),
        ]
    layers.append(start.conv("conv_in", (plan.channels[0], plan.base), 3, "conv in/out"))
    for block in (*plan.down, *([plan.mid] if plan.mid else []), *plan.up):
        layers += _block_layers(block, plan)
    layers.append(end.norm("conv_norm_out", plan.base))
    layers.append(end.conv("conv_out", (plan.base, plan.channels[1]), 3, "conv in/out"))
    return layers


def block_of(name: str) -> str:
    """The block ("down 0", "mid", "in" ...) of a tensor or module of the UNet by its name in diffusers' module.

    Raises KeyError for a name that is not the UNet's.
    """
    first, _, rest = name.partition(".")
    if first in ("down_blocks", "up_blocks"):
        return f"{first.removesuffix('_blocks')} {rest.partition('.')[0]}"
    return _LONE_MODULES[first]


def _block_layers(block: Block, plan: UnetPlan) -> Iterator[Layer]:
    make = Maker(block.name)
    for number, wide in enumerate(block.resnets):
        yield from make.resnet(f"{block.path}.resnets.{number}", wide, plan.time_width)
    for number, depth in enumerate(block.depths):
        yield from _transformer(make, f"{block.path}.attentions.{number}", block, depth, plan.linear_projection)
    if block.sampler:
        name = f"{block.path}.{block.sampler}samplers.0.conv"
        yield make.conv(name, (block.width, block.width), 3, "sampler")


def _transformer(make: Maker, name: str, block: Block, depth: int, linear: bool) -> Iterator[Layer]:
    """diffusers' Transformer2DModel: a norm, a projection, `depth` layers of attention, a projection."""
    inner = block.width // block.heads * block.heads
    yield make.norm(f"{name}.norm", block.width)
    for end, wide in (("proj_in", (block.width, inner)), ("proj_out", (inner, block.width))):
        if linear:
            yield make.linear(f"{name}.{end}", wide, "projection")
        else:
            yield make.conv(f"{name}.{end}", wide, 1, "projection")
    for layer in range(depth):
        yield from _attention_layer(make, f"{name}.transformer_blocks.{layer}", inner, block.context)


def _attention_layer(make: Maker, name: str, width: int, context: int) -> Iterator[Layer]:
    """diffusers' BasicTransformerBlock: self- and cross-attention, a gated feed-forward net, norms before."""
    for number in (1, 2, 3):
        yield make.norm(f"{name}.norm{number}", width, "layer norm")
    for attention, source, kind in (("attn1", width, "self-attention"), ("attn2", context, "cross-attention")):
        yield make.linear(f"{name}.{attention}.to_q", (width, width), kind, bias=False)
        yield make.linear(f"{name}.{attention}.to_k", (source, width), kind, bias=False)
        yield make.linear(f"{name}.{attention}.to_v", (source, width), kind, bias=False)
        yield make.linear(f"{name}.{attention}.to_out.0", (width, width), kind)
    yield make.linear(f"{name}.ff.net.0.proj", (width, 8 * width), "feed-forward")
    yield make.linear(f"{name}.ff.net.2", (4 * width, width), "feed-forward")
