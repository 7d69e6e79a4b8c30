"""The average of the trained weights over the steps (EMA), and the weights that a run shows instead of its raw ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from core.errors import UserError


class Ema:
    """An exponential moving average of parameters, in 32 bits.

    After each step it moves towards the weights by 1 - d. d rises with the steps as min(decay, (1 + n) / (10 + n)), as
    TensorFlow's ExponentialMovingAverage has it, so that the beginning does not weigh for ever.

    Attributes:
        average: Tensors of the parameters' shapes, in their order.
        updates: Steps taken in.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float, on_cpu: bool) -> None:
        """Begins with the present weights; `on_cpu` keeps the average in the computer's memory."""
        self._parameters = list(parameters)
        self._decay = decay
        self._on_cpu = on_cpu
        self.updates = 0
        self.restart()

    def restart(self) -> None:
        """Forget the past: the average is the present weights."""
        self.updates = 0
        device = "cpu" if self._on_cpu else None
        self.average = [p.detach().to(device, torch.float32, copy=True) for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a finished step in."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for kept, parameter in zip(self.average, self._parameters, strict=True):
            kept.lerp_(parameter.detach().to(kept), 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def show(self) -> None:
        """Put the average into the parameters; whoever calls keeps the raw weights."""
        for kept, parameter in zip(self.average, self._parameters, strict=True):
            parameter.copy_(kept)

    def state(self) -> dict[str, Any]:
        """What a resume needs; the tensors themselves, not copies."""
        return {"updates": self.updates, "average": self.average}

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Put a saved state back; UserError when it is of other weights."""
        saved = state["average"]
        if [tensor.shape for tensor in saved] != [tensor.shape for tensor in self.average]:
            raise UserError("The saved average (EMA) belongs to other settings; start a new run instead.")
        for kept, tensor in zip(self.average, saved, strict=True):
            kept.copy_(tensor)
        self.updates = int(state["updates"])


@contextlib.contextmanager
def shown(parameters: Sequence[torch.nn.Parameter], ema: Ema | None, optimizer: Any) -> Iterator[None]:
    """While inside, the parameters are what the run shows: the EMA, or the average of a schedule-free optimizer.

    Afterwards they are the raw weights again, to the bit: those wait in the computer's memory, because an optimizer's
    way there and back rounds. Without either nothing happens.

    Args:
        optimizer: The optimizer itself; a schedule-free one has eval(), which puts its average into the weights.
    """
    averages = hasattr(optimizer, "eval")
    if ema is None and not averages:
        yield
        return
    raw = [parameter.detach().to("cpu", copy=True) for parameter in parameters]
    try:
        if averages:
            _show_average(optimizer)
        if ema is not None:
            ema.show()
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(parameters, raw, strict=True):
                parameter.copy_(kept)


def _show_average(optimizer: Any) -> None:
    """Have a schedule-free optimizer put its average into the parameters, one by one, and stay in training mode itself.

    It works in its states' 32 bits; weights that are kept in bf16 are rounded to the nearest.
    """
    groups = optimizer.param_groups
    try:
        for group in groups:
            for parameter in group["params"]:
                kept = parameter.data
                parameter.data = kept.float()
                optimizer.param_groups = [{**group, "params": [parameter]}]
                optimizer.eval()
                if kept.dtype != torch.float32:
                    kept.copy_(parameter.data)
                    parameter.data = kept
    finally:
        optimizer.param_groups = groups
