"""Lion (Chen et al. 2023) with 8-bit states (Dettmers et al. 2022), bitsandbytes'."""

from __future__ import annotations

from typing import Any

from core.optimizers import lion
from core.optimizers._bitsandbytes import eight_bit_bytes, optimizer_class
from core.schema import opt

LABEL = "Lion 8-bit"
HELP = "Lion with a quarter of its state memory: one byte per trained weight. Needs bitsandbytes."
ORDER = 26
#: A block of 8-bit states would straddle two processes' shares.
SPLITS = False


class Options(lion.Options):
    """Options of Lion 8-bit: those of Lion, and what stays in 32 bits."""

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
