"""Linear decay to zero."""

from __future__ import annotations

LABEL = "Linear"
HELP = "Falls evenly to 0 at the planned end."
ORDER = 30


def factor(progress: float, options: None) -> float:
    """Share of the full rate at `progress` (0 after the warm-up to 1 at the planned end)."""
    return 1.0 - min(1.0, max(0.0, progress))
