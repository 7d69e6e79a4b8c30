"""Cosine decay with hard restarts (Loshchilov and Hutter 2017, "SGDR")."""

from __future__ import annotations

import math

from core.schema import Section, opt

LABEL = "Cosine with restarts"
HELP = "Falls to 0 as a cosine several times; each time it begins anew with the full rate."
ORDER = 24


class Options(Section):
    """Options of the restarts."""

    cycles: int = opt(
        3,
        label="Cycles",
        help="How often the rate falls from full to 0. The checkpoints at the end of each cycle can be compared.",
        ge=1,
        le=1000,
        usual=(1, 20),
        aliases=("lr_scheduler_num_cycles",),
    )


def factor(progress: float, options: Options) -> float:
    """Share of the full rate at `progress` (0 after the warm-up to 1 at the planned end)."""
    if progress >= 1.0:
        return 0.0
    return 0.5 * (1.0 + math.cos(math.pi * (options.cycles * max(0.0, progress) % 1.0)))
