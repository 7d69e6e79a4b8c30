"""A value of the compared runs over two of their settings: which rate suits which batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compare import Compared, Difference
from core.errors import UserError
from core.run_data import Floats

#: What a map can show of each run, with its name.
MAP_VALUES = {
    "loss": "Minimum loss",
    "step": "Step of the minimum",
    "images": "Images to the minimum",
    "hours": "Hours",
}


@dataclass(frozen=True)
class SettingsMap:
    """A value over two settings.

    Attributes:
        across, down: The settings' values in order.
        values: (len(down), len(across)); nan where there is no run. Several runs in a cell: their mean.
        errors: 95 % half-widths of a loss, nan elsewhere.
        runs: Ids of the runs in a cell, by (row, column).
    """

    across: list[Any]
    down: list[Any]
    values: Floats
    errors: Floats
    runs: dict[tuple[int, int], list[str]]


def settings_map(runs: Sequence[Compared], across: Difference, down: Difference, value: str) -> SettingsMap:
    """The map of a value of MAP_VALUES. UserError when no run has both settings."""
    columns, rows = _ordered(across.values), _ordered(down.values)
    if not columns or not rows:
        raise UserError("A map needs runs that vary in two settings; choose such runs.")
    cells: dict[tuple[int, int], list[Compared]] = {}
    for place, run in enumerate(runs):
        x, y = across.values[place], down.values[place]
        if x is not None and y is not None:
            cells.setdefault((rows.index(y), columns.index(x)), []).append(run)
    values = np.full((len(rows), len(columns)), np.nan)
    errors = np.full_like(values, np.nan)
    for cell, inside in cells.items():
        known = [float(v) for run in inside if (v := getattr(run.result, value)) is not None]
        if known:
            values[cell] = np.mean(known)
            spread = [run.result.loss_error or 0.0 for run in inside]
            errors[cell] = math.sqrt(sum(e * e for e in spread)) / len(spread) if value == "loss" else np.nan
    return SettingsMap(
        columns, rows, values, errors, {cell: [run.id for run in inside] for cell, inside in cells.items()}
    )


def _ordered(values: Iterable[Any]) -> list[Any]:
    """Different values: numbers ascending, others in their order."""
    known = []
    for value in values:
        if value is not None and value not in known:
            known.append(value)
    return sorted(known) if all(isinstance(value, int | float) for value in known) else known
