"""The optimizer stepped inside the backward pass: a gradient lives only until its weights have moved.

The idea is torch's "optimizer step in backward" tutorial's and kohya's fused_backward_pass. Here weights move in small
groups, so that the calls cost little, and the optimizer keeps its own states: its state_dict() is as ever.
"""

from __future__ import annotations

import torch

from core.engine.weights import Bundle, Mover, bundles

#: Gradients of so many numbers at most are put together before they are measured.
_SMALL = 20_000


class FusedBackward:
    """Moves weights as soon as their gradients are complete, and frees the gradients.

    Each element's arithmetic is the optimizer's own, so the weights are those of a step after the whole backward pass.
    What needs all gradients at once cannot be had: clipping, accumulation, several processes, fp16's scaled gradients.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, mover: Mover) -> None:
        """`optimizer` keeps its state by parameter, as torch's and bitsandbytes' do."""
        self._mover = mover
        self._bundles = bundles(optimizer)
        self._bundle_of = {parameter: bundle for bundle in self._bundles for parameter in bundle.parameters}
        self._squares: list[torch.Tensor] = []
        for parameter in self._bundle_of:
            parameter.register_post_accumulate_grad_hook(self._arrived)

    def finish(self) -> torch.Tensor:
        """Move what the backward pass has not reached in full; the length of the whole gradient, a scalar."""
        for bundle in self._bundles:
            if bundle.waiting < len(bundle.parameters):
                self._move(bundle)
        squares, self._squares = self._squares, []
        return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())

    def _arrived(self, parameter: torch.Tensor) -> None:
        bundle = self._bundle_of[parameter]
        bundle.waiting -= 1
        if bundle.waiting == 0:
            self._move(bundle)

    def _move(self, bundle: Bundle) -> None:
        """Move a bundle's weights and free their gradients."""
        bundle.waiting = len(bundle.parameters)
        self._squares.append(_square_length([p.grad for p in bundle.parameters if p.grad is not None]))
        self._mover.move(bundle)
        for parameter in bundle.parameters:
            parameter.grad = None


def _square_length(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Sum of all squares. The many small gradients are put together first: a call for each would cost more."""
    small = [gradient.flatten() for gradient in gradients if gradient.numel() <= _SMALL]
    rows = [gradient.flatten() for gradient in gradients if gradient.numel() > _SMALL]
    if small:
        rows.append(torch.cat(small))
    return torch.stack([_squared(row) for row in rows]).sum()


def _squared(row: torch.Tensor) -> torch.Tensor:
    """Sum of the squares of a vector (n,), float32. A product with itself is the quickest where 32 bits are there."""
    if row.dtype == torch.float32:
        return torch.dot(row, row)
    length: torch.Tensor = torch.linalg.vector_norm(row, dtype=torch.float32)
    return length.square()
