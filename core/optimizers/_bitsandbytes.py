"""The optimizers of bitsandbytes by name, or a sentence where the library does not load."""

from __future__ import annotations

import math
from typing import Any

from core.errors import UserError


def optimizer_class(name: str, instead: str) -> Any:
    """A class of bitsandbytes.optim ("AdamW8bit"); UserError when the library is missing or cannot load.

    `instead` is the optimizer to advise ("AdamW").
    """
    try:
        import bitsandbytes.optim as optimizers
    except Exception as error:
        raise UserError(
            f"This optimizer needs the library bitsandbytes, which does not load here ({error}). "
            f"Choose {instead}, or repair the environment with 'python3 main.py doctor'."
        ) from error
    return vars(optimizers)[name]


def eight_bit_bytes(shape: tuple[int, ...], states: int, min_size: int) -> int:
    """Bytes of so many 8-bit states of a tensor: each block of 256 has a 32-bit scale; small tensors keep 32 bits."""
    count = math.prod(shape)
    if count < min_size:
        return 4 * states * count
    return states * (count + 4 * math.ceil(count / 256))
