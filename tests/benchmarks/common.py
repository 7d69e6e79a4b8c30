"""What every benchmark returns: figures with their goals."""

from __future__ import annotations

from dataclasses import dataclass


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
