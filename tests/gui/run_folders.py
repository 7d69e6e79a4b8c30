"""Real run folders for tests of the window: written with the real events, as a worker writes them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil
from PIL import Image

from core import events as ev
from core import presets
from core.runs import Run
from core.settings import default_settings
from tests.fixtures.run_folders import write_events


def make_run(path: Path, kind: str = "train", name: str = "foxes") -> Path:
    """An empty run folder with frozen settings."""
    for folder in ("checkpoints", "samples", "grids"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    facts = {"format": 1, "id": "abc", "name": name, "kind": kind, "created": time.time(), "version": "0"}
    (path / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    settings = default_settings()
    settings.sample.prompts = ["a fox in the snow", "a fox at night"]
    settings.model.base = str(path / "run.json")
    presets.freeze(path / "settings.toml", settings)
    return path


def be_its_worker(path: Path, pid: int | None = None) -> None:
    """Let a living process (this one) stand for the run's worker."""
    process = psutil.Process(pid or os.getpid())
    facts = {"pid": process.pid, "created": process.create_time()}
    (path / "worker.json").write_text(json.dumps(facts), encoding="utf-8")


def started(step: int = 0, total: int = 1000) -> ev.Started:
    """The first word of a training."""
    return ev.Started(
        step=step,
        total_steps=total,
        steps_per_epoch=50,
        images_per_step=4,
        pictures=200,
        validation_pictures=20,
        trainable=1000,
        parameters=10_000,
        device="cpu",
        precision="fp32",
    )


def a_step(step: int, loss: float = 0.1) -> ev.Step:
    """One step of two seconds."""
    return ev.Step(
        step=step,
        loss=loss,
        rates={"unet": 1e-5},
        images=4 * step,
        epoch=step / 50,
        speed=2.0,
        grad_norm=0.5,
        seconds=2.0 * step,
    )


def sensors(step: int, gpu: bool = True, source: str = "counter") -> ev.Telemetry:
    """A reading with one GPU or none."""
    card = ev.Gpu(
        index=0,
        name="NVIDIA GeForce RTX 4090",
        vram_bytes=21 << 30,
        vram_total_bytes=24 << 30,
        watts=280,
        celsius=66,
        utilisation=95,
    )
    return ev.Telemetry(
        step=step,
        seconds=2.0 * step,
        gpus=[card] if gpu else [],
        cpu_percent=30,
        ram_bytes=8 << 30,
        ram_total_bytes=64 << 30,
        worker_bytes=1 << 30,
        kwh=0.42,
        energy_source=source,
        cost=0.13,
        currency="EUR",
    )


def evaluated(step: int, loss: float, split: str = "validation") -> ev.Evaluated:
    """A stable loss with four timestep buckets."""
    return ev.Evaluated(step=step, split=split, loss=loss, buckets=[2 * loss, loss, loss / 2, loss / 4], duration=1)


def picture(path: Path, color: str = "red") -> None:
    """A small picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), color).save(path)


def write(path: Path, *events: ev.Event) -> None:
    """Append events to a run."""
    write_events(Run(path), events)
