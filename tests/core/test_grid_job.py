"""Tests of core/grid_job.py: a job's folder means the same to its worker as to the one who asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import grid_job, presets
from core.errors import UserError
from core.grid import GridSettings
from core.runs import Run
from tests.fixtures.run_folders import fake_checkpoint, new_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a base model and two checkpoints, none of which is a model."""
    (tmp_path / "base.safetensors").touch()
    made = new_run(tmp_path / "run", model__base=str(tmp_path / "base.safetensors"), output__name="R")
    fake_checkpoint(made, 10)
    fake_checkpoint(made, 20)
    return made


def settings(**values: Any) -> GridSettings:
    return presets.build({key.replace("__", "."): value for key, value in values.items()}, "test", GridSettings)


def test_a_job_lies_below_its_run(run: Run) -> None:
    first = grid_job.create(settings(x__type="seed", x__values="1,2"), run)
    second = grid_job.create(settings(grid__run=str(run.path)))
    assert (first.path, second.path) == (run.grids_path / "0001", run.grids_path / "0002")
    facts = first.facts()
    assert (facts["kind"], facts["parent"], facts["name"]) == ("grid", str(run.path), "grid of R")


def test_what_is_read_back_is_the_same_plan(run: Run) -> None:
    asked = settings(grid__seed=-1, x__type="checkpoint", x__values="all, base", y__type="prompt", y__values="a, b\nc")
    job = grid_job.create(asked, run)
    read, plan = grid_job.read_plan(job)
    assert read.grid.seed >= 0 and asked.grid.seed == -1
    assert plan.axes[0].values == (*(str(saved.path) for saved in run.checkpoints()), "")
    assert plan.axes[1].values == ("a, b", "c")
    assert {cell.seed for cell in plan.cells()} == {read.grid.seed}


def test_relative_paths_are_the_askers(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other, one.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    asked = settings(
        grid__run="run", grid__base="base.safetensors", x__type="checkpoint", x__values='"other, one.safetensors"'
    )
    job = grid_job.create(asked, folder=Path("job"))
    monkeypatch.chdir("/")  # the worker works elsewhere
    read, plan = grid_job.read_plan(job)
    assert job.path == tmp_path / "job" and read.grid.run == str(run.path)
    assert plan.base == str(tmp_path / "base.safetensors")
    assert plan.axes[0].values == (str(tmp_path / "other, one.safetensors"),)


def test_a_deleted_checkpoint_keeps_its_place_in_an_old_job_and_is_named_for_a_new_one(run: Run) -> None:
    path = run.checkpoints()[0].path
    job = grid_job.create(settings(x__type="checkpoint", x__values="all"), run)
    path.unlink()
    _, plan = grid_job.read_plan(job)  # the worker leaves its cells out; the others keep their places
    assert plan.axes[0].values == (str(path), str(run.checkpoints()[0].path))
    with pytest.raises(UserError, match=r"there is no checkpoint '10' \(steps of the run: 20\)"):
        grid_job.create(settings(x__type="checkpoint", x__values="10"), run)


def test_a_missing_base_is_named(run: Run) -> None:
    with pytest.raises(UserError, match=r"grid.base: /none does not exist"):
        grid_job.create(settings(grid__base="/none"), run)
    assert not run.grids_path.exists() or list(run.grids_path.iterdir()) == []


def test_a_run_is_never_overwritten_by_a_grid(run: Run) -> None:
    before = run.facts()
    with pytest.raises(UserError, match="holds a run or a grid already"):
        grid_job.create(settings(), run, folder=run.path)
    assert run.facts() == before


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the grid's folder cannot be made"):
        grid_job.create(settings(), run, folder=tmp_path / "base.safetensors" / "x")


def test_a_grid_file_with_changes(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('[grid]\nprompt = "x"\n[x]\ntype = "seed"\nvalues = "1-3"')
    found = grid_job.load(path, ("grid.cfg=4", "x.values=7"))
    assert (found.grid.prompt, found.grid.cfg, found.x.values) == ("x", 4.0, "7")
    path.write_text("[grid]\npromt = 1")
    with pytest.raises(UserError, match=r"Did you mean 'grid.prompt'\?"):
        grid_job.load(path)
    path.write_text('[x]\ntype = "sead"')
    with pytest.raises(UserError, match=r"Did you mean 'seed'\?"):
        grid_job.load(path)
