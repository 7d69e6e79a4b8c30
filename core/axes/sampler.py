"""Axis "Sampler"."""

from __future__ import annotations

from dataclasses import replace

from core import registry
from core.grid import AxisContext, CellPlan, split_values

LABEL = "Sampler"
HELP = "Names of samplers, as in the menu."
ORDER = 70
COST = 0.3


def parse(text: str, context: AxisContext) -> list[str]:
    """Samplers by name or label; ValueError names the choices."""
    by_label = {registry.label("samplers", name).lower(): name for name in registry.names("samplers")}
    found = []
    for value in split_values(text):
        name = by_label.get(value.lower(), value.lower())
        if name not in registry.names("samplers"):
            raise ValueError(f"there is no sampler '{value}'; choose from {', '.join(registry.names('samplers'))}")
        found.append(name)
    return found


def apply(cell: CellPlan, value: str, shared: CellPlan) -> CellPlan:
    """The cell drawn with that sampler."""
    return replace(cell, sampler=value)


def show(value: str) -> str:
    """The sampler's label."""
    return registry.label("samplers", value)
