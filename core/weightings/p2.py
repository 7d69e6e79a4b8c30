"""P2, perception prioritized weighting (Choi et al. 2022, "Perception prioritized training of diffusion models")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

LABEL = "P2"
HELP = "Timesteps that only clean up fine detail count less, so that the model learns what is seen."
ORDER = 40


class Options(Section):
    """Options of the P2 weighting."""

    gamma: float = opt(
        1.0,
        label="Gamma",
        help="How strongly little noise is weighed down; the paper uses 0.5 and 1. 0 is no weighting.",
        ge=0,
        le=10,
        usual=(0.5, 1),
        level="advanced",
        aliases=("p2_gamma",),
    )
    k: float = opt(
        1.0,
        label="k",
        help="Signal-to-noise ratio from which on timesteps count less; 1 in the paper.",
        gt=0,
        le=100,
        usual=(0.1, 10),
        level="advanced",
    )


def weights(snr: torch.Tensor, options: Options) -> torch.Tensor | None:
    """1 / (k + snr) ** gamma of the squared error of the noise, for each of the batch's pictures; shape (batch,)."""
    return (options.k + snr) ** -options.gamma
