"""A loss that is no number: seen at once, and the run stops, skips or goes back as its settings say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core import events as ev
from core import runs
from core.engine.control import Control
from core.engine.guard import Guard
from core.engine.loader import Batch
from core.engine.session import Session
from core.engine.trainer import Trainer
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import last_checkpoint, losses, train

Make = Callable[..., Settings]


def test_complaints() -> None:
    guard = Guard(spike_factor=10)
    assert guard.complaint(float("nan"), 1.0) == "the loss is nan"
    assert guard.complaint(1.0, float("inf")) == "the gradient's length is inf"
    assert not guard.complaint(1.0, 1e6), "nothing is usual before the first step"
    guard.note(2.0, "")
    assert guard.complaint(1.0, 21.0) == "the gradient is 10 times as long as usual"
    assert not guard.complaint(1.0, 19.0)
    guard.note(21.0, "spike")
    assert (guard.typical, guard.bad) == (2.0, 1)
    guard.note(4.0, "")
    assert guard.typical == pytest.approx(2.1) and guard.bad == 0


def _break_step(monkeypatch: pytest.MonkeyPatch, step: int, times: int = 1) -> None:
    """Make the loss of a batch no number, the first `times` times that it comes."""
    whole, left = Trainer.loss_sum, [times]

    def loss_sum(trainer: Trainer, batch: Batch) -> torch.Tensor:
        loss = whole(trainer, batch)
        if batch.number == step - 1 and left[0]:
            left[0] -= 1
            return loss * float("nan")
        return loss

    monkeypatch.setattr(Trainer, "loss_sum", loss_sum)


def test_stop_says_where_the_last_good_state_is(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_step(monkeypatch, 5)
    settings = make_settings(output__save_every_steps=3)
    with pytest.raises(UserError, match=r"At step 5 the loss is nan.*last good state is step 3.*learning_rate"):
        train(settings, tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    assert [saved.step for saved in run.checkpoints()] == [3]
    _, told = train(settings, run.path)
    assert sorted(losses(told)) == [4, 5, 6] and all(torch.isfinite(t).all() for t in last_checkpoint(run).values())


def test_skip_leaves_the_weights_alone_and_goes_on(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_step(monkeypatch, 3)
    settings = make_settings(training__on_nan="skip")
    run = runs.create(settings, tmp_path / "run")
    session, seen, told = Session(run, run.settings(), Control()), {}, []
    for event in session.events():
        told.append(event)
        if isinstance(event, ev.Step):
            seen[event.step] = session.trainer.groups["unet"][0].detach().clone()
    assert torch.equal(seen[2], seen[3]) and not torch.equal(seen[3], seen[4])
    assert [event.text for event in told if isinstance(event, ev.Message)] == ["Step 3 was skipped: the loss is nan."]


def test_too_many_skipped_steps_end_the_run(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "loss_sum", lambda trainer, batch: _nan_loss(trainer))
    with pytest.raises(UserError, match="10 times in a row"):
        train(make_settings(training__on_nan="skip", training__max_steps=30), tmp_path / "run")


def _nan_loss(trainer: Trainer) -> torch.Tensor:
    return trainer.groups["unet"][0].sum() * float("nan")


def test_go_back_returns_to_the_state_with_half_the_rate(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_step(monkeypatch, 5)
    settings = make_settings(training__on_nan="go back", output__save_every_steps=3)
    run, told = train(settings, tmp_path / "run")
    steps = [event for event in told if isinstance(event, ev.Step)]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 4, 5, 6]
    assert [event.rates["unet"] for event in steps] == [1e-3] * 5 + [5e-4] * 3
    assert steps[3].loss == steps[5].loss, "the same batch again, from the same weights"
    text = next(event.text for event in told if isinstance(event, ev.Message))
    assert text == "At step 5 the loss is nan: back to step 3 with 0.5 of the learning rate."
    assert all(torch.isfinite(tensor).all() for tensor in last_checkpoint(run).values())


def test_going_back_without_a_state_is_a_stop(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_step(monkeypatch, 2)
    with pytest.raises(UserError, match="No state was saved yet"):
        train(make_settings(training__on_nan="go back"), tmp_path / "run")
