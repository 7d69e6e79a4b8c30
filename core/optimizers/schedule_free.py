"""Schedule-free AdamW (Defazio et al. 2024, "The road less scheduled"), its authors' package."""

from __future__ import annotations

import math
from typing import Any

from core.schema import Section, opt

LABEL = "AdamW schedule-free"
HELP = (
    "Averages the weights instead of lowering the rate: no planned end, and every checkpoint is as good as after a "
    "decay. Use the constant schedule. As much memory as AdamW."
)
ORDER = 14
#: It counts its steps for all weights of a group at once.
FUSED = False
#: Samples, measurements and checkpoints see the average: the weights of its eval() mode.
AVERAGES = True


class Options(Section):
    """Options of schedule-free AdamW."""

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
        0.9,
        label="Beta 1",
        help="How near to the average the gradient is taken; long runs may want 0.95 or 0.98.",
        gt=0,
        lt=1,
        usual=(0.8, 0.98),
        level="advanced",
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
    r: float = opt(
        0.0,
        label="Weight of later steps",
        help="Step n counts n to this power in the average: 0 counts all the same, more forgets the beginning.",
        ge=0,
        le=100,
        usual=(0, 10),
        level="advanced",
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A schedulefree.AdamWScheduleFree in its training mode; tensor by tensor, which needs the least memory."""
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(
        groups,
        betas=(options.beta1, options.beta2),
        weight_decay=options.weight_decay,
        r=options.r,
        foreach=False,
    )
    optimizer.train()
    return optimizer


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: two 32-bit numbers for each weight."""
    return 8 * math.prod(shape)
