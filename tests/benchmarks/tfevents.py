"""Import of 100 MB of TensorBoard files, and the notes' findings where their event files are at hand."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from core.advisor import Losses, judge
from core.paths import ROOT
from core.tools.tensorboard_import import import_folder
from core.tools.tfevents import read_folder
from core.tools.tfevents_writer import scalar
from tests.benchmarks.common import Figure

_BYTES = 100_000_000
_TAGS = ("loss/current", "loss/average", "lr/unet", "test/val")
_NOTES = ROOT.parent / "shared" / "data" / "tfevents"
#: Rate -> (lowest validation loss, its step), as the notes' files hold them.
_MINIMA = {
    "1.0e-07": (0.05737, 8100),
    "2.0e-07": (0.05739, 4400),
    "3.0e-07": (0.05738, 2700),
    "5.0e-07": (0.05740, 2100),
    "1.0e-06": (0.05745, 500),
    "5.0e-06": (0.05735, 400),
}


def run() -> dict[str, Figure]:
    """Seconds of an import into an empty folder of runs; then the minima of the notes' sweep."""
    figures: dict[str, Figure] = {}
    before = os.environ.get("BURNISH_HOME")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BURNISH_HOME"] = f"{scratch}/home"
        try:
            points = _write(Path(scratch) / "logs")
            began = time.perf_counter()
            read_folder(Path(scratch) / "logs")
            figures["reading 100 MB"] = Figure(time.perf_counter() - began, "s", "-", True)
            began = time.perf_counter()
            import_folder(Path(scratch) / "logs")
            taken = time.perf_counter() - began
            figures["importing 100 MB"] = Figure(taken, "s", "<= 5", taken <= 5)
            figures["scalars in it"] = Figure(points, "", "-", True)
        finally:
            os.environ.pop("BURNISH_HOME") if before is None else os.environ.update(BURNISH_HOME=before)
    return figures | _minima()


def _write(folder: Path) -> int:
    """An event file of 100 MB as kohya's scripts write it; how many scalars it holds."""
    folder.mkdir()
    step = size = 0
    with (folder / "events.out.tfevents.1700000000.machine.1.0").open("wb") as file:
        while size < _BYTES:
            size += file.write(b"".join(scalar(1.7e9 + step, tag, step, 1 / (1 + step % 977)) for tag in _TAGS))
            step += 1
    return step * len(_TAGS)


def _minima() -> dict[str, Figure]:
    """The lowest validation loss of each run of the notes' sweep and its step; none where the files are not here."""
    if not _NOTES.is_dir():
        return {}
    figures = {}
    for rate, (loss, step) in _MINIMA.items():
        found = read_folder(_NOTES / "long_lr_sweep" / rate)["test/val"]
        low = judge(Losses(found.steps, found.values)).minimum
        assert low is not None
        right = round(low.lowest_loss, 5) == loss
        figures[f"lowest loss at rate {rate}"] = Figure(low.lowest_loss, "", f"{loss:.5f}", right)
        figures[f"its step at rate {rate}"] = Figure(low.lowest_step, "steps", f"{step}", low.lowest_step == step)
    return figures
