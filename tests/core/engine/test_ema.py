"""Tests of core/engine/ema.py: the average, its state, and that showing it leaves the raw weights as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core import events as ev
from core import presets, registry
from core.engine import snapshot, state
from core.engine.ema import Ema, shown
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]


def _weights() -> list[torch.nn.Parameter]:
    source = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(*shape, generator=source)) for shape in ((3, 4), (5,))]


def _move(weights: list[torch.nn.Parameter], step: int) -> None:
    source = torch.Generator().manual_seed(100 + step)
    with torch.no_grad():
        for weight in weights:
            weight += torch.randn(weight.shape, generator=source)


@pytest.mark.parametrize("on_cpu", [False, True])
def test_the_average_is_the_formula(on_cpu: bool) -> None:
    weights = _weights()
    ema = Ema(weights, 0.3, on_cpu)
    expected = [weight.detach().clone().double() for weight in weights]
    for step in range(12):
        _move(weights, step)
        ema.update()
        decay = min(0.3, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * w.detach().double() for e, w in zip(expected, weights, strict=True)]
    for kept, wanted in zip(ema.average, expected, strict=True):
        torch.testing.assert_close(kept.double(), wanted, rtol=1e-5, atol=1e-6)


def test_bf16_weights_have_an_average_in_32_bits() -> None:
    """1,000 steps of which each is too small for bf16."""
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    ema = Ema([weight], 0.9999, False)
    with torch.no_grad():
        weight += 0.125
    for _ in range(2000):
        ema.update()
    assert ema.average[0].dtype == torch.float32
    assert 1.12 < float(ema.average[0][0]) < 1.125


def test_showing_puts_the_average_in_and_the_raw_weights_back_to_the_bit() -> None:
    weights = _weights()
    ema = Ema(weights, 0.9, False)
    _move(weights, 0)
    ema.update()
    raw = [weight.detach().clone() for weight in weights]
    with pytest.raises(ZeroDivisionError), shown(weights, ema, object()):
        assert all(torch.equal(w, kept) for w, kept in zip(weights, ema.average, strict=True))
        assert not torch.equal(weights[0], raw[0])
        raise ZeroDivisionError
    assert all(torch.equal(w, kept) for w, kept in zip(weights, raw, strict=True))


def test_without_an_average_the_weights_are_shown_as_they_are() -> None:
    weights = _weights()
    raw = [weight.detach().clone() for weight in weights]
    with shown(weights, None, object()):
        assert all(torch.equal(w, kept) for w, kept in zip(weights, raw, strict=True))


def test_the_average_goes_on_from_its_saved_state(tmp_path: Path) -> None:
    weights = _weights()
    ema = Ema(weights, 0.99, False)
    for step in range(3):
        _move(weights, step)
        ema.update()
    state.save(tmp_path / "state", {}, {"ema": ema.state()}, {})
    rest = Ema(weights, 0.99, True)
    rest.load(state.load(tmp_path / "state")[1]["ema"])
    for other in (ema, rest):
        other.update()
    assert all(torch.equal(a, b) for a, b in zip(ema.average, rest.average, strict=True))
    with pytest.raises(UserError, match="other settings"):
        Ema(weights[:1], 0.99, False).load(ema.state())


def test_a_schedule_free_optimizer_shows_its_average_and_goes_on_training() -> None:
    weights = _weights()
    settings = presets.build({"training.optimizer": "schedule_free"}, "test")
    component, options = registry.chosen("optimizers", settings)
    optimizer = component.build([{"params": weights, "lr": 0.1, "name": "unet"}], options)
    for step in range(4):
        for weight in weights:
            weight.grad = torch.full_like(weight, step + 1.0)
        optimizer.step()
    raw = [weight.detach().clone() for weight in weights]
    with shown(weights, None, optimizer):
        seen = [weight.detach().clone() for weight in weights]
    assert all(torch.equal(w, kept) for w, kept in zip(weights, raw, strict=True))
    assert optimizer.param_groups[0]["params"] == weights and optimizer.param_groups[0]["train_mode"]
    optimizer.eval()
    assert all(torch.equal(w, kept) for w, kept in zip(weights, seen, strict=True))
    assert not torch.equal(seen[0], raw[0])


@pytest.mark.parametrize("weights_precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", [{"training__ema": True}, {"training__optimizer": "schedule_free"}])
def test_a_run_shows_its_average_and_trains_its_raw_weights(
    changes: dict[str, Any], weights_precision: str, make_settings: Make, tmp_path: Path
) -> None:
    """Checkpoints, stable loss and samples have the average; looking at it changes no step."""
    precision = {"training__weights_precision": weights_precision, "training__precision": weights_precision}
    changes = {**changes, **precision}
    plain, told = train(make_settings(**precision), tmp_path / "plain")
    shown_often = {"validation__every_steps": 1, "output__save_every_steps": 1, "sample__prompts": ["noise"]}
    quiet, quiet_told = train(make_settings(**changes), tmp_path / "quiet")
    often, often_told = train(
        make_settings(**changes, **shown_often, sample__every_steps=2, sample__steps=2), tmp_path / "often"
    )
    assert losses(quiet_told) == losses(often_told)
    assert_equal(last_checkpoint(quiet), last_checkpoint(often))
    raw = state.load(quiet.states()[-1].path)[0]
    names = [name for name in last_checkpoint(quiet) if name.endswith("diffusion_model.out.2.bias")]
    checkpoint = last_checkpoint(quiet)[names[0]]
    assert not any(torch.equal(checkpoint, tensor) for tensor in raw.values() if tensor.shape == checkpoint.shape)
    if "training__ema" in changes:
        assert losses(told) == losses(quiet_told)
        assert not torch.equal(checkpoint, last_checkpoint(plain)[names[0]])


def test_the_stable_loss_is_that_of_the_checkpoint(make_settings: Make, tmp_path: Path) -> None:
    """What is measured at the last step is measured again at step 0 of a run that starts from the checkpoint."""
    settings = make_settings(training__ema=True, training__ema_decay=0.9, validation__every_steps=6)
    run, told = train(settings, tmp_path / "run")
    again = make_settings(model__base=str(run.checkpoints()[-1].path), validation__every_steps=6, training__max_steps=1)
    _, other = train(again, tmp_path / "again")

    def measured(events: list[ev.Event], step: int) -> list[float]:
        return [e.loss for e in events if isinstance(e, ev.Evaluated) and e.step == step]

    assert measured(other, 0) == pytest.approx(measured(told, 6), rel=1e-6)
    assert measured(told, 0) != pytest.approx(measured(told, 6), rel=1e-4)


def test_an_average_switched_on_later_begins_with_the_weights_of_the_state(make_settings: Make, tmp_path: Path) -> None:
    from core import runs
    from core.engine.control import Control
    from core.engine.session import Session

    train(
        make_settings(output__save_every_steps=2),
        tmp_path / "run",
        until=lambda event: isinstance(event, ev.StateSaved),
    )
    run = runs.open_run(tmp_path / "run")
    settings = run.settings()
    settings.training.ema = True
    session = Session(run, settings, Control())
    for event in session.events():
        if isinstance(event, ev.Started):
            break
    assert session.step == 2
    with session.trainer.shown():
        seen = {name: tensor.clone() for name, tensor in snapshot.trained_weights(session.trainer).items()}
    assert_equal(seen, state.load(run.states()[-1].path)[0])
