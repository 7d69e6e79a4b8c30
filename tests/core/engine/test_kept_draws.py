"""The draws of real runs: kept whole, cut by a resume, no part of the training, and never a reason for its end."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import events as ev
from core import runs, timestep_losses
from core.engine.control import Control
from core.engine.kept_draws import KeptDraws, Uses, as_records
from core.engine.loader import Batch
from core.engine.reading import Taken
from core.engine.session import Session
from core.engine.trainer import StepResult, Trainer
from core.settings import Settings
from core.timestep_losses import Recorder, path_of, read
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]


def step_means(folder: Path) -> dict[int, float]:
    """Mean loss of the records of each step."""
    found = read(path_of(folder))
    return {int(step): float(found["loss"][found["step"] == step].mean()) for step in np.unique(found["step"])}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__accumulation": 3, "loss__weighting": "min_snr"},
        {"training__fused_backward_pass": True, "training__clip_norm": 0.0, "training__ema": True},
        {"training__text_encoder_learning_rate": 1e-4, "training__method": "lora"},
    ],
)
def test_their_mean_is_the_training_loss(changes: dict[str, Any], make_settings: Make, tmp_path: Path) -> None:
    run, told = train(make_settings(**changes), tmp_path / "run")
    found = read(path_of(run.path))
    assert step_means(run.path) == pytest.approx(losses(told), rel=1e-5)
    assert len(found) == [event.images for event in told if isinstance(event, ev.Step)][-1]
    assert found["timestep"].max() < 1000 and len(np.unique(found["timestep"])) > 3


def test_their_timesteps_are_those_that_were_drawn(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    whole = Trainer.loss_sum

    def loss_sum(trainer: Trainer, batch: Batch) -> torch.Tensor:
        drawn.extend(batch.timesteps.tolist())
        return whole(trainer, batch)

    monkeypatch.setattr(Trainer, "loss_sum", loss_sum)
    run, _ = train(make_settings(), tmp_path / "run")
    assert read(path_of(run.path))["timestep"].tolist() == drawn


def test_keeping_them_changes_no_weight(make_settings: Make, tmp_path: Path) -> None:
    kept, told = train(make_settings(training__accumulation=2, validation__every_steps=2), tmp_path / "kept")
    plain, other = train(make_settings(training__accumulation=2, validation__keep_draws=False), tmp_path / "plain")
    assert losses(told) == losses(other)
    assert_equal(last_checkpoint(kept), last_checkpoint(plain))
    assert path_of(kept.path).exists() and not path_of(plain.path).exists()


def test_a_killed_run_ends_with_the_same_records(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(output__save_every_steps=2)
    whole, _ = train(settings, tmp_path / "whole")
    train(settings, tmp_path / "cut", until=lambda event: isinstance(event, ev.Step) and event.step == 5)
    cut = path_of(tmp_path / "cut")
    assert read(cut)["step"].max() == 4, "a state means that its draws are on the disk"
    Recorder(cut, 4).append(read(path_of(whole.path))[-2:])  # what the killed worker had written after its state
    train(settings, tmp_path / "cut")
    assert np.array_equal(read(cut), read(path_of(whole.path)))


def test_a_run_that_goes_back_takes_them_back(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = Trainer.loss_sum, [1]

    def loss_sum(trainer: Trainer, batch: Batch) -> torch.Tensor:
        loss = whole(trainer, batch)
        if batch.number == 4 and left[0]:
            left[0] = 0
            return loss * float("nan")
        return loss

    monkeypatch.setattr(Trainer, "loss_sum", loss_sum)
    settings = make_settings(output__save_every_steps=2, training__on_nan="go back")
    run, _ = train(settings, tmp_path / "run")
    steps = read(path_of(run.path))["step"]
    assert np.unique(steps).tolist() == [1, 2, 3, 4, 5, 6] and (np.diff(steps.astype(int)) >= 0).all()
    assert len(steps) == 12


def test_a_pause_writes_what_there_is(make_settings: Make, tmp_path: Path) -> None:
    run = runs.create(make_settings(), tmp_path / "run")
    control, seen = Control(), -1
    for event in Session(run, run.settings(), control).events():
        if isinstance(event, ev.Step) and event.step == 3:
            control.paused = True
        if isinstance(event, ev.Paused):
            seen = int(read(path_of(run.path))["step"].max())
            control.paused = False
    assert seen == 3


def test_long_runs_leave_steps_out(make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestep_losses, "MOST_RECORDS", 6)
    run, _ = train(make_settings(), tmp_path / "run")
    assert read(path_of(run.path))["step"].tolist() == [2, 2, 4, 4, 6, 6]


def test_a_full_disk_costs_records_and_one_warning(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, fails = Recorder.append, [True, True, False]

    def append(recorder: Recorder, records: timestep_losses.Records) -> None:
        if fails.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(recorder, records)

    monkeypatch.setattr(Recorder, "append", append)
    run, told = train(make_settings(output__save_every_steps=2), tmp_path / "run")
    said = [event.text for event in told if isinstance(event, ev.Message)]
    assert len(said) == 1 and "the disk is full" in said[0]
    assert isinstance(told[-1], ev.Ended) and told[-1].state == "finished"
    assert np.unique(read(path_of(run.path))["step"]).tolist() == [5, 6]


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    draws = KeptDraws(tmp_path / "there", 10, 2)
    (message,) = draws.begin(0)
    assert isinstance(message, ev.Message) and "cannot be written" in message.text
    assert not draws.wants(1) and not list(draws.flush(1))


def test_padding_is_no_record() -> None:
    uses = [
        Uses(torch.tensor([0.5, 0.25]), torch.tensor([10, 20]), torch.tensor([True, False])),
        Uses(torch.tensor([0.125]), torch.tensor([30]), torch.tensor([True])),
    ]
    taken = Taken(7, 6, 0.0, StepResult(torch.tensor(1.0), torch.tensor(2.0), 2, {}, True, uses), keeps=True)
    found = taken.records()
    assert found is not None and found.tolist() == [(7, 10, 0.5), (7, 30, 0.125)]
    assert taken.numbers() == (1.0, 2.0)
    assert Taken(7, 6, 0.0, taken.result).records() is None
    assert not len(as_records(1, [Uses(torch.ones(1), torch.ones(1).long(), torch.tensor([False]))], [1.0]))
