"""What a step gave, read from the GPU when it is there: nobody waits, and the next step is under way meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from core.engine.trainer import StepResult


@dataclass
class Taken:
    """A step that was taken and not told yet.

    Its loss and gradient length are copied behind the step's own work; asking for them waits for this step only, not
    for those that were started after it.

    Attributes:
        step, images: Counters after it.
        began: When it was started (time.monotonic).
    """

    step: int
    images: int
    began: float
    result: StepResult
    _numbers: torch.Tensor = field(init=False)
    _done: torch.cuda.Event | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        numbers = torch.stack([self.result.loss.float(), self.result.grad_norm.float().to(self.result.loss.device)])
        if numbers.device.type == "cuda":
            self._numbers = torch.empty(2, pin_memory=True).copy_(numbers, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()
        else:
            self._numbers = numbers

    def numbers(self) -> tuple[float, float]:
        """(loss, length of the gradient)."""
        if self._done is not None:
            self._done.synchronize()
        loss, norm = self._numbers.tolist()
        return loss, norm
