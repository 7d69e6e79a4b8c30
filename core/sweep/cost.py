"""What a sweep will take, before it starts: hours, energy, money, disk; by the speed of earlier runs here."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from core import presets, runs
from core.anatomy.source import Anatomy, open_anatomy
from core.anatomy.trained import trained_parts
from core.errors import UserError
from core.estimate import cost as costs
from core.estimate.memory import optimizer_bytes
from core.outlook import Outlook, outlook
from core.runs import Run
from core.settings import Settings
from core.sweep.plan import PlannedRun, SweepPlan

BATCH = "training.batch_size"


@dataclass(frozen=True)
class SweepCost:
    """A sweep in numbers; None where nothing here has measured it.

    Attributes:
        runs: So many it has.
        known: Of so many the hours are known, the others are not in the sums.
        steps: Of all runs; None where the number of pictures decides them and is not known.
        hours: Of all runs together; `wall_hours`: until the end, with `at_once` runs side by side.
        disk_bytes: Checkpoints that stay; None where the model cannot be read.
        rest_kwh: The part of `kwh` that the rest of the machine takes, if the earlier runs went one at a time.
        co2_grams: None where the settings give no CO2 for a kWh.
        rough: Whether some hours come from a run with another batch size.
        speed_from: Name of a run that they come from.
    """

    runs: int
    known: int = 0
    steps: int | None = None
    images: int | None = None
    hours: float | None = None
    wall_hours: float | None = None
    at_once: int = 1
    kwh: float | None = None
    rest_kwh: float = 0.0
    cost: float | None = None
    currency: str = ""
    co2_grams: float | None = None
    disk_bytes: int | None = None
    rough: bool = False
    speed_from: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


@dataclass(frozen=True)
class RunCost:
    """The same for one run."""

    ahead: Outlook
    taken: costs.Cost
    rough: bool = False
    speed_from: str = ""


def sweep_cost(
    plan: SweepPlan, wanted: Iterable[PlannedRun] | None = None, *, pictures: int | None = None, keep: str = "models"
) -> SweepCost:
    """What the runs of a plan will take.

    Args:
        wanted: The runs to count, None: all.
        pictures: Those trained on, where that is known; it decides the length of runs that are counted in epochs.
        keep: As queue.keep says.
    """
    chosen = list(plan.runs if wanted is None else wanted)
    if not chosen:
        return SweepCost(0)
    ways = {run.id: plan.settings(run) for run in chosen}
    each = run_costs(ways, pictures)
    currency = next(iter(ways.values())).hardware.currency
    hours = [row.taken.hours for row in each.values() if row.taken.hours is not None]
    kwh = [row.taken.kwh for row in each.values() if row.taken.kwh is not None]
    money = [row.taken.money for row in each.values() if row.taken.money is not None]
    co2 = [row.taken.co2_grams for row in each.values() if row.taken.co2_grams is not None]
    steps = [row.ahead.steps for row in each.values()]
    images = [row.ahead.images for row in each.values()]
    return SweepCost(
        runs=len(chosen),
        known=len(hours),
        steps=None if None in steps else sum(filter(None, steps)),
        images=None if None in images else sum(filter(None, images)),
        hours=sum(hours) if hours else None,
        wall_hours=sum(hours) if hours else None,
        kwh=sum(kwh) if kwh else None,
        cost=sum(money) if money else None,
        rest_kwh=sum(_rest_kwh(ways[name], row.taken) for name, row in each.items()),
        currency=currency,
        co2_grams=sum(co2) if co2 else None,
        disk_bytes=0 if keep == "curves" else _disk(list(ways.values()), each),
        rough=any(row.rough for row in each.values()),
        speed_from=next((row.speed_from for row in each.values() if row.speed_from), ""),
    )


def side_by_side(found: SweepCost, at_once: int) -> SweepCost:
    """The same with so many runs at a time, as far as there are so many.

    Each run counts the GPUs that it works on; the rest of the machine they share (core/rest_share.py).
    """
    at_once = max(1, min(at_once, found.runs))
    wall = None if found.hours is None else found.hours / at_once
    found = replace(found, wall_hours=wall, at_once=at_once)
    if found.kwh is None or found.kwh <= 0:
        return found
    less = 1 - found.rest_kwh * (1 - 1 / at_once) / found.kwh
    return replace(
        found,
        kwh=found.kwh * less,
        rest_kwh=found.rest_kwh / at_once,
        cost=None if found.cost is None else found.cost * less,
        co2_grams=None if found.co2_grams is None else found.co2_grams * less,
    )


def _rest_kwh(settings: Settings, taken: costs.Cost) -> float:
    """What the rest of the machine takes of a run's energy."""
    if taken.kwh is None or taken.hours is None:
        return 0.0
    return min(taken.kwh, settings.hardware.rest_watts * taken.hours / 1000)


def run_costs(ways: dict[str, Settings], pictures: int | None = None) -> dict[str, RunCost]:
    """What each of some settings takes; by their names."""
    known = runs.list_runs()
    speeds: dict[tuple[Any, ...], tuple[costs.Speed | None, bool]] = {}
    found: dict[str, RunCost] = {}
    sizes = sorted({settings.training.batch_size for settings in ways.values()} | {1, 2, 4, 8})
    for name, settings in ways.items():
        values = presets.flat(settings)
        key = tuple(values[option] for option in costs.DECIDE_SPEED)
        if key not in speeds:
            speeds[key] = _speed(settings, known, sizes)
        speed, rough = speeds[key]
        ahead = outlook(settings, pictures, _batches(settings, pictures))
        taken = costs.cost(settings, ahead.images, speed)
        found[name] = RunCost(ahead, taken, rough and speed is not None, speed.run if speed else "")
    return found


def _batches(settings: Settings, pictures: int | None) -> int | None:
    """Batches of an epoch, near enough: buckets may leave some batches short."""
    if not pictures:
        return None
    used = min(pictures, settings.data.pictures or pictures)
    return math.ceil(used / settings.training.batch_size)


def _speed(settings: Settings, known: list[Run], sizes: list[int]) -> tuple[costs.Speed | None, bool]:
    """(the speed of an earlier run like this one, whether it is one with another batch size)."""
    exact = costs.earlier_speed(settings, known)
    if exact is not None:
        return exact, False
    for size in _nearest_first(settings.training.batch_size, sizes):
        other = presets.build({**presets.flat(settings), BATCH: size}, "estimate")
        near = costs.earlier_speed(other, known)
        if near is not None:
            return near, True
    return None, False


def _nearest_first(size: int, sizes: list[int]) -> Iterator[int]:
    yield from sorted((one for one in sizes if one != size), key=lambda one: abs(math.log(one / size)))


def _disk(ways: list[Settings], each: dict[str, RunCost]) -> int | None:
    """Bytes of the checkpoints that stay, and of the one training state that a running run has."""
    total, state = 0, 0
    sizes: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(UserError):
        anatomies: dict[tuple[str, str], Anatomy] = {}
        for settings, row in zip(ways, each.values(), strict=True):
            name = (settings.model.base, settings.model.family)
            if name not in anatomies:
                anatomies[name] = open_anatomy(*name)
            mark = _mark(settings)
            if mark not in sizes:
                sizes[mark] = _sizes(settings, anatomies[name])
            total += costs.kept_checkpoints(settings, row.ahead) * sizes[mark][0]
            state = max(state, sizes[mark][1])
        return total + state
    return None


def _sizes(settings: Settings, anatomy: Anatomy) -> tuple[int, int]:
    """Bytes of a checkpoint and of a training state."""
    trained = trained_parts(settings, anatomy)
    model = costs.checkpoint_bytes(settings, anatomy, trained)
    return model, costs.state_bytes(settings, anatomy, trained, optimizer_bytes(settings, anatomy, trained))


def _mark(settings: Settings) -> str:
    """Equal for settings whose saved files are equally large: what a run's length and its rates are does not matter."""
    values = presets.flat(settings)
    known = presets.entries()
    rates = {key: bool(value) for key, value in values.items() if key.endswith("learning_rate")}
    kept = {k: v for k, v in values.items() if known[k].owner.startswith("methods.") or k.startswith("model.")}
    training = settings.training
    kept |= {"method": training.method, "optimizer": training.optimizer, "ema": training.ema, "b": training.block_rates}
    return repr((kept, rates, settings.output.precision))
