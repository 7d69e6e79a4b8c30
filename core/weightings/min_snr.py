"""Min-SNR-gamma (Hang et al. 2023, "Efficient diffusion training via Min-SNR weighting strategy")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

LABEL = "Min-SNR"
HELP = "Timesteps with little noise count less, so that none dominates."
ORDER = 10


class Options(Section):
    """Options of the min-SNR weighting."""

    gamma: float = opt(
        5.0,
        label="Gamma",
        help="Timesteps whose signal-to-noise ratio is above this count less. 5 is the paper's value.",
        gt=0,
        le=100,
        usual=(1, 20),
        level="advanced",
        aliases=("min_snr_gamma", "snr_gamma"),
    )


def weights(snr: torch.Tensor, options: Options) -> torch.Tensor | None:
    """min(snr, gamma) / snr of the squared error of the noise, for each of the batch's pictures; shape (batch,).

    1 at a ratio of 0, the formula's limit.
    """
    return (options.gamma / snr).clamp(max=1)
