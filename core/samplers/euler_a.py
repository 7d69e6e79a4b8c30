"""Sampler "Euler a" (EulerAncestralDiscreteScheduler of diffusers)."""

from __future__ import annotations

from typing import Any

LABEL = "Euler a"
HELP = "Adds fresh noise at each step: lively pictures that never settle."
ORDER = 30
SCHEDULER = "EulerAncestralDiscreteScheduler"
ARGUMENTS: dict[str, Any] = {}
