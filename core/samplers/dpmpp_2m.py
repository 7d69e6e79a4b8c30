"""Sampler "DPM++ 2M" (DPMSolverMultistepScheduler of diffusers)."""

from __future__ import annotations

from typing import Any

LABEL = "DPM++ 2M"
HELP = "Good pictures in 20 steps."
ORDER = 40
SCHEDULER = "DPMSolverMultistepScheduler"
ARGUMENTS: dict[str, Any] = {"algorithm_type": "dpmsolver++", "solver_order": 2}
