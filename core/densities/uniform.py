"""Every timestep is drawn as often as any other (Ho et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LABEL = "Uniform"
HELP = "Every timestep as often as any other: the original objective."
ORDER = 0


def frequencies(snr: torch.Tensor, options: None) -> torch.Tensor | None:
    """None stands for the same frequency everywhere; `snr` (timesteps,) are all timesteps' ratios."""
    return None
