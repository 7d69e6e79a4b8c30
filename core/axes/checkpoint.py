"""Axis "Checkpoint name": the checkpoints of the run, other model files, or the base model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.grid import AxisContext, CellPlan, checkpoint_label, find_checkpoint, split_values

LABEL = "Checkpoint name"
HELP = "Steps of the run's checkpoints, files, 'base', 'last', or 'all'."
ORDER = 10
COST = 1.0


def parse(text: str, context: AxisContext) -> list[str]:
    """Paths of checkpoints ("" for the base model); an empty text means the base and all checkpoints."""
    found: list[str] = []
    every = [str(saved.path) for saved in context.checkpoints]
    for value in split_values(text) or ["base", "all"]:
        if value.lower() == "all":
            found.extend(every)
        elif value.lower() == "last":
            found.extend(every[-1:])
        else:
            found.append(find_checkpoint(value, context))
    return found


def apply(cell: CellPlan, value: str, shared: CellPlan) -> CellPlan:
    """The cell drawn with that checkpoint."""
    return replace(cell, checkpoint=value)


def show(value: str) -> str:
    """ "base", "step 1,200" or the file's name."""
    return checkpoint_label(value)


def freeze(values: Sequence[str]) -> str:
    """The values as a text with whole paths, one a line; it means the same from every folder."""
    lines = [value or "base" for value in values]
    return "\n".join(lines) if len(lines) > 1 else '"' + lines[0].replace('"', '""') + '"'
