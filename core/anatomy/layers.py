"""Layers and their tensors: what the anatomy of a model is told in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Op = Literal["linear", "conv", "group norm", "layer norm", "embedding"]

#: Places of a UNet in the order in which the data pass them, as far as the largest known model goes.
Block = Literal[
    "time embedding",
    "in",
    "down 0",
    "down 1",
    "down 2",
    "down 3",
    "mid",
    "up 0",
    "up 1",
    "up 2",
    "up 3",
    "out",
]
#: What a layer does.
Kind = Literal[
    "self-attention",
    "cross-attention",
    "feed-forward",
    "resnet",
    "projection",
    "sampler",
    "norm",
    "time embedding",
    "conv in/out",
]
BLOCKS: tuple[str, ...] = get_args(Block)
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a part.

    Attributes:
        name: Its name in the state_dict of diffusers' (transformers') module.
        layer: Name of the module that owns it.
        block, kind: See BLOCKS and KINDS; text encoders and VAEs have blocks of their own.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    block: str
    kind: str

    @property
    def count(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Layer:
    """A module that owns weights.

    Attributes:
        shape: Shape of its weight; (out, in) of a linear layer, (out, in, height, width) of a convolution.
    """

    name: str
    op: Op
    shape: tuple[int, ...]
    bias: bool
    block: str
    kind: str

    def tensors(self) -> Iterator[Tensor]:
        """Its weight, and its bias where it has one."""
        yield Tensor(f"{self.name}.weight", self.name, self.shape, self.block, self.kind)
        if self.bias:
            yield Tensor(f"{self.name}.bias", self.name, self.shape[:1], self.block, self.kind)

    @property
    def count(self) -> int:
        """Number of weights, those of the bias included."""
        return math.prod(self.shape) + (self.shape[0] if self.bias else 0)


def tensors_of(layers: Iterable[Layer]) -> list[Tensor]:
    """All tensors of layers."""
    return [tensor for layer in layers for tensor in layer.tensors()]


def weights_of(layers: Iterable[Layer]) -> int:
    """Number of weights of layers."""
    return sum(layer.count for layer in layers)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the layers of one place, so that its block need not be said each time."""

    block: str

    def conv(self, name: str, wide: tuple[int, int], kernel: int, kind: str) -> Layer:
        """A convolution from wide[0] to wide[1] channels."""
        return Layer(name, "conv", (wide[1], wide[0], kernel, kernel), True, self.block, kind)

    def linear(self, name: str, wide: tuple[int, int], kind: str, bias: bool = True) -> Layer:
        """A linear layer from wide[0] to wide[1] numbers."""
        return Layer(name, "linear", (wide[1], wide[0]), bias, self.block, kind)

    def norm(self, name: str, width: int, op: Literal["group norm", "layer norm"] = "group norm") -> Layer:
        """A norm over so many channels."""
        return Layer(name, op, (width,), True, self.block, "norm")

    def resnet(self, name: str, wide: tuple[int, int], time_width: int = 0) -> Iterator[Layer]:
        """diffusers' ResnetBlock2D; `time_width` is that of the time embedding, 0 where there is none (VAE)."""
        yield self.norm(f"{name}.norm1", wide[0])
        yield self.conv(f"{name}.conv1", wide, 3, "resnet")
        if time_width:
            yield self.linear(f"{name}.time_emb_proj", (time_width, wide[1]), "time embedding")
        yield self.norm(f"{name}.norm2", wide[1])
        yield self.conv(f"{name}.conv2", (wide[1], wide[1]), 3, "resnet")
        if wide[0] != wide[1]:
            yield self.conv(f"{name}.conv_shortcut", wide, 1, "resnet")
