"""CAME (Luo et al. 2023, "Confidence-guided adaptive memory efficient optimization"), its authors' package."""

from __future__ import annotations

import math
from typing import Any

from core.schema import Section, opt

LABEL = "CAME"
HELP = "Adafactor's small states with a momentum: steadier than Adafactor, half the memory of AdamW."
ORDER = 34
#: Rows and columns of state are those of a whole weight.
SPLITS = False


class Options(Section):
    """Options of CAME."""

    weight_decay: float = opt(
        0.01,
        label="Weight decay",
        help="Pulls the weights towards 0 a little at each step.",
        ge=0,
        le=100,
        usual=(0, 0.2),
        level="advanced",
    )
    beta1: float = opt(
        0.9, label="Beta 1", help="Memory of the update's mean.", ge=0, lt=1, usual=(0.8, 0.95), level="advanced"
    )
    beta2: float = opt(
        0.999,
        label="Beta 2",
        help="Memory of the gradient's square.",
        ge=0,
        lt=1,
        usual=(0.95, 0.9999),
        level="advanced",
    )
    beta3: float = opt(
        0.9999,
        label="Beta 3",
        help="Memory of how far updates stray from their mean; those that stray much are trusted less.",
        ge=0,
        lt=1,
        usual=(0.99, 0.99999),
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


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A came_pytorch.CAME over parameter groups."""
    from came_pytorch import CAME

    # Its default rate is None, which it refuses itself; each group brings its own.
    return CAME(
        groups,
        lr=max(group["lr"] for group in groups),
        betas=(options.beta1, options.beta2, options.beta3),
        weight_decay=options.weight_decay,
        clip_threshold=options.clip_threshold,
    )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: the mean, and twice rows and columns of the last two sides."""
    count = math.prod(shape)
    if len(shape) < 2:
        return 8 * count
    return 4 * (count + 2 * (count // shape[-1] + count // shape[-2]))
