"""Axis "Nothing": one value, no change."""

from __future__ import annotations

from typing import Any

from core.grid import AxisContext, CellPlan

LABEL = "Nothing"
HELP = "This axis is not used."
ORDER = 0
COST = 0.0


def parse(text: str, context: AxisContext) -> list[str]:
    """One empty value, whatever the text says."""
    return [""]


def apply(cell: CellPlan, value: Any, shared: CellPlan) -> CellPlan:
    """The cell as it is."""
    return cell


def show(value: Any) -> str:
    """No label."""
    return ""
