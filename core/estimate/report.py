"""The whole estimate of a run: memory, verdict, disk, time, energy; the command line and the window show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from core import runs
from core.anatomy.source import Anatomy, open_anatomy
from core.anatomy.trained import counts, trained_parts
from core.estimate import cost as costs
from core.estimate import learned as learning
from core.estimate.memory import Memory, is_cuda, optimizer_bytes
from core.estimate.verdict import Change, changes, fits, usable, worst
from core.outlook import Outlook, outlook
from core.settings import Settings

#: What a worker needs in RAM before any tensor: Python, torch, the libraries. Measured on Linux; CUDA maps more.
_WORKER_BYTES = 700 << 20
_KEPT_TEXTS_BYTES = 512 << 20


@dataclass(frozen=True)
class Estimate:
    """What a run will take. None where nothing known tells it.

    Attributes:
        memory: The phase that needs most on one GPU (on the processor where hardware.device says so).
        processes: GPUs that need as much each.
        fits: Verdict by size of card in GB.
        trained, weights: Counts of trained weights and of all weights of the parts that are trained.
        changes: What would save memory, the cheapest first.
        factor: What real runs here taught; 1 before any.
        speed_from: Name of the run that hours and energy are taken from, "" without one.
    """

    device: str
    memory: Memory
    processes: int
    fits: dict[str, bool]
    ram_bytes: int
    disk_bytes: int
    steps: int | None
    hours: float | None
    kwh: float | None
    cost: float | None
    trained: int
    weights: int
    changes: list[Change]
    factor: float
    speed_from: str
    co2_grams: float | None = None

    @property
    def trainable_share(self) -> float:
        """Share of the weights that is trained, 0 to 1."""
        return self.trained / self.weights if self.weights else 0.0

    def to_json(self) -> dict[str, Any]:
        """The document of `main.py estimate --json`."""
        vram = [
            {"gpu": number, "total_bytes": self.memory.total, "components": self.memory.components}
            for number in range(self.processes)
        ]
        return {
            "device": self.device,
            "phase": self.memory.phase,
            "vram": vram,
            "ram_bytes": self.ram_bytes,
            "disk_bytes": self.disk_bytes,
            "steps": self.steps,
            "hours": self.hours,
            "kwh": self.kwh,
            "cost": self.cost,
            "co2_grams": self.co2_grams,
            "fits": self.fits,
            "trained": self.trained,
            "weights": self.weights,
            "trainable_share": self.trainable_share,
            "changes": [asdict(change) for change in self.changes],
            "learned_factor": self.factor,
            "speed_from": self.speed_from,
        }


def fits_card(found: Estimate, card_bytes: float) -> bool:
    """Whether a card of so many bytes does."""
    return found.memory.total <= usable(card_bytes)


def estimate(
    settings: Settings,
    pictures: int | None = None,
    batches_per_epoch: int | None = None,
    *,
    cached_pictures: int | None = None,
    card_bytes: float | None = None,
    with_changes: bool = True,
) -> Estimate:
    """The estimate of settings; `pictures` and `batches_per_epoch` as core.outlook.outlook() has them.

    Args:
        cached_pictures: Pictures to be encoded, the held-out ones included.
        card_bytes: Changes are looked for until a card of this size does.
        with_changes: Off, no changes are looked for, which takes most of the time.

    Raises UserError for a model that cannot be read or settings that make no sense. Reads earlier runs once.
    """
    anatomy = open_anatomy(settings.model.base, settings.model.family)
    known = runs.list_runs()
    learning.learn(learning.learned_path(), known)
    factor = factor_here(settings, anatomy)
    memory = worst(settings, anatomy, factor)
    trained = trained_parts(settings, anatomy)
    own, whole = counts(anatomy, trained)
    ahead = outlook(settings, pictures, batches_per_epoch)
    speed = costs.earlier_speed(settings, known)
    taken = costs.cost(settings, ahead.images, speed)
    return Estimate(
        device="cuda" if is_cuda(settings) else "cpu",
        memory=memory,
        processes=settings.hardware.processes,
        fits=fits(memory.total),
        ram_bytes=_ram_bytes(settings, anatomy, memory, own),
        disk_bytes=_disk_bytes(settings, anatomy, ahead, cached_pictures or pictures),
        steps=ahead.steps,
        hours=taken.hours,
        kwh=taken.kwh,
        cost=taken.money,
        trained=own,
        weights=whole,
        changes=changes(settings, anatomy, factor, card_bytes) if with_changes else [],
        factor=factor,
        speed_from=speed.run if speed else "",
        co2_grams=taken.co2_grams,
    )


def savings(settings: Settings) -> list[Change]:
    """Every single change that would save memory, the cheapest first; UserError as estimate()."""
    anatomy = open_anatomy(settings.model.base, settings.model.family)
    return changes(settings, anatomy, factor_here(settings, anatomy))


def factor_here(settings: Settings, anatomy: Anatomy) -> float:
    """What was learned before for this family and method; looks at no new run."""
    if not is_cuda(settings):
        return 1.0
    return learning.load(learning.learned_path()).factor(anatomy.name, settings.training.method)


def _ram_bytes(settings: Settings, anatomy: Anatomy, memory: Memory, trained: int) -> int:
    """RAM of all workers: on the processor the tensors themselves, else the larger part's weights on their way.

    Kept text states count with as much as they may take.
    """
    if is_cuda(settings):
        own = 4 * max(anatomy.weights(part) for part in anatomy.parts)
        if settings.training.ema and settings.training.ema_on_cpu:
            own += 4 * trained
        if settings.hardware.offload_states:
            own += optimizer_bytes(settings, anatomy, trained_parts(settings, anatomy))
    else:
        own = memory.total
    return settings.hardware.processes * (own + _WORKER_BYTES) + _KEPT_TEXTS_BYTES


def _disk_bytes(settings: Settings, anatomy: Anatomy, ahead: Outlook, pictures: int | None) -> int:
    """Cache, saved models and training states (one more than is kept while a new one is written)."""
    trained = trained_parts(settings, anatomy)
    models = costs.kept_checkpoints(settings, ahead) * costs.checkpoint_bytes(settings, anatomy, trained)
    state = costs.state_bytes(settings, anatomy, trained, optimizer_bytes(settings, anatomy, trained))
    return models + (settings.output.keep_states + 1) * state + costs.cache_bytes(settings, anatomy, pictures)
