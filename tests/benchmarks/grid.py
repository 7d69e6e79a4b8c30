"""Grids: our renderer beside a plain loop that loads a pipeline per checkpoint and makes one picture a call.

Both draw the same cells of the starter model and two checkpoints of it, in the same precision, in turns. Ours is timed
from reading the plan to the last written file, the plain loop from loading the first pipeline to its last picture.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from core import demo, grid_job, presets, runs
from core.grid import GridSettings
from core.paths import RESOURCES
from core.runs import Run
from core.terminal import run_worker
from tests.benchmarks.common import Figure

ROUNDS = 3
PROMPTS, STEPS = 6, 20


def run() -> dict[str, Figure]:
    """Ratio of images per second."""
    import torch

    ours, plain = [], []
    with tempfile.TemporaryDirectory() as folder:
        run_folder = _make_run(Path(folder))
        for number in range(ROUNDS):
            ours.append(_ours(run_folder, number))
            plain.append(_plain(run_folder, torch))
    fast, slow = statistics.median(ours), statistics.median(plain)
    return {
        "times_plain_loop": Figure(fast / slow, "x", ">= 1.5", fast / slow >= 1.5),
        "ours": Figure(fast, "img/s", "-", True),
        "plain": Figure(slow, "img/s", "-", True),
    }


def _make_run(folder: Path) -> Run:
    """A short run with two checkpoints."""
    changes = ["training.max_steps=4", "output.save_every_steps=2", "validation.every_steps=0", "sample.every_steps=0"]
    made = runs.create(demo.settings([*changes, f"hardware.cache_folder={folder / 'cache'}"]), folder / "run")
    code, _ = run_worker("train", made, quiet=True)
    if code:
        raise RuntimeError(made.console_path.read_text()[-2000:])
    return made


def _ours(run_folder: Run, number: int) -> float:
    """Images per second of a grid job, in this process."""
    from core.engine.control import Control
    from core.engine.render import render_job

    values = {
        **presets.flat(demo.grid_settings(run_folder)),
        "grid.steps": STEPS,
        "y.values": "\n".join(demo.held_out_prompts()[:PROMPTS]),
    }
    settings = presets.build(values, "bench", GridSettings)
    job = grid_job.create(settings, run_folder, run_folder.path / f"job{number}")
    began = time.perf_counter()
    cells = sum(type(event).__name__ == "Cell" for event in render_job(job, Control()))
    return cells / (time.perf_counter() - began)


def _plain(run_folder: Run, torch: object) -> float:
    """Images per second of the plain loop."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from core.engine.models import pick_device, pick_precision

    model = RESOURCES / "starter" / "model"
    dtype = getattr(
        torch, {"bf16": "bfloat16", "fp16": "float16"}.get(pick_precision("auto", pick_device("auto")), "float32")
    )
    made = 0
    began = time.perf_counter()
    for path in [model, *(saved.path for saved in run_folder.checkpoints())]:
        if path == model:
            pipeline = StableDiffusionPipeline.from_pretrained(str(path), torch_dtype=dtype, local_files_only=True)
        else:
            pipeline = StableDiffusionPipeline.from_single_file(
                str(path), config=str(model), torch_dtype=dtype, local_files_only=True
            )
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        for prompt in demo.held_out_prompts()[:PROMPTS]:
            pipeline(prompt, num_inference_steps=STEPS, guidance_scale=4.0, height=128, width=128)
            made += 1
    return made / (time.perf_counter() - began)
