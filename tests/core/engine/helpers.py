"""Runs a session within a test and reads its results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from core import events as ev
from core import runs
from core.engine.control import Control
from core.engine.session import Session
from core.runs import Run
from core.settings import Settings


def train(
    settings: Settings, folder: Path, until: Callable[[ev.Event], bool] | None = None
) -> tuple[Run, list[ev.Event]]:
    """Run (or go on with) the run in `folder`; stops dead, as if killed, after the event for which `until` is true."""
    run = runs.open_run(folder) if (folder / "run.json").exists() else runs.create(settings, folder)
    writer = ev.Writer(run.events_path)
    told: list[ev.Event] = []
    events = Session(run, run.settings(), Control()).events()
    for event in events:
        writer.write(event)
        told.append(event)
        if until is not None and until(event):
            break
    events.close()  # type: ignore[attr-defined]
    writer.close()
    return run, told


def losses(told: list[ev.Event]) -> dict[int, float]:
    """Training loss by step."""
    return {event.step: event.loss for event in told if isinstance(event, ev.Step)}


def last_checkpoint(run: Run) -> dict[str, torch.Tensor]:
    """Tensors of the newest checkpoint."""
    return load_file(run.checkpoints()[-1].path)


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Same names, same bits."""
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert not differing, f"{len(differing)} of {len(first)} tensors differ, {differing[0]} is one"
