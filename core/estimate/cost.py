"""What a run takes besides memory: disk, hours, energy and money."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core import events as ev
from core import presets, registry
from core.anatomy.source import Anatomy
from core.anatomy.trained import Trained
from core.errors import UserError
from core.outlook import Outlook, effective_batch
from core.runs import Run, tail_events
from core.settings import Settings

_BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}
#: Steps at a run's end that tell its speed.
_STEPS = 50
#: A latent's entry in its file's header: name, place, checksum.
_NAME_BYTES = 180
#: Options that decide the speed; a run tells something only where they are the same.
DECIDE_SPEED = (
    "model.base",
    "data.resolution",
    "training.method",
    "training.batch_size",
    "training.precision",
    "training.activation_checkpointing",
    "hardware.device",
    "hardware.processes",
)


@dataclass(frozen=True, slots=True)
class Speed:
    """What an earlier run of the same kind did.

    Attributes:
        images_per_second: Trained pictures a second, all processes together.
        watts: Mean power over the run; None where nothing measured it.
        run: Its name.
        measuring_seconds: What one measurement of the stable losses took; 0 where none was seen.
    """

    images_per_second: float
    watts: float | None
    run: str
    measuring_seconds: float = 0.0


def earlier_speed(settings: Settings, runs: Iterable[Run]) -> Speed | None:
    """The newest run here with the same model, method and load, None when there is none: nothing is made up."""
    wanted = _deciding(settings)
    for run in runs:
        with contextlib.suppress(UserError, OSError):
            if run.facts()["kind"] != "train":
                continue
            if _alike(run.settings_path, run.settings_path.stat().st_mtime_ns) != wanted:
                continue
            found = _speed_of(run)
            if found:
                return found
    return None


@lru_cache(maxsize=1024)
def _alike(path: Path, stamp: int) -> dict[str, Any]:
    """What a run's frozen settings say of the options that decide the speed; read once, for there are many runs."""
    return _deciding(presets.thaw(path))


def _deciding(settings: Settings) -> dict[str, Any]:
    """The options that decide the speed."""
    values = presets.flat(settings)
    return {key: values[key] for key in DECIDE_SPEED}


def _speed_of(run: Run) -> Speed | None:
    events = tail_events(run.events_path, lambda event: isinstance(event, ev.Step))
    speeds = [event.speed for event in events if isinstance(event, ev.Step) and event.speed > 0][-_STEPS:]
    if not speeds:
        return None
    readings = [event for event in events if isinstance(event, ev.Telemetry)]
    last = readings[-1] if readings else None
    watts = last.kwh * 3.6e6 / last.seconds if last and last.kwh > 0 and last.seconds > 0 else None
    return Speed(statistics.median(speeds), watts, run.name, _measuring_seconds(events))


def _measuring_seconds(events: Iterable[ev.AnyEvent]) -> float:
    """What measuring once took, of both splits and all weights, by the median of the measurements among the events."""
    durations: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if isinstance(event, ev.Evaluated):
            durations.setdefault((event.split, event.weights), []).append(event.duration)
    return sum(statistics.median(found) for found in durations.values())


@dataclass(frozen=True, slots=True)
class Cost:
    """Hours, energy, money and CO2; None where nothing here has measured it, or (CO2) nobody has set it."""

    hours: float | None
    kwh: float | None
    money: float | None
    co2_grams: float | None = None


def cost(settings: Settings, images: int | None, speed: Speed | None) -> Cost:
    """What so many trained pictures take at a speed, with the measurements of the stable loss on the way."""
    if images is None or speed is None:
        return Cost(None, None, None)
    every, steps = settings.validation.every_steps, images / effective_batch(settings)
    measured = math.ceil(steps / every) + 1 if every else 0
    training, measuring = images / speed.images_per_second, measured * speed.measuring_seconds
    most = settings.validation.most_share
    if 0 < most < 1:
        measuring = min(measuring, training * most / (1 - most))
    hours = (training + measuring) / 3600
    kwh = None if speed.watts is None else speed.watts * hours / 1000
    hardware = settings.hardware
    co2 = None if kwh is None or not hardware.co2_per_kwh else kwh * hardware.co2_per_kwh
    return Cost(hours, kwh, None if kwh is None else kwh * hardware.price_per_kwh, co2)


def checkpoint_bytes(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained]) -> int:
    """Size of one saved model: a whole one, or the additions alone."""
    size = _BYTES[settings.output.precision]
    if not registry.component("methods", settings.training.method).WHOLE:
        return size * sum(what.added(anatomy.parts[part]) for part, what in trained.items())
    return size * sum(anatomy.weights(part) for part in anatomy.parts)


def state_bytes(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained], optimizer_bytes: int) -> int:
    """Size of one training state: the trained weights in 32 bits, the optimizer's states, an average of the weights."""
    weights = 0
    for part, what in trained.items():
        own = sum(t.count for layer in anatomy.parts[part] for t in layer.tensors() if t.name in what.names)
        weights += 4 * (own + what.added(anatomy.parts[part]))
    return weights * (2 if settings.training.ema else 1) + optimizer_bytes


def cache_bytes(settings: Settings, anatomy: Anatomy, images: int | None) -> int:
    """Encoded pictures on the disk: fp16, as core/engine/latent_store.py keeps them; mirrored ones as well."""
    if not images:
        return 0
    factor = int(2 ** (len(anatomy.configs["vae"]["block_out_channels"]) - 1))
    channels = int(anatomy.configs["vae"].get("latent_channels", 4))
    numbers = channels * (settings.data.resolution // factor) ** 2
    return images * (2 if settings.data.flip else 1) * (2 * numbers + _NAME_BYTES)


def kept_checkpoints(settings: Settings, found: Outlook) -> int:
    """Saved models that stay at most: all, or with a limit the last, the best and those at the spared multiples."""
    saved, output = found.checkpoints or 1, settings.output
    if not output.keep_last:
        return saved
    spared = (found.steps or 0) // output.keep_every if output.keep_every else 0
    return min(saved, output.keep_last + output.keep_best + spared)
