"""Steps told while the next one is under way, as on a GPU: the same events, and a bad step is still seen in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core import events as ev
from core.engine import session as sessions
from core.engine.loader import Batch
from core.engine.reading import Taken
from core.engine.trainer import StepResult, Trainer
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]


@pytest.fixture
def lagging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions behave as on a GPU."""
    whole = sessions.Session.__init__

    def init(session: sessions.Session, *arguments: object) -> None:
        whole(session, *arguments)  # type: ignore[arg-type]
        session._lags = True

    monkeypatch.setattr(sessions.Session, "__init__", init)


def test_numbers_come_as_they_were() -> None:
    taken = Taken(3, 6, 0.0, StepResult(torch.tensor(0.25), torch.tensor(2.0), 2, {}))
    assert taken.numbers() == (0.25, 2.0)


def test_a_step_is_told_while_the_next_is_under_way(
    make_settings: Make, tmp_path: Path, lagging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    whole = Trainer.step

    def step(trainer: Trainer, number: int, *rest: object) -> StepResult:
        order.append(f"take {number}")
        return whole(trainer, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", step)

    def note(event: ev.Event) -> bool:
        if isinstance(event, ev.Step | ev.Checkpoint):
            order.append(f"{'tell' if isinstance(event, ev.Step) else 'save'} {event.step}")
        return False

    train(make_settings(output__save_every_steps=3), tmp_path / "run", note)
    first = ["take 1", "take 2", "tell 1", "take 3", "tell 2", "tell 3", "save 3"]
    assert order == [*first, "take 4", "take 5", "tell 4", "take 6", "tell 5", "tell 6", "save 6"]


def test_the_run_is_the_same(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    settings = make_settings(output__save_every_steps=3, validation__every_steps=2)
    plain, told = train(settings, tmp_path / "plain")
    request.getfixturevalue("lagging")
    lagged, told_late = train(settings, tmp_path / "late")
    assert losses(told) == losses(told_late)
    assert_equal(last_checkpoint(plain), last_checkpoint(lagged))
    kinds = [[type(event).__name__ for event in t if not isinstance(event, ev.Progress)] for t in (told, told_late)]
    assert kinds[0] == kinds[1]


def test_a_bad_step_is_seen_before_anything_is_saved(
    make_settings: Make, tmp_path: Path, lagging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.loss_sum

    def loss_sum(trainer: Trainer, batch: Batch) -> torch.Tensor:
        return whole(trainer, batch) * (float("nan") if batch.number == 4 else 1.0)

    monkeypatch.setattr(Trainer, "loss_sum", loss_sum)
    with pytest.raises(UserError, match=r"At step 5 the loss is nan.*state is step 3"):
        train(make_settings(output__save_every_steps=3), tmp_path / "run")
    saved = {path.stem[-1] for path in (tmp_path / "run" / "checkpoints").glob("*.safetensors")}
    assert saved == {"3"}
