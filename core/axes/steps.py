"""Axis "Steps"."""

from __future__ import annotations

from dataclasses import replace

from core.grid import AxisContext, CellPlan, numbers
from core.quantities import show_number

LABEL = "Steps"
HELP = "Whole numbers and ranges: denoising steps a picture."
ORDER = 60
COST = 0.2


def parse(text: str, context: AxisContext) -> list[int]:
    """The numbers; ValueError for what is none or out of range."""
    values = [int(value) for value in numbers(text, whole=True)]
    for steps in values:
        if not 1 <= steps <= 1000:
            raise ValueError(f"{steps} steps are not possible; 1 to 1000 are")
    return values


def apply(cell: CellPlan, value: int, shared: CellPlan) -> CellPlan:
    """The cell with that value."""
    return replace(cell, steps=value)


def show(value: int) -> str:
    """The number."""
    return show_number(value)
