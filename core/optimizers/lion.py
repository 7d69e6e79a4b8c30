"""Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms"), bitsandbytes' with 32-bit states."""

from __future__ import annotations

import math
from typing import Any

from core.optimizers._bitsandbytes import optimizer_class
from core.schema import Section, opt

LABEL = "Lion"
HELP = (
    "Steps by the sign of the momentum: half the state memory of AdamW. "
    "Wants a rate 3 to 10 times lower and a weight decay as much higher. Needs bitsandbytes."
)
ORDER = 24


class Options(Section):
    """Options of Lion."""

    weight_decay: float = opt(
        0.01,
        label="Weight decay",
        help="Pulls the weights towards 0 a little at each step. The rate is lower than AdamW's, so for the same "
        "pull this is higher.",
        ge=0,
        le=100,
        usual=(0, 1),
        level="advanced",
    )
    beta1: float = opt(
        0.9,
        label="Beta 1",
        help="Share of the momentum in the sign that is stepped by.",
        ge=0,
        lt=1,
        usual=(0.8, 0.99),
        level="advanced",
    )
    beta2: float = opt(
        0.99, label="Beta 2", help="Memory of the momentum.", ge=0, lt=1, usual=(0.95, 0.999), level="advanced"
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A bitsandbytes.optim.Lion; UserError when the library is missing or cannot load."""
    return optimizer_class("Lion", "AdamW")(
        groups, betas=(options.beta1, options.beta2), weight_decay=options.weight_decay
    )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: one 32-bit number for each weight."""
    return 4 * math.prod(shape)
