"""A grid job's folder: made from grid settings, read back by the worker and by the window."""

from __future__ import annotations

import random
from pathlib import Path

from core import paths, presets
from core.errors import UserError
from core.grid import GridPlan, GridSettings, plan
from core.runs import Run, freeze_paths, open_run, write_facts


def load(path: Path, changes: tuple[str, ...] = ()) -> GridSettings:
    """Grid settings from a GRID.toml; UserError when it is wrong. Relative paths are relative to the present folder."""
    preset = presets.read(path, GridSettings)
    values = {**preset.values, **presets.parse_changes(changes, GridSettings)}
    return presets.build(values, str(path), GridSettings)


def create(settings: GridSettings, parent: Run | None = None, folder: Path | None = None) -> Run:
    """Make the job's folder (below the run's grids/ when there is one) with the plan's settings frozen in grid.toml.

    A random seed is fixed here, so that all cells and a repetition share it. UserError when the plan cannot be made.
    """
    settings = freeze_paths(settings)
    if settings.grid.run and parent is None:
        parent = open_run(paths.resolve(settings.grid.run))
    if parent is not None and not settings.grid.run:
        settings.grid.run = str(parent.path)
    if settings.grid.seed < 0:
        settings.grid.seed = random.SystemRandom().randrange(2**32)
    made = plan(settings, settings.grid.seed)
    _check_files(made)
    _freeze_axes(settings, made)
    path = folder.expanduser().absolute() if folder else _next_folder(parent)
    if (path / "run.json").exists():
        raise UserError(f"{path} holds a run or a grid already; choose another folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        presets.freeze(path / "grid.toml", settings)
        name = f"grid of {parent.name}" if parent else "grid"
        write_facts(path, name, "grid", parent=str(parent.path) if parent else "")
    except OSError as error:
        raise UserError(f"{path}: the grid's folder cannot be made ({error.strerror or error}).") from None
    return Run(path)


def _next_folder(parent: Run | None) -> Path:
    root = parent.grids_path if parent else paths.home_folder() / "grids"
    number = 1
    while (root / f"{number:04d}").exists():
        number += 1
    return root / f"{number:04d}"


def _freeze_axes(settings: GridSettings, made: GridPlan) -> None:
    """Write out the values of axes that look at files, so that the worker means the same from its own folder."""
    settings.grid.checkpoint = made.shared.checkpoint or "base"
    for letter, axis in zip("xyz", made.axes, strict=True):
        freeze = getattr(axis.component, "freeze", None)
        if freeze is not None:
            getattr(settings, letter).values = freeze(axis.values)


def _check_files(made: GridPlan) -> None:
    """UserError for the first model that is not there."""
    for path in sorted({cell.checkpoint for cell in made.cells() if cell.checkpoint}):
        if not Path(path).exists():
            raise UserError(f"The checkpoint {path} does not exist (any more). Take it off the axis.")
    if not paths.resolve(made.base).exists():
        raise UserError(f"grid.base: {made.base} does not exist; check the path.")


def read_plan(job: Run) -> tuple[GridSettings, GridPlan]:
    """Settings and plan of a job's folder."""
    settings = load(job.path / "grid.toml")
    return settings, plan(settings, max(0, settings.grid.seed), frozen=True)
