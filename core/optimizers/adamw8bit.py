"""AdamW with 8-bit states (Dettmers et al. 2022, "8-bit optimizers via block-wise quantization"), bitsandbytes'."""

from __future__ import annotations

from typing import Any

from core.optimizers._bitsandbytes import eight_bit_bytes, optimizer_class
from core.schema import Section, opt

LABEL = "AdamW 8-bit"
HELP = "As good as AdamW with a quarter of its state memory. Needs bitsandbytes."
ORDER = 20
#: A block of 8-bit states would straddle two processes' shares.
SPLITS = False


class Options(Section):
    """Options of AdamW 8-bit."""

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
        0.9, label="Beta 1", help="Memory of the gradient's mean.", ge=0, lt=1, usual=(0.8, 0.95), level="advanced"
    )
    beta2: float = opt(
        0.999, label="Beta 2", help="Memory of its square.", ge=0, lt=1, usual=(0.95, 0.9999), level="advanced"
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
    """A bitsandbytes.optim.AdamW8bit; UserError when the library is missing or cannot load."""
    return optimizer_class("AdamW8bit", "AdamW")(
        groups,
        betas=(options.beta1, options.beta2),
        weight_decay=options.weight_decay,
        min_8bit_size=options.min_size,
    )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: two 8-bit numbers for each weight of the larger tensors."""
    return eight_bit_bytes(shape, 2, options.min_size)
