"""Adafactor (Shazeer and Stern 2018) with a given learning rate, as transformers implements it."""

from __future__ import annotations

import math
from typing import Any

from core.schema import Section, opt

LABEL = "Adafactor"
HELP = "Keeps rows and columns instead of whole tables of state: almost no memory, slower steps, higher rates."
ORDER = 30
#: Rows, columns and the update's length are those of a whole weight.
SPLITS = False


class Options(Section):
    """Options of Adafactor."""

    weight_decay: float = opt(
        0.0,
        label="Weight decay",
        help="Pulls the weights towards 0 a little at each step.",
        ge=0,
        le=100,
        usual=(0, 0.1),
        level="advanced",
    )
    clip_threshold: float = opt(
        1.0,
        label="Update clipping",
        help="Updates larger than this (root mean square) are scaled down to it.",
        gt=0,
        le=100,
        level="advanced",
    )
    scale_parameter: bool = opt(
        False,
        label="Scale with the weights",
        help="Multiplies the rate by the size of each tensor's weights. Off, the learning rate means what it says.",
        level="advanced",
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """transformers' Adafactor with an external learning rate (no relative step)."""
    from transformers.optimization import Adafactor

    return Adafactor(
        groups,
        scale_parameter=options.scale_parameter,
        relative_step=False,
        warmup_init=False,
        clip_threshold=options.clip_threshold,
        weight_decay=options.weight_decay,
    )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: rows and columns of its last two sides.

    That is little for matrices, but two thirds of a 3x3 convolution.
    """
    if len(shape) < 2:
        return 4 * math.prod(shape)
    return 4 * (math.prod(shape) // shape[-1] + math.prod(shape) // shape[-2])
