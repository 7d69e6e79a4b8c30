"""Stochastic gradient descent with momentum, torch's own."""

from __future__ import annotations

import math
from typing import Any

from core.schema import Section, opt

LABEL = "SGD"
HELP = "The least state memory of all. Needs a far higher learning rate and seldom reaches AdamW's validation loss."
ORDER = 40


class Options(Section):
    """Options of SGD."""

    momentum: float = opt(
        0.9,
        label="Momentum",
        help="Share of the last step that goes on into the next. 0 needs no state at all.",
        ge=0,
        lt=1,
        usual=(0, 0.95),
        level="advanced",
    )
    weight_decay: float = opt(
        0.0,
        label="Weight decay",
        help="Pulls the weights towards 0 a little at each step.",
        ge=0,
        le=100,
        usual=(0, 0.1),
        level="advanced",
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A torch.optim.SGD over parameter groups."""
    import torch

    return torch.optim.SGD(groups, momentum=options.momentum, weight_decay=options.weight_decay, fused=True)


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: the momentum, if there is one."""
    return 4 * math.prod(shape) if options.momentum else 0
