"""Sampler "UniPC" (UniPCMultistepScheduler of diffusers)."""

from __future__ import annotations

from typing import Any

LABEL = "UniPC"
HELP = "Good pictures in 10 to 15 steps."
ORDER = 60
SCHEDULER = "UniPCMultistepScheduler"
ARGUMENTS: dict[str, Any] = {}
