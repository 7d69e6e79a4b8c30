"""Sampler "DPM++ 2M Karras" (DPMSolverMultistepScheduler of diffusers)."""

from __future__ import annotations

from typing import Any

LABEL = "DPM++ 2M Karras"
HELP = "DPM++ 2M with more of its steps at low noise."
ORDER = 50
SCHEDULER = "DPMSolverMultistepScheduler"
ARGUMENTS: dict[str, Any] = {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True}
