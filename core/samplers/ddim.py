"""Sampler "DDIM" (DDIMScheduler of diffusers)."""

from __future__ import annotations

from typing import Any

LABEL = "DDIM"
HELP = "Repeats exactly; the reference for comparing checkpoints."
ORDER = 10
SCHEDULER = "DDIMScheduler"
ARGUMENTS: dict[str, Any] = {"set_alpha_to_one": False}
