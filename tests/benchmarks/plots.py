"""Benchmark "plots": curves of a million points, opening a long run, and the longest call while a run is live."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.paths import ROOT
from tests.benchmarks.common import Figure, apart, at_most, window_environment

POINTS = 1_000_000
FRAME_MS, OPEN_SECONDS, CALL_MS = 33.0, 3.0, 50.0
LIVE_SECONDS = 12.0


def run() -> dict[str, Figure]:
    """All figures; each is measured in a process of its own, as the window is one."""
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        run_folder = Path(folder) / "run"
        _child("write", run_folder)
        frame = _child("frame", run_folder)
        opened = _child("open", run_folder)
        calls = _child("calls", run_folder)
    return {
        "update_and_repaint": at_most(frame["frame_ms"], FRAME_MS, "ms"),
        "open_million_steps": at_most(opened["open_seconds"], OPEN_SECONDS, "s", 2),
        "first_layout_of_the_page": Figure(round(calls["first_ms"], 1), "ms", "-", True),
        "longest_call_while_opening": at_most(calls["loading_ms"], CALL_MS, "ms"),
        "longest_call_while_live": at_most(calls["live_ms"], CALL_MS, "ms"),
    }


def _child(job: str, folder: Path) -> dict[str, float]:
    """Run one of the jobs below in a fresh process; its last line is JSON."""
    return apart(["-m", "tests.benchmarks.plots", job, str(folder)], window_environment(folder.parent / "home"))


# -- a run of a million steps ---------------------------------------------------------------------------------


def events_of(first: int, last: int, began: float) -> Iterator[Any]:
    """Events as a training writes them: every step, sensors every 50th, the stable losses every 500th."""
    import numpy as np

    from core import events as ev

    noise = np.random.default_rng(first).normal(size=last - first + 1)
    for step, wild in zip(range(first, last + 1), noise.tolist(), strict=True):
        now, fall = began + 0.5 * step, 0.05 / (1 + step / 1e5)
        yield ev.Step(
            step=step,
            loss=0.1 + fall + 0.02 * wild,
            rates={"unet": 1e-5, "text_encoder": 1e-6},
            images=4 * step,
            epoch=step / 540,
            speed=8 + 0.1 * wild,
            grad_norm=0.4 + 0.05 * wild,
            seconds=0.5 * step,
            time=round(now, 3),
        )
        if step % 50 == 0:
            yield _sensors(step, wild, now)
        if step % 500 == 0:
            for split, add in (("train", 0.0), ("validation", 0.004)):
                loss = 0.1 + fall + add + 1e-4 * wild
                buckets = [2 * loss, loss, loss / 2, loss / 4]
                yield ev.Evaluated(step=step, split=split, loss=loss, buckets=buckets, duration=3.0, time=now)


def _sensors(step: int, wild: float, now: float) -> Any:
    from core import events as ev

    gpu = ev.Gpu(
        index=0,
        name="NVIDIA GeForce RTX 4090",
        vram_bytes=21 << 30,
        vram_total_bytes=24 << 30,
        watts=280 + 10 * wild,
        celsius=66.0,
        utilisation=95.0,
    )
    return ev.Telemetry(
        step=step,
        seconds=0.5 * step,
        gpus=[gpu],
        cpu_percent=30.0,
        ram_bytes=18 << 30,
        ram_total_bytes=64 << 30,
        worker_bytes=6 << 30,
        kwh=step * 4e-5,
        energy_source="counter",
        cost=step * 1.2e-5,
        currency="EUR",
        time=now,
    )


def draws_of(first: int, last: int) -> Any:
    """Four pictures' timesteps and losses a step, as many as a run keeps at most."""
    import numpy as np

    from core.timestep_losses import RECORD

    chance = np.random.default_rng(first)
    made = np.empty(4 * (last - first + 1), RECORD)
    made["step"] = np.repeat(np.arange(first, last + 1), 4)
    made["timestep"] = chance.integers(0, 1000, len(made))
    made["loss"] = 0.6 * np.exp(0.3 * chance.normal(size=len(made)) - 0.005 * made["timestep"])
    return made


def write_run(folder: Path) -> dict[str, float]:
    """A run folder of a million steps with their draws, written by the real encoder."""
    from core import events as ev
    from core import presets, timestep_losses
    from core.settings import default_settings

    (folder / "samples").mkdir(parents=True)
    facts = {"format": 1, "id": "bench", "name": "a million steps", "kind": "train", "created": time.time()}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    presets.freeze(folder / "settings.toml", default_settings())
    began = time.time() - 0.5 * POINTS
    started = ev.Started(
        step=0,
        total_steps=2 * POINTS,
        steps_per_epoch=540,
        images_per_step=4,
        pictures=2160,
        validation_pictures=24,
        trainable=23_000_000,
        parameters=860_000_000,
        device="cuda",
        precision="bf16",
        time=began,
    )
    with (folder / "events.jsonl").open("wb", buffering=1 << 20) as file:
        file.write(ev.encode(started))
        for event in events_of(1, POINTS, began):
            file.write(ev.encode(event))
    timestep_losses.Recorder(timestep_losses.path_of(folder), 0).append(draws_of(1, POINTS))
    return {"bytes": (folder / "events.jsonl").stat().st_size}


def write_live(folder: Path) -> dict[str, float]:
    """A worker's stand-in: 60 events a second, a sample every two seconds, a living worker.json."""
    import psutil
    from PIL import Image

    from core import events as ev
    from core import timestep_losses

    facts = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (folder / "worker.json").write_text(json.dumps(facts), encoding="utf-8")
    writer = ev.Writer(folder / "events.jsonl")
    draws = timestep_losses.Recorder(timestep_losses.path_of(folder), POINTS)
    until, step = time.monotonic() + LIVE_SECONDS + 8, POINTS
    for event in events_of(POINTS + 1, POINTS + 100_000, time.time() - 0.5 * POINTS):
        writer.write(event)
        time.sleep(1 / 60)
        step += isinstance(event, ev.Step)
        if isinstance(event, ev.Step):
            draws.append(draws_of(step, step))
        if step % 120 == 0 and isinstance(event, ev.Step):
            path = f"samples/{step:08d}.png"
            Image.effect_noise((512, 512), 60).convert("RGB").save(folder / path)
            writer.write(ev.Sample(step=step, path=path, prompt="a fox", seed=1, index=0))
        if time.monotonic() > until or not folder.exists():
            break
    return {"step": step}


# -- what is measured -----------------------------------------------------------------------------------------


def measure_frame() -> dict[str, float]:
    """Median milliseconds of one update and repaint of the loss card with a million points in each of its curves."""
    import numpy as np
    from PySide6.QtWidgets import QMainWindow

    from core.run_data import RunData
    from gui.app import make_application
    from gui.plots.loss_card import LossCard
    from gui.plots.timeline import Timeline

    app = make_application("light")
    steps = np.arange(1, POINTS + 1, dtype=np.float64)
    noise = np.random.default_rng(0).normal(size=POINTS)
    fall = 0.1 + 0.05 / (1 + steps / 1e5)
    data = RunData()
    wild = {"loss": 0.02, "stable/train": 2e-4, "stable/validation": 2e-4}
    for tag, amount in wild.items():
        data.curve(tag).extend(steps, fall + amount * noise)
    data.last_step = POINTS
    timeline = Timeline()
    card = LossCard(timeline)
    window = QMainWindow()
    window.setCentralWidget(card)
    window.resize(1366, 480)
    window.show()
    timeline.set_data(data)
    card.set_data(data)
    app.processEvents()
    times = []
    for number in range(40):
        step = float(POINTS + 1 + number)
        for tag, amount in wild.items():
            data.curve(tag).extend([step], [0.1 + amount * float(noise[number])])
        data.last_step = int(step)
        began = _own_time()
        timeline.advance()
        card.refresh()
        card.plot.refresh()
        card.plot.viewport().repaint()
        times.append(1000 * (_own_time() - began))
        app.processEvents()
    return {"frame_ms": statistics.median(times[5:]), "worst_ms": max(times[5:])}


def _own_time() -> float:
    """Seconds on a clock that stands while this thread waits for a processor that other programs hold.

    Only Linux tells that time; elsewhere it is the plain clock, and a busy machine makes the figures worse.
    """
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    return time.perf_counter() - waited


class _Watch:
    """Longest time that the window's thread gave no answer: gaps in the beat of a fast timer, in milliseconds."""

    BEAT_MS = 4

    def __init__(self) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.longest = 0.0
        self._last = _own_time()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(self.BEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = _own_time()
        self.longest = max(self.longest, 1000 * (now - self._last) - self.BEAT_MS)
        self._last = now

    def take(self) -> float:
        """The longest so far; begins anew."""
        longest, self.longest = self.longest, 0.0
        return longest


def _window() -> Any:
    """The window with the Monitor page in front, painted."""
    from gui.app import make_application
    from gui.main_window import MainWindow

    make_application("light")
    window = MainWindow()
    window.resize(1366, 768)
    window.show()
    window.show_page("monitor")
    _spin(1.0)
    return window


def _show(window: Any, folder: Path) -> None:
    """Ask for the run and wait until its curves are on the screen."""
    window.context.show_run(folder)
    _until_drawn(window)


def _until_drawn(window: Any) -> None:
    """Wait until the run's curves are on the screen."""
    from PySide6.QtCore import QEventLoop

    loop = QEventLoop()
    plot = window.page("monitor").loss.plot
    plot.painted.connect(lambda: loop.quit() if plot.points_drawn("loss") else None)
    loop.exec()


def measure_open(folder: Path) -> dict[str, float]:
    """Seconds from asking for the run to its curves on the screen."""
    window = _window()
    began = time.perf_counter()
    _show(window, folder)
    seconds = time.perf_counter() - began
    window.context.run.close()
    return {"open_seconds": seconds}


def measure_calls(folder: Path) -> dict[str, float]:
    """The longest calls: at the page's first layout, then while the run is read and drawn, and while it is live."""
    window = _window()
    watch = _Watch()
    window.context.show_run(folder)
    _spin(0.2)
    first = watch.take()
    _until_drawn(window)
    _spin(0.5)
    loading = watch.take()
    live = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.plots", "live", str(folder)], cwd=ROOT)
    try:
        _spin(3.0)
        watch.take()
        _spin(LIVE_SECONDS)
        longest = watch.take()
        grown = window.context.run.data.last_step - POINTS
    finally:
        live.kill()
        live.wait()
    window.context.run.close()
    if grown < 100:
        raise RuntimeError(f"the live run has grown by {grown} steps only")
    return {"first_ms": first, "loading_ms": loading, "live_ms": longest, "grown": grown}


def _spin(seconds: float) -> None:
    """Let the window live for a while."""
    from PySide6.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


_JOBS = {
    "write": write_run,
    "live": write_live,
    "frame": lambda folder: measure_frame(),
    "open": measure_open,
    "calls": measure_calls,
}

if __name__ == "__main__":
    print(json.dumps(_JOBS[sys.argv[1]](Path(sys.argv[2]))))
