"""The window carries no torch: the whole of gui is imported in a fresh process, and a window is shown in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, pkgutil, sys
import gui
for module in pkgutil.walk_packages(gui.__path__, "gui."):
    importlib.import_module(module.name)
heavy = {"torch", "diffusers", "transformers", "accelerate", "peft", "bitsandbytes"} & set(sys.modules)
assert not heavy, heavy
"""

FIRST_PAINT = """
import sys
from gui.app import make_application
app = make_application("light")
from gui.main_window import MainWindow
window = MainWindow()
window.show()
app.processEvents()
late = {"torch", "pyqtgraph", "numpy", "pydantic", "PIL"} & set(sys.modules)
assert not late, late
import psutil
megabytes = psutil.Process().memory_info().rss >> 20
assert megabytes < 150, megabytes
"""


@pytest.mark.parametrize("script", [IMPORT_ALL, FIRST_PAINT], ids=["all modules", "first paint"])
def test_in_a_fresh_process(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
