"""Lion (Chen et al. 2023) with 8-bit states (Dettmers et al. 2022), bitsandbytes'."""

from __future__ import annotations

from typing import Any

from core.optimizers._bitsandbytes import eight_bit_bytes, optimizer_class
from core.schema import Section, opt

LABEL = "Lion 8-bit"
HELP = "Lion with a quarter of its state memory: one byte per trained weight. Needs bitsandbytes."
ORDER = 26
#: A block of 8-bit states would straddle two processes' shares.
SPLITS = False


class Options(Section):
    """Options of Lion 8-bit."""

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
    min_size: int = opt(
        4096,
        label="Smallest tensor in 8 bits",
        help="Tensors with fewer weights than this keep 32-bit states, which costs nothing and is steadier.",
        unit="weights",
        ge=0,
        level="advanced",
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A bitsandbytes.optim.Lion8bit; UserError when the library is missing or cannot load."""
    return optimizer_class("Lion8bit", "Lion")(
        groups,
        betas=(options.beta1, options.beta2),
        weight_decay=options.weight_decay,
        min_8bit_size=options.min_size,
    )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: one 8-bit number for each weight of the larger tensors."""
    return eight_bit_bytes(shape, 1, options.min_size)
