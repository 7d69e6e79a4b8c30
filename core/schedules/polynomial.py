"""Polynomial decay, as transformers and kohya's scripts have it."""

from __future__ import annotations

from core.schema import Section, opt

LABEL = "Polynomial"
HELP = "Falls as a power of what is left of the run; the power decides how early."
ORDER = 40


class Options(Section):
    """Options of the polynomial decay."""

    power: float = opt(
        2.0,
        label="Power",
        help="1 is linear; 2 falls fast at first and softly at the end; below 1 the rate stays high for long.",
        gt=0,
        le=10,
        usual=(0.5, 4),
        aliases=("lr_scheduler_power",),
    )
    end: float = opt(
        0.0,
        label="Rate at the end",
        help="Share of the full rate that is left at the planned end.",
        ge=0,
        le=1,
        usual=(0, 0.5),
        level="advanced",
        aliases=("lr_scheduler_min_lr_ratio",),
    )


def factor(progress: float, options: Options) -> float:
    """Share of the full rate at `progress` (0 after the warm-up to 1 at the planned end)."""
    left = 1.0 - min(1.0, max(0.0, progress))
    return options.end + (1.0 - options.end) * float(left**options.power)
