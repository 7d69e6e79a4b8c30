"""Axis "Prompt": whole prompts, one a line (or separated by commas with CSV quoting when there is one line)."""

from __future__ import annotations

from dataclasses import replace

from core.grid import AxisContext, CellPlan, split_values

LABEL = "Prompt"
HELP = "Whole prompts, one a line."
ORDER = 20
COST = 0.1


def parse(text: str, context: AxisContext) -> list[str]:
    """The prompts."""
    return split_values(text)


def apply(cell: CellPlan, value: str, shared: CellPlan) -> CellPlan:
    """The cell with that prompt."""
    return replace(cell, prompt=value)


def show(value: str) -> str:
    """The prompt itself."""
    return value
