"""Finds the grids of a run that hold one of its checkpoints, from their frozen settings alone."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import Any


def grid_with(run: Path, checkpoint: str) -> Path | None:
    """The folder of the run's newest grid that has a checkpoint on an axis, or is drawn with it; None without one.

    `checkpoint` is a path as core.events.Checkpoint tells it, relative to the run's folder. Only files in which its
    name stands are understood, so that a click is answered at once by a run with many grids.
    """
    name = Path(checkpoint).name
    for path in sorted((run / "grids").glob("*/grid.toml"), reverse=True):
        with contextlib.suppress(OSError, ValueError):  # also TOMLDecodeError: a grid of a later version
            text = path.read_text(encoding="utf-8")
            if name in text and _holds(tomllib.loads(text), name):
                return path.parent
    return None


def _holds(grid: dict[str, Any], name: str) -> bool:
    """Whether the checkpoint is on an axis, or is that of all cells."""
    axes = [grid.get(letter, {}) for letter in "xyz"]
    shown = [str(axis.get("values", "")) for axis in axes if axis.get("type") == "checkpoint"]
    shown = shown or [str(grid.get("grid", {}).get("checkpoint", ""))]
    # Frozen values stand one a line; a single one is quoted.
    lines = [line.strip().strip('"') for text in shown for line in text.split("\n")]
    return name in {Path(line).name for line in lines}
