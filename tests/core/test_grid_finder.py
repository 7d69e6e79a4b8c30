"""Tests of core/grid_finder.py: the newest grid that holds a checkpoint is found, by real frozen settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import grid_job
from core.grid import GridSettings
from core.grid_finder import grid_with
from core.runs import Run
from tests.gui.run_folders import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with four checkpoints; one of the names begins like another."""
    path = make_run(tmp_path / "run")
    for step in (100, 200, 300, 1000):
        (path / f"checkpoints/foxes, red-step{step:08d}.safetensors").write_bytes(b"x")
    return path


def saved(step: int) -> str:
    return f"checkpoints/foxes, red-step{step:08d}.safetensors"


def make_grid(run: Path, kind: str, values: str, checkpoint: str = "base") -> Path:
    settings = GridSettings()
    settings.grid.prompt, settings.grid.checkpoint = "a fox", checkpoint
    settings.x.type, settings.x.values = kind, values
    return grid_job.create(settings, Run(run)).path


def test_the_newest_grid_with_the_checkpoint(run: Path) -> None:
    assert grid_with(run, saved(100)) is None
    first = make_grid(run, "checkpoint", "100, 200")
    second = make_grid(run, "checkpoint", "base, 200, 300")
    assert grid_with(run, saved(100)) == first
    assert grid_with(run, saved(200)) == second
    assert grid_with(run, saved(1000)) is None


def test_one_checkpoint_alone_and_one_that_all_cells_share(run: Path) -> None:
    alone = make_grid(run, "checkpoint", "300", checkpoint="100")
    assert grid_with(run, saved(300)) == alone
    assert grid_with(run, saved(100)) is None, "the axis stands before the one that is shared"
    shared = make_grid(run, "seed", "1, 2", checkpoint="100")
    assert grid_with(run, saved(100)) == shared


def test_a_file_that_cannot_be_understood_is_passed_over(run: Path) -> None:
    whole = make_grid(run, "checkpoint", "100, 200")
    broken = run / "grids" / "0009"
    broken.mkdir()
    (broken / "grid.toml").write_text(f"[x\ntype = 'checkpoint' {saved(100)}", encoding="utf-8")
    assert grid_with(run, saved(100)) == whole
