"""The whole demo: its time, and how far its fine-tuning moves held-out prompts towards the starter pictures.

The demo's run is made by the command line as a user would make it. Then the base model and the last checkpoint draw the
prompts of resources/starter/heldout.txt, whose subjects the starter pictures do not show, with the same seeds; image
features (efficientnet-lite0) give the mean distance of the samples to the starter pictures.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from PIL import Image

from core import demo, grid_job, presets
from core.grid import GridSettings
from core.paths import ROOT
from core.runs import Run, open_run
from core.terminal import run_worker
from tests.benchmarks.common import Figure, apart
from tests.benchmarks.features import features, mean_distance


def run() -> dict[str, Figure]:
    """Seconds of the demo and the fall of the mean distance."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["BURNISH_HOME"] = home
        began = time.monotonic()
        told = apart(["main.py", "demo", "--no-window", "--json"], os.environ)
        seconds = time.monotonic() - began
        run_folder = open_run(Path(told["run"]))
        base, tuned = _samples(run_folder)
        references = features(_references())
        before = mean_distance(features(base), references)
        after = mean_distance(features(tuned), references)
    spread = mean_distance(references, references)
    fall = 100 * (1 - after / before)
    return {
        "demo_seconds": Figure(seconds, "s", "< 300", seconds < 300),
        "distance_fall": Figure(fall, "%", ">= 25", fall >= 25),
        "distance_base": Figure(before, "", "-", True),
        "distance_tuned": Figure(after, "", "-", True),
        "distance_within_starter": Figure(spread, "", "-", True),
    }


def _samples(run_folder: Run) -> tuple[list[Image.Image], list[Image.Image]]:
    """Pictures of all held-out prompts by the base model and by the last checkpoint."""
    settings = demo.grid_settings(run_folder)
    values = {
        **presets.flat(settings),
        "x.values": "base, last",
        "y.values": "\n".join(demo.held_out_prompts()),
    }
    job = grid_job.create(presets.build(values, "bench", GridSettings), run_folder)
    code, data = run_worker("grid", job, quiet=True)
    if code:
        raise RuntimeError(job.console_path.read_text()[-2000:])
    columns: tuple[list[Image.Image], list[Image.Image]] = ([], [])
    for cell in data.cells:
        with Image.open(job.path / cell.path) as image:
            columns[cell.x].append(image.convert("RGB"))
    return columns


def _references() -> list[Image.Image]:
    """The square starter pictures: those of the samples' shape."""
    found = []
    for path in sorted((ROOT / "resources" / "starter" / "pictures").glob("*.png")):
        with Image.open(path) as image:
            if image.width == image.height:
                found.append(image.convert("RGB").resize((128, 128), Image.Resampling.LANCZOS))
    return found
