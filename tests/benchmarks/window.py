"""Benchmark "window": time to the first paint beside a bare window with one plot, memory, and that torch stays out.

The two programs start in turns, each in a fresh process, and the medians are compared: the bare one is what any window
with PySide6 and pyqtgraph costs on this machine. The mark is the same for both: the end of the first turn of the event
loop in which the main window was painted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import Figure, apart, at_most, window_environment

ROUNDS = 9
RATIO, MEGABYTES = 1.3, 150.0

#: Prints the clock, the memory and the heavy modules once a QMainWindow was painted, then ends the process.
_MARK = """
import json, os, sys, time
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QMainWindow, QWidget
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "peft")

def memory():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

class Mark(QObject):
    seen = False
    def eventFilter(self, watched, event):
        if not self.seen and event.type() == QEvent.Type.Paint and isinstance(watched, QWidget):
            if isinstance(watched.window(), QMainWindow):
                self.seen = True
                QTimer.singleShot(0, self.tell)
        return False
    def tell(self):
        now = time.perf_counter()
        QTimer.singleShot(1500, lambda: self.end(now))
    def end(self, now):
        try:
            used = memory()
        except OSError:
            import psutil
            used = psutil.Process().memory_info().rss
        print(json.dumps({"painted": now, "bytes": used, "heavy": [m for m in HEAVY if m in sys.modules]}), flush=True)
        os._exit(0)

mark = Mark()
"""
_BARE = """
import sys
import pyqtgraph
from PySide6.QtWidgets import QApplication, QMainWindow
app = QApplication(sys.argv[:1])
app.installEventFilter(mark)
window = QMainWindow()
plot = pyqtgraph.PlotWidget()
plot.plot([0, 1, 2], [0, 1, 4])
window.setCentralWidget(plot)
window.resize(1366, 768)
window.show()
app.exec()
"""
_OURS = """
from gui import app as program
make = program.make_application
def marked(*arguments):
    app = make(*arguments)
    app.installEventFilter(mark)
    return app
program.make_application = marked
program.run()
"""


def _start(code: str, home: Path) -> dict[str, object]:
    """Start one program; seconds until its first paint, its memory 1.5 s later, and heavy modules."""
    began = time.perf_counter()
    found = apart(["-c", _MARK + code], window_environment(home) | {"XDG_CONFIG_HOME": str(home / "config")})
    found["seconds"] = float(str(found["painted"])) - began
    return found


def run() -> dict[str, Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        home = Path(folder)
        for code in (_BARE, _OURS):
            _start(code, home)  # compiled files and the disk's cache are warm for both
        bare, ours = [], []
        for number in range(ROUNDS):
            for code, found in ((_BARE, bare), (_OURS, ours)) if number % 2 else ((_OURS, ours), (_BARE, bare)):
                found.append(_start(code, home))
    bare_ms = 1000 * statistics.median(float(str(one["seconds"])) for one in bare)
    ours_ms = 1000 * statistics.median(float(str(one["seconds"])) for one in ours)
    used = max(float(str(one["bytes"])) for one in ours) / 2**20
    heavy = {str(name) for one in ours for name in one["heavy"]}  # type: ignore[attr-defined]
    return {
        "first_paint": Figure(round(ours_ms, 1), "ms", "-", True),
        "first_paint_of_a_bare_window": Figure(round(bare_ms, 1), "ms", "-", True),
        "first_paint_ratio": at_most(ours_ms / bare_ms, RATIO, "x", 2),
        "memory": at_most(used, MEGABYTES, "MiB"),
        "heavy_modules": at_most(len(heavy), 0, "modules", 0),
    }
