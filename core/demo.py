"""The main job on the starter model and pictures: index, cache, train, checkpoints, grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core import grid_job, paths, presets, runs
from core.errors import UserError
from core.grid import GridSettings
from core.run_data import RunData
from core.runs import Run
from core.settings import Settings
from core.terminal import run_worker

PRESET = paths.RESOURCES / "presets" / "starter.toml"
_HELD_OUT = paths.RESOURCES / "starter" / "heldout.txt"
_GRID_PROMPTS = 6


def settings(changes: Sequence[str] = ()) -> Settings:
    """The demo's settings."""
    return presets.load(PRESET, changes)


def held_out_prompts() -> list[str]:
    """Prompts for subjects that the starter pictures do not show, in their style's words."""
    return [line.strip() for line in _HELD_OUT.read_text(encoding="utf-8").splitlines() if line.strip()]


def grid_settings(run: Run) -> GridSettings:
    """The demo's grid: the base model and all checkpoints against some held-out prompts, one seed."""
    frozen = run.settings()
    prompts = held_out_prompts()
    chosen = prompts[:: max(1, len(prompts) // _GRID_PROMPTS)][:_GRID_PROMPTS]
    values = {
        "grid.run": str(run.path),
        "grid.seed": frozen.sample.seed,
        "grid.cfg": frozen.sample.cfg,
        "grid.steps": frozen.sample.steps,
        "grid.sampler": frozen.sample.sampler,
        "grid.width": frozen.data.resolution,
        "grid.height": frozen.data.resolution,
        "x.type": "checkpoint",
        "x.values": "base, all",
        "y.type": "prompt",
        "y.values": "\n".join(chosen),
    }
    return presets.build(values, "demo", GridSettings)


def run_demo(changes: Sequence[str] = (), quiet: bool = False) -> tuple[Run, Path | None, int]:
    """Do the whole job in worker processes; (run, whole grid's picture or None, exit status)."""
    run = runs.create(settings(changes), preset="starter")
    code, _ = run_worker("train", run, quiet)
    if code or run.state()[0] != "finished":
        return run, None, code
    job = grid_job.create(grid_settings(run), run)
    code, data = run_worker("grid", job, quiet)
    return run, _first_grid(job, data), code


def _first_grid(job: Run, data: RunData) -> Path | None:
    return job.path / data.grids[0].path if data.grids else None


def example_run() -> Run:
    """A run to show: the newest finished one with checkpoints and a grid, or a short demo made now."""
    for run in runs.list_runs():
        if run.facts().get("kind") == "train" and run.checkpoints() and any(run.grids_path.glob("*/*.png")):
            return run
    changes = ["training.max_steps=60", "output.save_every_steps=20", "validation.every_steps=10"]
    run, _, code = run_demo([*changes, "validation.most_share=0"], quiet=True)
    if code:
        raise UserError(f"The example run could not be made; see {run.console_path}.")
    return run
