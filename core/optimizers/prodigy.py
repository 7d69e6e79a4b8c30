"""Prodigy (Mishchenko and Defazio 2024, "An expeditiously adaptive parameter-free learner"), its authors' package."""

from __future__ import annotations

import math
from typing import Any

from core.schema import Section, opt

LABEL = "Prodigy"
HELP = (
    "Finds the learning rate itself: leave the rate at 1. Popular for LoRA; keeps four 32-bit numbers of state per "
    "trained weight."
)
ORDER = 50
#: The estimate of the rate looks at all weights.
SPLITS = False
#: The estimate of the rate is one number for all weights, so no weight can move before all gradients are there.
FUSED = False
#: The rate only scales the estimate.
USUAL_RATE = (0.1, 2.0)
#: The package refuses groups of different rates.
ONE_RATE = True


class Options(Section):
    """Options of Prodigy."""

    weight_decay: float = opt(
        0.01,
        label="Weight decay",
        help="Pulls the weights towards 0 a little at each step (decoupled, as in AdamW).",
        ge=0,
        le=100,
        usual=(0, 0.2),
        level="advanced",
    )
    beta1: float = opt(
        0.9, label="Beta 1", help="Memory of the gradient's mean.", ge=0, lt=1, usual=(0.8, 0.95), level="advanced"
    )
    beta2: float = opt(
        0.999, label="Beta 2", help="Memory of its square.", ge=0, lt=1, usual=(0.95, 0.9999), level="advanced"
    )
    d_coef: float = opt(
        1.0,
        label="Rate coefficient",
        help="Multiplies the rate that is found. The way to make Prodigy bolder (2) or more careful (0.5).",
        gt=0,
        le=100,
        usual=(0.1, 3),
    )
    d0: float = opt(
        1e-6,
        label="First estimate",
        help="The rate that the search begins with. Raise it when the rate stays where it is for hundreds of steps.",
        gt=0,
        le=1,
        usual=(1e-7, 1e-4),
        level="advanced",
        editor="log",
    )
    bias_correction: bool = opt(
        True,
        label="Bias correction",
        help="Begins gently, as Adam does; most trainers' users switch it on.",
        level="advanced",
        aliases=("use_bias_correction",),
    )
    safeguard_warmup: bool = opt(
        True,
        label="Safeguard warm-up",
        help="Keeps a warm-up from raising the estimate too far.",
        level="advanced",
    )
    slice: int = opt(
        1,
        label="Estimate from each n-th weight",
        help="Above 1, the rate is estimated from a part of the weights: 11 saves nearly half of the state memory and "
        "finds much the same rate.",
        ge=1,
        le=1000,
        usual=(1, 20),
        level="advanced",
        aliases=("slice_p",),
    )


def build(groups: list[dict[str, Any]], options: Options) -> Any:
    """A prodigyopt.Prodigy over parameter groups that share one rate."""
    import contextlib
    import io

    from prodigyopt import Prodigy

    # It prints a line about weight decay; the console belongs to the run.
    with contextlib.redirect_stdout(io.StringIO()):
        return Prodigy(
            groups,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
            d_coef=options.d_coef,
            d0=options.d0,
            use_bias_correction=options.bias_correction,
            safeguard_warmup=options.safeguard_warmup,
            slice_p=options.slice,
        )


def state_bytes(shape: tuple[int, ...], options: Options) -> int:
    """Bytes of state for a tensor of 32-bit weights: two 32-bit numbers each, and two for a share of them."""
    count = math.prod(shape)
    return 8 * count + 8 * math.ceil(count / options.slice)
