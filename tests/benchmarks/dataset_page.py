"""Benchmark "dataset_page": the Dataset page on an index of 12,400,000 pictures: how fast it opens, how it scrolls.

The index is one as a scan leaves it; the pictures do not exist, so thumbnails are decoded from some real JPEG files in
their place. A frame begins when it is due, every 16 ms, and ends when the window has painted what the wheel, the scroll
bar or a key asked for: what another thread holds up counts. While the report is still being worked out, and after.
On a machine that does other work a thread waits for a processor; Linux tells how long, and "of_its_own" is without it.
BURNISH_BENCH_FOLDER=some/folder keeps the index for the next time (3 GB; filling it takes minutes).
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.common import Figure, apart, at_most, window_environment

PICTURES, JPEGS = 12_400_000, 24
FRAME, FRAMES = 0.016, 150
OPEN_SECONDS, FRAME_MS = 2.0, 50.0


def _make(home: Path, pictures: int) -> None:
    """The index where the page looks for it, with its columns, and the pictures that stand for all."""
    import numpy as np
    from PIL import Image

    from core.data.index import Index, index_path
    from tests.fixtures.huge_index import FOLDERS, fill

    path = index_path(list(FOLDERS), home / "cache")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(path, pictures)
    with Index(path) as index:
        index.columns()
    noise = np.random.default_rng(0)
    for number in range(JPEGS):
        file = home / f"{number}.jpg"
        if not file.exists():
            small = noise.integers(0, 255, (14, 10, 3), dtype=np.uint8)
            Image.fromarray(small).resize((1000, 1414), Image.Resampling.BICUBIC).save(file, quality=90)


@dataclass(frozen=True, slots=True)
class Frames:
    """The longest frame in milliseconds, and the longest without what it waited for a processor."""

    longest: float
    own: float


def _waited() -> float:
    """Milliseconds that this thread could have run but had no processor; 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e6
    except OSError:
        return 0.0


class Watch:
    """Runs frames and keeps how long each took after it was due."""

    def __init__(self, grid: Any) -> None:
        self.grid = grid

    def frames(self, step: Callable[[int], None], count: int = FRAMES) -> Frames:
        """Do `step` with the number of each frame."""
        from PySide6.QtWidgets import QApplication

        gc.collect()
        took = []
        due = time.perf_counter() + FRAME
        for number in range(count):
            waited = _waited()
            time.sleep(max(0.0, due - time.perf_counter()))
            step(number)
            QApplication.processEvents()
            now = time.perf_counter()
            took.append((1000 * (now - due), 1000 * (now - due) - (_waited() - waited)))
            due = max(due + FRAME, now)
        return Frames(max(one for one, _ in took), max(own for _, own in took))

    def ways(self) -> Iterator[tuple[str, Callable[[int], None]]]:
        """The three ways to scroll, and none."""
        bar = self.grid.verticalScrollBar()
        yield "idle", lambda number: None
        yield "wheel", lambda number: self.wheel(-120 if number % 50 < 40 else 120)
        yield "drag", lambda number: bar.setValue(int(bar.maximum() * ((number * 0.6180339) % 1)))
        yield "page_keys", lambda number: self.key(number)

    def wheel(self, delta: int) -> None:
        """Three notches of the wheel in one frame: a fast hand."""
        from PySide6.QtCore import QPoint, QPointF, Qt
        from PySide6.QtGui import QWheelEvent
        from PySide6.QtWidgets import QApplication

        view = self.grid.viewport()
        place = QPointF(view.rect().center())
        event = QWheelEvent(
            place, view.mapToGlobal(place), QPoint(), QPoint(0, 3 * delta), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(view, event)

    def key(self, number: int) -> None:
        """Page down, and now and then to the end and back."""
        from PySide6.QtCore import QEvent, Qt
        from PySide6.QtGui import QKeyEvent
        from PySide6.QtWidgets import QApplication

        keys = {49: Qt.Key.Key_End, 99: Qt.Key.Key_Home}
        key = keys.get(number, Qt.Key.Key_PageDown)
        QApplication.sendEvent(self.grid, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier))


def _wait(until: Callable[[], bool], seconds: float) -> bool:
    from PySide6.QtWidgets import QApplication

    end = time.perf_counter() + seconds
    while not until():
        if time.perf_counter() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.002)
    return True


def _measure(home: Path) -> dict[str, float]:
    """In a process of its own: open the page, scroll while the report is made, and when it is there."""
    from PySide6.QtCore import QSettings
    from PySide6.QtWidgets import QApplication

    from gui.app import make_application
    from gui.context import Context
    from gui.settings_model import SettingsModel
    from gui.widgets import thumbnails
    from tests.fixtures.huge_index import FOLDERS

    real = thumbnails.read_small
    thumbnails.read_small = lambda path, edge: real(str(home / f"{hash(path) % JPEGS}.jpg"), edge)
    make_application("light")
    context = Context(SettingsModel(), QSettings(str(home / "window.ini"), QSettings.Format.IniFormat))
    context.settings.set("data.folders", list(FOLDERS))
    began = time.perf_counter()
    from gui.pages.dataset import DatasetPage

    page = DatasetPage(context)
    page.resize(1190, 700)
    page.show()
    opened = _wait(lambda: page.grid.tile(0) is not None, 60)
    QApplication.processEvents()
    found = {"opened": time.perf_counter() - began if opened else 60.0, "pictures": float(page.grid.count)}
    watch = Watch(page.grid)
    for name, step in watch.ways():
        frames = watch.frames(step)
        found[f"{name}_during_report"], found[f"{name}_during_report_of_its_own"] = frames.longest, frames.own
    began = time.perf_counter()
    found["reported"] = time.perf_counter() - began if _wait(lambda: context.report is not None, 400) else 400.0
    _wait(lambda: page.pane.facts is not None, 100)
    for name, step in watch.ways():
        frames = watch.frames(step)
        found[name], found[f"{name}_of_its_own"] = frames.longest, frames.own
    began = time.perf_counter()
    page.pane.filter.set(sides=(0, 700))
    _wait(lambda: page.grid.view is not None and page.grid.view.wanted.sides == (0, 700), 60)
    found["filtered"] = time.perf_counter() - began
    began = time.perf_counter()
    page.pane.filter.set(text="number 9999")
    _wait(lambda: page.grid.view is not None and page.grid.view.wanted.text != "" and page.grid.count > 0, 200)
    found["first_hit"] = time.perf_counter() - began
    page.closed()
    return found


def run() -> dict[str, Figure]:
    """All figures."""
    kept = os.environ.get("BURNISH_BENCH_FOLDER", "")
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        home = Path(kept or folder)
        home.mkdir(parents=True, exist_ok=True)
        _make(home, int(os.environ.get("BURNISH_BENCH_PICTURES", PICTURES)))
        code = (
            "import json, sys; from pathlib import Path; from tests.benchmarks import dataset_page as b; "
            "print(json.dumps(b._measure(Path(sys.argv[1]))), flush=True); import os; os._exit(0)"
        )
        found = apart(["-c", code, str(home)], window_environment(home))
    figures = {
        "pictures": Figure(found["pictures"], "pictures", "-", True),
        "opened": at_most(found["opened"], OPEN_SECONDS, "s", 2),
    }
    for when in ("", "_during_report"):
        figures[f"longest_frame_idle{when}"] = Figure(round(found[f"idle{when}"], 1), "ms", "-", True)
        for name in ("wheel", "drag", "page_keys"):
            figures[f"longest_frame_{name}{when}"] = at_most(found[f"{name}{when}"], FRAME_MS, "ms")
            own = found[f"{name}{when}_of_its_own"]
            figures[f"longest_frame_{name}{when}_of_its_own"] = at_most(own, FRAME_MS, "ms")
    for name in ("reported", "filtered", "first_hit"):
        figures[name] = Figure(round(found[name], 2), "s", "-", True)
    return figures
