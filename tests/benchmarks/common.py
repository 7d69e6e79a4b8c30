"""What every benchmark returns, figures with their goals, and how its parts run in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.paths import ROOT


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        goal: In words (">= 2"); "-" for a number that only explains another.
        holds: Whether the goal is reached.
    """

    value: float
    unit: str
    goal: str
    holds: bool


def at_most(value: float, most: float, unit: str, digits: int = 1) -> Figure:
    """A figure that should not be greater than `most`."""
    return Figure(round(value, digits), unit, f"<= {most:g}", value <= most)


def apart(arguments: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What a Python process of its own measures: its last line, which is JSON.

    Args:
        arguments: Python's own ("-m", "tests.benchmarks.some", ...); it runs in the project's root.

    Raises:
        RuntimeError: The process failed or printed nothing.
    """
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1800
    )
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def window_environment(home: Path) -> dict[str, str]:
    """The environment of a window that keeps its things in `home`; offscreen unless QT_QPA_PLATFORM says otherwise."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
        "BURNISH_HOME": str(home),
    }
