"""Sampler "Euler" (EulerDiscreteScheduler of diffusers)."""

from __future__ import annotations

from typing import Any

LABEL = "Euler"
HELP = "Simple and quick."
ORDER = 20
SCHEDULER = "EulerDiscreteScheduler"
ARGUMENTS: dict[str, Any] = {}
