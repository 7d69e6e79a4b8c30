"""Axis "CFG Scale"."""

from __future__ import annotations

from dataclasses import replace

from core.grid import AxisContext, CellPlan, numbers
from core.quantities import show_number

LABEL = "CFG Scale"
HELP = "Numbers and ranges: how strongly the prompt pulls."
ORDER = 50
COST = 0.2


def parse(text: str, context: AxisContext) -> list[float]:
    """The numbers; ValueError for what is none or out of range."""
    values = [float(value) for value in numbers(text, whole=False)]
    for cfg in values:
        if not 1 <= cfg <= 50:
            raise ValueError(f"a CFG scale of {cfg:g} is not possible; 1 to 50 is")
    return values


def apply(cell: CellPlan, value: float, shared: CellPlan) -> CellPlan:
    """The cell with that value."""
    return replace(cell, cfg=value)


def show(value: float) -> str:
    """The number."""
    return show_number(value)
