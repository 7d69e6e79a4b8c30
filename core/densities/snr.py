"""Density by the signal-to-noise ratio: its logarithm is spread as a Laplace density.

After Hang et al. 2024, "Improved noise schedule for diffusion training", who draw log SNR from a Laplace density around
0; the wider, the nearer to every log SNR as often as any other (Kingma and Gao 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

LABEL = "By SNR"
HELP = "Timesteps are drawn by their signal-to-noise ratio, most where signal and noise are alike."
ORDER = 20

#: Stands for the logarithm of a ratio of 0.
_SMALLEST_SNR = 1e-9


class Options(Section):
    """Options of the density by SNR."""

    center: float = opt(
        0.0,
        label="Peak",
        help="Natural logarithm of the signal-to-noise ratio that is drawn most. 0: as much signal as noise; higher "
        "is less noise.",
        ge=-10,
        le=10,
        usual=(-3, 3),
        level="advanced",
    )
    width: float = opt(
        1.0,
        label="Width",
        help="How fast it falls off on both sides. The paper uses 0.5; with 10 nearly every ratio is drawn alike.",
        gt=0,
        le=100,
        usual=(0.5, 10),
        level="advanced",
    )


def frequencies(snr: torch.Tensor, options: Options) -> torch.Tensor | None:
    """Share of each timestep (timesteps,), float64: exp(-|l - center| / width) times the piece of l that it stands for.

    l is log SNR; a timestep stands for half the way to each of its neighbours.
    """
    import torch

    place = snr.double().cpu().clamp(min=_SMALLEST_SNR).log()
    (piece,) = torch.gradient(place)
    return torch.exp(-(place - options.center).abs() / options.width) * piece.abs()
