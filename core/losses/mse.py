"""Mean squared error (Ho et al. 2020, L_simple)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from core.engine.noise import Moment

LABEL = "Squared error"
HELP = "The original objective."
ORDER = 0


def errors(predicted: torch.Tensor, target: torch.Tensor, moment: Moment, options: None) -> torch.Tensor:
    """(predicted - target)²; all shapes are (batch, channels, height, width)."""
    return (predicted - target).square()
