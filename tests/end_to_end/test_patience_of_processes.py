"""Several processes end together when rank 0, which alone measures, is out of patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.run_data import read_run
from core.runs import Run

DEADLINE = 180.0


def test_both_processes_end_and_the_run_is_saved(make_run: Callable[..., Run], start: Any) -> None:
    run = make_run(
        hardware__processes=2,
        training__learning_rate=0.5,  # the loss of the held-out pictures only rises
        training__max_steps=400,
        validation__every_steps=1,
        validation__patience=3,
        output__save_every_steps=0,
        training__on_nan="skip",
        training__spike_factor=0.0,
    )
    assert start(run).wait(DEADLINE) == 0, run.console_path.read_text()[-3000:]
    state, step = run.state()
    assert state == "finished" and step < 100
    losses = read_run(run.events_path).curve("stable/validation").values
    assert len(losses) == step + 1 and len(losses) - 1 - int(losses.argmin()) == 3
    assert [saved.step for saved in run.checkpoints()] == [step]
