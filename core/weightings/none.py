"""No weighting: every timestep counts the same (Ho et al. 2020, L_simple)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LABEL = "None"
HELP = "The original objective."
ORDER = 0


def weights(snr: torch.Tensor, options: None) -> torch.Tensor | None:
    """None stands for weights of 1, whatever the model predicts; `snr` (batch,) is each picture's ratio."""
    return None
