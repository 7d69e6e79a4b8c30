"""Logit-normal density of the timesteps (Esser et al. 2024, "Scaling rectified flow transformers", section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

LABEL = "Logit-normal"
HELP = "The middle timesteps are drawn most, where a model learns most; the ends seldom."
ORDER = 10


class Options(Section):
    """Options of the logit-normal density."""

    mean: float = opt(
        0.0,
        label="Mean",
        help="0 has its peak in the middle; below 0 less noise (detail), above 0 more noise (composition).",
        ge=-5,
        le=5,
        usual=(-1, 1),
        level="advanced",
        aliases=("logit_mean",),
    )
    std: float = opt(
        1.0,
        label="Spread",
        help="Standard deviation. Smaller draws the middle more often; above 1.5 the ends come back.",
        gt=0,
        le=10,
        usual=(0.5, 1.5),
        level="advanced",
        aliases=("logit_std",),
    )


def frequencies(snr: torch.Tensor, options: Options) -> torch.Tensor | None:
    """Share of each timestep (timesteps,), float64: timestep n of N covers n/N to (n+1)/N of a normal's sigmoid."""
    import torch

    edges = torch.linspace(0, 1, len(snr) + 1, dtype=torch.float64)
    below: torch.Tensor = torch.special.ndtr((torch.logit(edges) - options.mean) / options.std)
    return below.diff()
