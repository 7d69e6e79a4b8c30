"""A run ends by itself when the held-out loss is out of patience, and writes for TensorBoard where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import events as ev
from core import runs, worker
from core.engine.control import Control
from core.engine.observer import Observer
from core.run_data import read_run
from core.settings import Settings
from core.speaker import Speaker
from core.tools.tfevents import read_folder
from tests.core.engine.helpers import train

Make = Callable[..., Settings]


def measured(told: list[ev.AnyEvent]) -> list[int]:
    return [event.step for event in told if isinstance(event, ev.Evaluated) and event.split == "validation"]


@pytest.fixture
def falls_until_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """The held-out loss is lowest at step 3."""
    measure = Observer.measure

    def bent(self: Observer, step: int):
        for event in measure(self, step):
            if isinstance(event, ev.Evaluated) and event.split == "validation":
                event.loss = 1.0 + abs(step - 3)
            yield event

    monkeypatch.setattr(Observer, "measure", bent)


def test_the_run_ends_and_saves(falls_until_three: None, make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(validation__every_steps=1, validation__patience=2, training__max_steps=9)
    run, told = train(settings, tmp_path / "run")
    assert measured(told) == [0, 1, 2, 3, 4, 5]
    assert isinstance(told[-1], ev.Ended) and (told[-1].state, told[-1].step) == ("finished", 5)
    assert [saved.step for saved in run.checkpoints()] == [5] and [saved.step for saved in run.states()] == [5]
    said = [event.text for event in told if isinstance(event, ev.Message)]
    assert said == ["The loss of the held-out pictures has not fallen for 2 measurements: the run ends here."]


def test_patience_is_remembered_over_a_resume(falls_until_three: None, make_settings: Make, tmp_path: Path) -> None:
    changes = {"validation__every_steps": 1, "validation__patience": 3, "training__max_steps": 9}
    settings = make_settings(output__save_every_steps=2, **changes)
    train(settings, tmp_path / "run", until=lambda event: isinstance(event, ev.Step) and event.step == 5)
    _, rest = train(settings, tmp_path / "run")
    assert measured(rest) == [5, 6]  # steps 3 and 4 were measured before the state at step 4
    assert isinstance(rest[-1], ev.Ended) and (rest[-1].state, rest[-1].step) == ("finished", 6)


def test_without_patience_it_goes_to_its_end(falls_until_three: None, make_settings: Make, tmp_path: Path) -> None:
    _, told = train(make_settings(validation__every_steps=1, training__max_steps=7), tmp_path / "run")
    assert isinstance(told[-1], ev.Ended) and told[-1].step == 7
    assert not [event for event in told if isinstance(event, ev.Message)]


def test_a_worker_writes_for_tensorboard_beside_its_events(make_settings: Make, tmp_path: Path) -> None:
    for wanted in (True, False):
        settings = make_settings(output__tensorboard=wanted, training__max_steps=3, validation__every_steps=3)
        run = runs.create(settings, tmp_path / f"run {wanted}")
        writer = Speaker(run)
        for event in worker._job("train", run, Control(), writer):
            writer.write(event)
        writer.close()
        assert run.tensorboard_path.exists() == wanted
    run = runs.open_run(tmp_path / "run True")
    found, ours = read_folder(run.tensorboard_path), read_run(run.events_path).curves
    assert found["loss"].steps.tolist() == [1, 2, 3] and found["stable/validation"].steps.tolist() == [0, 3]
    for tag in ("loss", "rate/unet", "stable/validation", "stable/validation/0", "kwh"):
        assert np.allclose(found[tag].values[-1], ours[tag].values[-1], rtol=1e-6), tag
