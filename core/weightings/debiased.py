"""Debiased estimation (Yu et al. 2024, "Unmasking bias in diffusion model training")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LABEL = "Debiased estimation"
HELP = "Timesteps with much noise count more, by the root of their noise: composition and colours learn faster."
ORDER = 20

#: Below this the formula would grow without end; only the last timesteps of a zero terminal SNR lie there.
_SMALLEST_SNR = 1e-6


def weights(snr: torch.Tensor, options: None) -> torch.Tensor | None:
    """1 / sqrt(snr) of the squared error of the noise, for each of the batch's pictures; shape (batch,)."""
    return snr.clamp(min=_SMALLEST_SNR).rsqrt()
