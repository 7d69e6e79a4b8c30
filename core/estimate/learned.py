"""What real runs on this machine taught: by how much the part of the memory that cannot be counted was misjudged.

Weights, gradients and states are counted exactly; activations, copies and the overhead of the driver depend on kernels
and on gaps between tensors. Their sum is multiplied by a factor for each family and method, learned from the most that
the sensors saw in finished runs. A small JSON file in the user's folder keeps the factors.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import atomic, paths
from core import events as ev
from core.anatomy.source import open_anatomy
from core.errors import UserError
from core.estimate.memory import BUCKETS, EMA, STATES, TEXTS, VAE, WEIGHTS, Memory, phases
from core.estimate.tape import GRADIENTS
from core.runs import Run
from core.settings import Settings

_FORMAT = 1
#: A run weighs at least so much in the mean: old runs fade, for drivers and versions change.
_LEAST_WEIGHT = 0.25
#: Nothing learned goes beyond these; a reading outside tells of another program on the card.
_LOW, _HIGH = 0.5, 3.0
_EXACT = frozenset((WEIGHTS, TEXTS, VAE, STATES, EMA, BUCKETS, GRADIENTS))


@dataclass
class Learned:
    """Factors by "family method", and the runs that were looked at.

    Attributes:
        factors: {"sd15 lora": (factor, runs)}.
        seen: Identifiers of runs, the newest last.
    """

    factors: dict[str, tuple[float, int]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def factor(self, family: str, method: str) -> float:
        """What to multiply the inexact components by; 1 before any run."""
        return self.factors.get(f"{family} {method}", (1.0, 0))[0]

    def add(self, family: str, method: str, factor: float) -> None:
        """Take one run in."""
        old, runs = self.factors.get(f"{family} {method}", (1.0, 0))
        weight = max(_LEAST_WEIGHT, 1 / (runs + 1))
        self.factors[f"{family} {method}"] = (round(old + (factor - old) * weight, 4), runs + 1)


def learned_path() -> Path:
    """The file."""
    return paths.home_folder() / "learned-memory.json"


def load(path: Path) -> Learned:
    """What was learned; nothing when the file is not there, damaged or from a newer version."""
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != _FORMAT:
            return Learned()
        factors = {str(key): (float(value[0]), int(value[1])) for key, value in raw["factors"].items()}
        if not all(_LOW <= factor <= _HIGH for factor, _ in factors.values()):
            return Learned()
        return Learned(factors, [str(name) for name in raw["seen"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return Learned()


def save(path: Path, learned: Learned) -> None:
    """Write the file, all or nothing. OSError when it cannot be written."""
    plain = {"format": _FORMAT, "factors": learned.factors, "seen": learned.seen[-1000:]}
    atomic.write_text(path, json.dumps(plain, indent=1))


def corrected(memory: Memory, factor: float) -> Memory:
    """The memory with its inexact components multiplied."""
    if factor == 1.0:
        return memory
    parts = {name: n if name in _EXACT else round(n * factor) for name, n in memory.components.items()}
    return Memory(memory.phase, parts)


def factor_of(settings: Settings, measured: int) -> tuple[str, float] | None:
    """(family, factor) that makes the estimate of these settings the measured bytes; None where none can.

    Encoding is left out: measured is what comes after it, and a run whose pictures are cached does not encode.
    """
    anatomy = open_anatomy(settings.model.base, settings.model.family)
    later = (memory for memory in phases(settings, anatomy) if memory.phase != "caching")
    worst = max(later, key=lambda memory: memory.total)
    exact = sum(count for name, count in worst.components.items() if name in _EXACT)
    loose = worst.total - exact
    factor = (measured - exact) / loose if loose else 0.0
    return (anatomy.name, factor) if _LOW <= factor <= _HIGH else None


def measured_peak(run: Run) -> int:
    """Most bytes that the sensors saw on a GPU that the run trained on; 0 when it did not train on one."""
    follower = ev.Follower(run.events_path)
    most, on_gpu = 0, False
    while events := follower.read():
        for event in events:
            if isinstance(event, ev.Started):
                on_gpu = event.device.startswith("cuda")
            elif isinstance(event, ev.Telemetry) and on_gpu and event.gpus:
                most = max(most, event.gpus[0].vram_bytes)
    return most


def learn(path: Path, runs: Iterable[Run]) -> Learned:
    """Look at finished and stopped runs that were not looked at before, and keep what they teach."""
    learned = load(path)
    known = set(learned.seen)
    for run in runs:
        with contextlib.suppress(UserError, OSError):
            facts = run.facts()
            if facts["id"] in known or facts["kind"] != "train" or run.state()[0] not in ("finished", "stopped"):
                continue
            learned.seen.append(str(facts["id"]))
            settings = run.settings()
            most = measured_peak(run)
            found = factor_of(settings, most) if most > 0 else None
            if found:
                learned.add(found[0], settings.training.method, found[1])
    if len(learned.seen) > len(known):
        with contextlib.suppress(OSError):
            save(path, learned)
    return learned
