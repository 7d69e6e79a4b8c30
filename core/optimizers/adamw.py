"""AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization"), torch's own."""

from __future__ import annotations

import math
from typing import Any

from core.schema import Section, opt

LABEL = "AdamW"
HELP = "The reference: learns reliably, keeps two 32-bit numbers of state per trained weight."
ORDER = 10


class Options(Section):
    """Options of AdamW."""

    weight_decay: float = opt(
        0.01,
        label="Weight decay",
        help="Pulls the weights towards 0 a little at each step. In runs of a few thousand steps 0 to 0.1 make no "
        "visible difference.",
        ge=0,
        le=100,
        usual=(0, 0.2),
        level="advanced",
    )
    beta1: float = opt(
        0.9, label="Beta 1", help="Memory of the gradient's mean.", ge=0, lt=1, usual=(0.8, 0.95), level="advanced"
    )
    beta2: float = opt(
        0.999, label="Beta 2", help="Memory of its square.", ge=0, lt=1, usual=(0.95, 0.9999), level="advanced"
    )
    epsilon: float = opt(
        1e-8, label="Epsilon", help="Keeps the division finite.", gt=0, le=1, level="advanced", editor="log"
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A torch.optim.AdamW over parameter groups; the fused kernel, which is the fastest on CPU and CUDA alike."""
    import torch

    return torch.optim.AdamW(
        groups,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=True,
    )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: two 32-bit numbers for each weight."""
    return 8 * math.prod(shape)
