"""One or several processes: the accelerator of a worker, the backend that each system has, and what ranks agree on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import InitProcessGroupKwargs
from torch.distributed.distributed_c10d import _get_default_store

from core.errors import UserError
from core.settings import Settings

#: How long processes wait for each other: rank 0 may look through millions of pictures, or write 20 GB to a slow disk.
PATIENCE = timedelta(days=1)


def is_launched() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def shards(settings: Settings, accelerator: Accelerator) -> bool:
    """Whether the weights are split over the processes by FSDP."""
    return settings.hardware.parallel == "fsdp" and accelerator.num_processes > 1


def partitions(settings: Settings, accelerator: Accelerator) -> bool:
    """Whether gradients and states are split over the processes by DeepSpeed."""
    return settings.hardware.parallel == "deepspeed" and accelerator.num_processes > 1


def pick_backend(device: torch.device, platform: str = sys.platform) -> str:
    """How processes talk: NCCL between NVIDIA GPUs; gloo on the processor, and on Windows, where there is no NCCL."""
    return "gloo" if device.type == "cpu" or platform == "win32" else "nccl"


def make_accelerator(device: torch.device, precision: str) -> Accelerator:
    """An accelerator for this process. Caching on one rank may take long: the others wait for up to a day.

    In a process of its own the state of an earlier job in the same process (tests) is forgotten first.
    """
    if not is_launched():
        for state in (AcceleratorState, PartialState, GradientState):
            state._reset_state()
    handlers: list[Any] = []
    if is_launched():
        handlers.append(InitProcessGroupKwargs(backend=pick_backend(device), timeout=PATIENCE))
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision={"fp32": "no"}.get(precision, precision),
        kwargs_handlers=handlers,
    )


def broadcast_flags(accelerator: Accelerator, flags: list[bool]) -> list[bool]:
    """Rank 0's flags on every rank; a few bytes, so that it can be done at each step."""
    return [bool(value) for value in broadcast_numbers(accelerator, [int(flag) for flag in flags])]


def broadcast_numbers(accelerator: Accelerator, numbers: list[int]) -> list[int]:
    """Rank 0's whole numbers on every rank."""
    if accelerator.num_processes == 1:
        return numbers
    tensor = torch.tensor(numbers, device=accelerator.device)
    torch.distributed.broadcast(tensor, src=0)
    return [int(value) for value in tensor.tolist()]


@contextlib.contextmanager
def main_first(accelerator: Accelerator) -> Iterator[None]:
    """Rank 0 does what is inside before the others; however it ends there, they are let in."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()


class Board:
    """Counters that all processes raise and read without waiting for each other: torch's store, which rank 0 serves."""

    def __init__(self, accelerator: Accelerator, name: str) -> None:
        """`name` keeps the counters apart from those of other boards."""
        self._own: Counter[str] = Counter()
        self._name = name
        self._store = _get_default_store() if accelerator.num_processes > 1 else None

    def add(self, what: str, count: int = 0) -> int:
        """Raise a counter; its value over all processes."""
        if self._store is not None:
            return int(self._store.add(f"{self._name}/{what}", count))
        self._own[what] += count
        return self._own[what]


def agreed(accelerator: Accelerator, wish: Callable[[], bool]) -> Callable[[], bool]:
    """Rank 0's answer to a question that all processes ask together."""
    return lambda: broadcast_flags(accelerator, [wish()])[0]


def require_same(accelerator: Accelerator, text: str, complaint: str) -> None:
    """UserError with a complaint, in all processes, when the text is not the same in all of them."""
    if accelerator.num_processes == 1:
        return
    texts: list[str] = [""] * accelerator.num_processes
    torch.distributed.all_gather_object(texts, text)
    if len(set(texts)) > 1:
        raise UserError(complaint)
