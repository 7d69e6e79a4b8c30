"""Axis "Seed"."""

from __future__ import annotations

from dataclasses import replace

from core.grid import AxisContext, CellPlan, numbers

LABEL = "Seed"
HELP = "Whole numbers and ranges; each is the noise a picture begins with."
ORDER = 40
COST = 0.2


def parse(text: str, context: AxisContext) -> list[int]:
    """The numbers; ValueError for what is none or out of range."""
    values = [int(value) for value in numbers(text, whole=True)]
    for seed in values:
        if not 0 <= seed < 2**32:
            raise ValueError(f"the seed {seed} is not possible; 0 to {2**32 - 1} is")
    return values


def apply(cell: CellPlan, value: int, shared: CellPlan) -> CellPlan:
    """The cell with that value."""
    return replace(cell, seed=value)


def show(value: int) -> str:
    """The number."""
    return str(value)
