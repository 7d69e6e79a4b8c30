"""Huber loss (Huber 1964); delta may follow the timestep (Khrapov et al. 2024, "scheduled pseudo-Huber loss")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

    from core.engine.noise import Moment

LABEL = "Huber"
HELP = "Large errors count by their size instead of its square: pictures that do not fit pull less."
ORDER = 10


class Options(Section):
    """Options of the Huber loss."""

    delta: float = opt(
        0.1,
        label="Delta",
        help="Errors below this count by half their square, larger ones by their size. Smaller forgives more.",
        gt=0,
        le=10,
        usual=(0.01, 1),
        level="advanced",
        aliases=("huber_c",),
    )
    schedule: Literal["constant", "exponential", "snr"] = opt(
        "constant",
        label="Delta over the timesteps",
        help="constant keeps delta. The others begin at 1 where there is no noise and fall to delta where there is "
        "most, evenly in its logarithm or with the signal-to-noise ratio: fine detail keeps the squared error.",
        level="advanced",
        aliases=("huber_schedule",),
    )


def errors(predicted: torch.Tensor, target: torch.Tensor, moment: Moment, options: Options) -> torch.Tensor:
    """torch's huber_loss, with a delta for each picture; all shapes are (batch, channels, height, width)."""
    import torch

    if options.schedule == "constant":
        return torch.nn.functional.huber_loss(predicted, target, reduction="none", delta=options.delta)
    delta = _deltas(moment, options).reshape(-1, 1, 1, 1)
    distance = (predicted - target).abs()
    inner = distance.minimum(delta)
    return inner * (distance - 0.5 * inner)


def _deltas(moment: Moment, options: Options) -> torch.Tensor:
    """Delta of each picture, shape (batch,): 1 at the first timestep and about options.delta at the last."""
    if options.schedule == "exponential":
        return (math.log(options.delta) * moment.progress).exp()
    sigma = moment.snr.rsqrt()
    return (1 - options.delta) / (1 + sigma) ** 2 + options.delta
