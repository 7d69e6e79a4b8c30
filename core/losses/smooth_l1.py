"""Smooth L1 loss (Girshick 2015, "Fast R-CNN")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

    from core.engine.noise import Moment

LABEL = "Smooth L1"
HELP = "As Huber, but large errors keep their weight and small ones gain some: edges come out sharper."
ORDER = 20


class Options(Section):
    """Options of the smooth L1 loss."""

    beta: float = opt(
        0.1,
        label="Beta",
        help="Errors below this count by their square divided by twice this, larger ones by their size.",
        gt=0,
        le=10,
        usual=(0.01, 1),
        level="advanced",
    )


def errors(predicted: torch.Tensor, target: torch.Tensor, moment: Moment, options: Options) -> torch.Tensor:
    """torch's smooth_l1_loss; all shapes are (batch, channels, height, width)."""
    import torch

    return torch.nn.functional.smooth_l1_loss(predicted, target, reduction="none", beta=options.beta)
