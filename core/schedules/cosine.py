"""Cosine decay to zero (Loshchilov and Hutter 2017, "SGDR", without restarts)."""

from __future__ import annotations

import math

LABEL = "Cosine"
HELP = "Falls slowly, then faster, then softly to 0 at the planned end."
ORDER = 20


def factor(progress: float, options: None) -> float:
    """Share of the full rate at `progress` (0 after the warm-up to 1 at the planned end)."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, progress))))
