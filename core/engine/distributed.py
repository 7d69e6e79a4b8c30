"""One or several processes: the accelerator of a worker, and the backend that each system has."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import InitProcessGroupKwargs


def is_launched() -> bool:
    """Whether this process is one of several that accelerate launch has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def make_accelerator(device: torch.device, precision: str) -> Accelerator:
    """An accelerator for this process. Caching on one rank may take long: the others wait for up to a day.

    In a process of its own the state of an earlier job in the same process (tests) is forgotten first.
    """
    if not is_launched():
        for state in (AcceleratorState, PartialState, GradientState):
            state._reset_state()
    handlers: list[Any] = []
    if is_launched():
        backend = "gloo" if device.type == "cpu" or os.name == "nt" else "nccl"
        handlers.append(InitProcessGroupKwargs(backend=backend, timeout=timedelta(days=1)))
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision={"fp32": "no"}.get(precision, precision),
        kwargs_handlers=handlers,
    )


def broadcast_flags(accelerator: Accelerator, flags: list[bool]) -> list[bool]:
    """Rank 0's flags on every rank; a few bytes, so that it can be done at each step."""
    if accelerator.num_processes == 1:
        return flags
    tensor = torch.tensor([float(flag) for flag in flags], device=accelerator.device)
    torch.distributed.broadcast(tensor, src=0)
    return [bool(value) for value in tensor.tolist()]
