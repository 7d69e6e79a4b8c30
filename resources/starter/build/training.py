"""What both trainings share: seeds, the cosine rate, moving averages and resumable checkpoints."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch


def settle(seed: int, threads: int = 2) -> None:
    """Seed every generator and limit the threads."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)


def cosine_rate(step: int, progress: float, peak: float, warmup: int, floor: float = 0.02) -> float:
    """Return the learning rate: a linear rise in the first steps, times half a cosine over the progress."""
    rise = min(1.0, (step + 1) / warmup)
    return peak * rise * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """An exponential moving average of some modules' weights."""

    def __init__(self, modules: dict[str, torch.nn.Module], decay: float) -> None:
        self.decay = decay
        self.modules = modules
        self.shadow = {name: _copy(module.state_dict()) for name, module in modules.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the present weights, faster in the first steps."""
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        for name, module in self.modules.items():
            for key, value in module.state_dict().items():
                self.shadow[name][key].lerp_(value.float(), weight)


def _copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone().float() for key, value in state.items()}


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside its place and rename it in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    torch.save(content, fresh)
    os.replace(fresh, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, or None if there is none yet."""
    return torch.load(path, weights_only=True) if path.exists() else None
