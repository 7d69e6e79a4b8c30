"""What a step gave, read from the GPU when it is there: nobody waits, and the next step is under way meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from core.engine.kept_draws import as_records
from core.engine.trainer import StepResult
from core.timestep_losses import Records


@dataclass
class Taken:
    """A step that was taken and not told yet.

    Its loss and gradient length, and where its draws are kept the loss of each picture, are copied together behind the
    step's own work; asking for them waits for this step only, not for those that were started after it.

    Attributes:
        step, images: Counters after it.
        began: When it was started (time.monotonic).
        keeps: Whether the losses of its pictures are wanted.
    """

    step: int
    images: int
    began: float
    result: StepResult
    keeps: bool = False
    _numbers: torch.Tensor = field(init=False)
    _done: torch.cuda.Event | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        loss, norm = self.result.loss.float(), self.result.grad_norm.float()
        parts = [loss.reshape(1), norm.to(loss.device).reshape(1)]
        if self.keeps:
            parts += [use.losses for use in self.result.uses]
        numbers = torch.cat(parts)
        if numbers.device.type == "cuda":
            self._numbers = torch.empty(len(numbers), pin_memory=True).copy_(numbers, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()
        else:
            self._numbers = numbers

    def numbers(self) -> tuple[float, float]:
        """(loss, length of the gradient)."""
        loss, norm = self._read()[:2]
        return loss, norm

    def records(self) -> Records | None:
        """Timestep and loss of each picture; None where they are not wanted."""
        if not (self.keeps and self.result.uses):
            return None
        return as_records(self.step, self.result.uses, self._read()[2:])

    def _read(self) -> list[float]:
        if self._done is not None:
            self._done.synchronize()
        found: list[float] = self._numbers.tolist()
        return found
