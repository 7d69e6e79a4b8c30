"""Axis "Prompt S/R" (A1111): the first value is searched in the prompt and replaced by each value in turn."""

from __future__ import annotations

from dataclasses import replace

from core.grid import AxisContext, CellPlan, split_values

LABEL = "Prompt S/R"
HELP = "The first value stands in the prompt; it is replaced by each value in turn."
ORDER = 30
COST = 0.1


def parse(text: str, context: AxisContext) -> list[tuple[str, str]]:
    """(search, replacement) pairs; ValueError when the first value is not in the prompt."""
    values = split_values(text)
    prompts = f"{context.shared.prompt}\n{context.shared.negative}"
    if values and values[0] not in prompts:
        raise ValueError(f"'{values[0]}' does not occur in the prompt, so it cannot be replaced")
    return [(values[0], value) for value in values]


def apply(cell: CellPlan, value: tuple[str, str], shared: CellPlan) -> CellPlan:
    """The cell with the word replaced in its prompt and negative prompt."""
    return replace(cell, prompt=cell.prompt.replace(*value), negative=cell.negative.replace(*value))


def show(value: tuple[str, str]) -> str:
    """The replacement."""
    return value[1]
