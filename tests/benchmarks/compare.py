"""Benchmark "compare": 50 runs of 100,000 steps opened in Compare, and panned."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import Figure, apart, at_most, window_environment
from tests.benchmarks.plots import CALL_MS, _own_time, events_of

RUNS, POINTS, DIFFERENT = 50, 100_000, 5
OPEN_SECONDS, FRAMES_A_SECOND = 2.0, 30.0
_FRAMES = 40


def run() -> dict[str, Figure]:
    """All figures; the window is a process of its own each time, as it is for a user who starts it again.

    The goal is for runs whose curves are kept as columns: those that a worker has ended, and those that were compared
    before. Runs of which only the events are there (copied from elsewhere) are measured too.
    """
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        home = Path(folder)
        write_runs(home)
        command, environment = ["-m", "tests.benchmarks.compare", "measure"], window_environment(home)
        first = apart(command, environment)
        later = apart(command, environment)
    return {
        "open_50_runs": at_most(later["open_seconds"], OPEN_SECONDS, "s", 2),
        "open_50_runs_processor": Figure(round(later["open_cpu"], 2), "s", "-", True),
        "open_50_runs_never_read": Figure(round(first["open_seconds"], 2), "s", "-", True),
        "open_50_runs_never_read_processor": Figure(round(first["open_cpu"], 2), "s", "-", True),
        "longest_call_while_opening": at_most(later["longest_ms"], CALL_MS, "ms"),
        "pan_stable_loss": _at_least(later["pan_validation"]),
        "pan_training_loss_smoothed": _at_least(later["pan_smoothed"]),
        "pan_training_loss": _at_least(later["pan_loss"]),
    }


def _at_least(frames: float) -> Figure:
    return Figure(round(frames, 1), "frames/s", f">= {FRAMES_A_SECOND:g}", frames >= FRAMES_A_SECOND)


def write_runs(home: Path) -> None:
    """The runs of a user, written by the real encoder; some share one events file, for each is read by itself."""
    from core import events as ev
    from core import presets
    from core.settings import default_settings

    began = time.time() - 0.5 * POINTS
    files = []
    for number in range(DIFFERENT):
        path = home / f"events-{number}.jsonl"
        with path.open("wb", buffering=1 << 20) as file:
            for event in events_of(1 + number * POINTS, (number + 1) * POINTS, began):
                file.write(ev.encode(_moved_back(event, number * POINTS)))
            file.write(ev.encode(ev.Ended(state="finished", step=POINTS, time=began + 0.5 * POINTS)))
        files.append(path)
    for number in range(RUNS):
        folder = home / "runs" / f"run-{number:02d}"
        folder.mkdir(parents=True)
        facts = {"format": 1, "id": str(number), "name": f"run {number}", "kind": "train", "created": time.time()}
        (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
        settings = default_settings()
        settings.training.learning_rate = 1e-6 * (1 + number)
        presets.freeze(folder / "settings.toml", settings)
        try:
            os.link(files[number % DIFFERENT], folder / "events.jsonl")
        except OSError:
            shutil.copy(files[number % DIFFERENT], folder / "events.jsonl")


def _moved_back(event: Any, steps: int) -> Any:
    """The event of another stretch of a long run as one of the first steps."""
    import msgspec

    return msgspec.structs.replace(event, step=event.step - steps)


def measure() -> dict[str, float]:
    """Open all runs of the user's folder in Compare, then pan over each kind of curve."""
    from PySide6.QtCore import QEventLoop

    from gui.app import make_application
    from gui.main_window import MainWindow
    from tests.benchmarks.plots import _spin, _Watch

    make_application("light")
    window = MainWindow()
    window.resize(1366, 768)
    window.show()
    window.show_page("compare")
    page: Any = window.page("compare")
    while page.picker.count < RUNS or page.reader.busy:
        _spin(0.1)
    page.choose([])
    _spin(0.5)
    loop, plot = QEventLoop(), page.curves.plot
    watch = _Watch()
    plot.painted.connect(lambda: loop.quit() if len(plot.lines) == RUNS and plot.points_drawn() else None)
    began, worked = time.perf_counter(), time.process_time()
    page.choose(list(page.picker._items))
    loop.exec()
    found = {"open_seconds": time.perf_counter() - began, "open_cpu": time.process_time() - worked}
    _spin(0.5)
    found["longest_ms"] = watch.take()
    for name, metric, smoothing in (("validation", 0, 0), ("smoothed", 3, 40), ("loss", 3, 0)):
        page.curves.which.setCurrentIndex(metric)
        page.curves.smoothing.setValue(smoothing)
        _spin(0.5)
        found[f"pan_{name}"] = _pan(plot)
    while page.reader._keeps.busy:
        _spin(0.1)
    return found


def _pan(plot: Any) -> float:
    """Frames a second: the range moves as the mouse moves it, all is drawn anew and painted."""
    low, high = 0.0, POINTS / 2
    times = []
    for frame in range(_FRAMES):
        shift = frame * POINTS / 200
        began = _own_time()
        plot.view.setXRange(low + shift, high + shift, padding=0)
        plot.view.sigRangeChangedManually.emit([True, False])
        plot.refresh()
        plot.viewport().repaint()
        times.append(_own_time() - began)
    return 1 / statistics.median(times[5:])


if __name__ == "__main__":
    print(json.dumps(measure()))
