"""The small training that runs while power limits are measured: a real worker with the user's settings, never saved."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from core import checks, paths, presets, runs
from core import events as ev
from core.errors import UserError
from core.estimate.cost import DECIDE_SPEED
from core.launch import END_WITH, start_detached, worker_command, worker_environment
from core.power.limits import Card
from core.processes import own_name
from core.runs import Run
from core.settings import Settings

#: What makes two jobs comparable, besides what decides the speed.
_ALSO = ("training.optimizer", "training.accumulation", "hardware.compile", "hardware.attention")
#: More steps than any measurement takes.
_STEPS = 10_000_000
#: So many batches of pictures are enough, and are encoded soon.
_BATCHES, _LEAST_PICTURES = 16, 64

Launch = Callable[[Run, dict[str, str]], "subprocess.Popen[bytes]"]


def shortened(settings: Settings) -> Settings:
    """The same training for a measurement: few pictures, one GPU, and nothing measured, drawn or saved on the way.

    UserError when it could not start.
    """
    values = presets.flat(settings)
    training = settings.training
    pictures = max(_LEAST_PICTURES, _BATCHES * training.batch_size * training.accumulation)
    values |= {
        "data.pictures": min(settings.data.pictures or pictures, pictures),
        "training.max_steps": _STEPS,
        "training.max_epochs": 0,
        "validation.every_steps": 0,
        "validation.patience": 0,
        "validation.keep_draws": False,
        "sample.every_steps": 0,
        "sample.every_epochs": 0,
        "sample.prompts": [],
        "output.save_every_steps": 0,
        "output.save_every_epochs": 0,
        "output.tensorboard": False,
        "hardware.processes": 1,
        "hardware.parallel": "ddp",
        "hardware.rest_watts": 0.0,
        "hardware.telemetry_seconds": 5.0,
    }
    short = presets.build(values, "power")
    checks.require_startable(short)
    return short


def key_of(settings: Settings) -> str:
    """Equal for trainings whose measurements may be put into one table; on how many GPUs does not matter."""
    values = {**presets.flat(settings), "hardware.processes": 1}
    text = json.dumps([str(values[name]) for name in (*DECIDE_SPEED, *_ALSO)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def launch_worker(run: Run, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the worker of a run in a session of its own: a ctrl-C is for the measurement, which ends the worker."""
    return start_detached(worker_command("train", run.path), environment, run.console_path)


@dataclass(frozen=True, slots=True)
class Progressed:
    """The latest step of the job: images trained since the beginning, and when (seconds since 1970)."""

    step: int
    images: int
    time: float


class Job:
    """A training on one card; a context manager that ends it, and removes what it wrote, however it is left.

    Attributes:
        latest: Its latest step.
        phase: What it does before the first one, "" from then on.
        device: What it found to work on, "" until it has told.
    """

    def __init__(self, settings: Settings, card: Card, launch: Launch = launch_worker) -> None:
        """`launch` is given by tests."""
        self._folder = paths.cache_folder() / "power-job"
        shutil.rmtree(self._folder, ignore_errors=True)  # a killed one's; only one measures at a time
        self._run = runs.create(settings, self._folder / "run", remember=False)
        self._follower = ev.Follower(self._run.events_path)
        self._ended: ev.Ended | None = None
        self.latest = Progressed(0, 0, 0.0)
        self.phase = "loading"
        self.device = ""
        environment = worker_environment() | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        environment[END_WITH] = own_name()
        if settings.hardware.device != "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = card.uuid or str(card.index)
        self._child = launch(self._run, environment)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the worker, for it need save nothing, and wait until it is gone."""
        with contextlib.suppress(psutil.Error):
            worker = psutil.Process(self._child.pid)
            for process in (*worker.children(recursive=True), worker):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self._child.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def poll(self) -> Progressed:
        """Look what the worker has said. UserError when it has ended, with its reason."""
        ended = self._child.poll() is not None
        for event in self._follower.read():
            if isinstance(event, ev.Step):
                self.latest = Progressed(event.step, event.images, event.time)
                self.phase = ""
            elif isinstance(event, ev.Started):
                self.device = event.device
            elif isinstance(event, ev.Progress):
                self.phase = event.phase
            elif isinstance(event, ev.Ended):
                self._ended = event
        if ended:
            raise UserError(f"The training that was to be measured ended: {self._reason()}")
        return self.latest

    def _reason(self) -> str:
        """Why the worker ended; what it printed is kept, for the run's folder goes."""
        log = paths.home_folder() / "power-job.log"
        with contextlib.suppress(OSError):
            shutil.copy(self._run.console_path, log)
        if self._ended is not None and self._ended.text:
            return self._ended.text.replace(str(self._run.console_path), str(log))
        with contextlib.suppress(OSError):
            lines = self._run.console_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return lines[-1][:300]
        return f"It said nothing (status {self._child.returncode})."
