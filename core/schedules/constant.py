"""Constant learning rate."""

from __future__ import annotations

LABEL = "Constant"
HELP = "The same rate all the way; the run may be stopped or prolonged at any point."
ORDER = 10


def factor(progress: float, options: None) -> float:
    """Share of the full rate at `progress` (0 after the warm-up to 1 at the planned end)."""
    return 1.0
