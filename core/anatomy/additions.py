"""What a method puts beside a layer: the shapes of the tensors of a LoRA, LoHa or LoKr. No torch.

LoHa: Hyeon-Woo et al. 2022 (FedPara); LoKr: Yeh et al. 2023 (LyCORIS). The shapes are PEFT's, which are those of
LyCORIS without its Tucker form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from core.anatomy.layers import Layer

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """How an addition is made.

    Attributes:
        kind: "lora": B A. "loha": (A B) * (C D), number by number. "lokr": the Kronecker product of two matrices.
        magnitudes: Of a LoRA: whether there is a magnitude for every output as well (DoRA).
        factor: Of a LoKr: the most rows and columns of the smaller matrix; -1 makes both as alike as can be.
        both: Of a LoKr: whether the smaller matrix, too, is kept as a product where that is smaller.
    """

    kind: Literal["lora", "loha", "lokr"] = "lora"
    magnitudes: bool = False
    factor: int = -1
    both: bool = False

    def shapes(self, layer: Layer, rank: int) -> list[Shape]:
        """Shapes of the tensors beside a linear layer or convolution."""
        outputs, inputs, *kernel = layer.shape
        flat = inputs * math.prod(kernel)
        if self.kind == "loha":
            return [(outputs, rank), (rank, flat)] * 2
        if self.kind == "lokr":
            return self._kronecker(outputs, inputs, tuple(kernel), rank)
        found: list[Shape] = [(rank, *layer.shape[1:]), (outputs, rank, *[1] * len(kernel))]
        return [*found, (outputs,)] if self.magnitudes else found

    def _kronecker(self, outputs: int, inputs: int, kernel: Shape, rank: int) -> list[Shape]:
        (small_out, large_out), (small_in, large_in) = split(outputs, self.factor), split(inputs, self.factor)
        found: list[Shape]
        if self.both and rank < max(small_out, small_in) / 2:
            found = [(small_out, rank), (rank, small_in)]
        else:
            found = [(small_out, small_in)]
        if rank < max(large_out, large_in) / 2:
            return [*found, (large_out, rank), (rank, large_in * math.prod(kernel))]
        return [*found, (large_out, large_in, *kernel)]


#: LoRA as it was first described.
PLAIN = Form()


def split(size: int, factor: int = -1) -> tuple[int, int]:
    """Two factors of a size, as PEFT finds them: the given one and its partner, where it divides the size.

    Otherwise the two that are most alike, the smaller first; with a factor the smaller is at most that.
    """
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    most = size if factor < 0 else factor
    small = max(n for n in range(1, math.isqrt(size) + 1) if size % n == 0 and n <= most)
    return small, size // small
