"""The ruler in real runs: repeats to the bit, sees no processes, measures average and raw weights, keeps to its cap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core import events as ev
from core import runs
from core.commands.runs import show
from core.engine import lookout as lookouts
from core.engine.control import Control
from core.engine.noise import NoiseSchedule
from core.engine.observer import Observer
from core.engine.session import Session
from core.engine.stable_loss import ALONE, Measurement, Probe, Share, StableLoss
from core.run_data import read_run
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]


def evaluated(told: list[ev.Event], weights: str = "", split: str = "validation") -> dict[int, float]:
    """Stable loss by step."""
    found = [event for event in told if isinstance(event, ev.Evaluated)]
    return {event.step: event.loss for event in found if (event.weights, event.split) == (weights, split)}


def _session(settings: Settings, folder: Path) -> Session:
    """A session that has trained to its end."""
    run = runs.create(settings, folder)
    session = Session(run, run.settings(), Control())
    for _ in session.events():
        pass
    return session


def test_two_measurements_of_the_same_weights_are_equal_to_the_bit(make_settings: Make, tmp_path: Path) -> None:
    session = _session(make_settings(training__text_encoder_learning_rate=1e-4), tmp_path / "run")
    measured = []
    for _ in range(2):
        torch.randn(100)
        measured.append([(e.loss, e.buckets) for e in session.observer.measure(6) if isinstance(e, ev.Evaluated)])
    assert measured[0] == measured[1] and len(measured[0]) == 2


@pytest.mark.parametrize("batches", [(1, 1), (4, 2)])
def test_the_training_batch_does_not_show(batches: tuple[int, int], make_settings: Make, tmp_path: Path) -> None:
    found = []
    for size, accumulation in (batches, (2, 1)):
        changes: dict[str, Any] = {"training__batch_size": size, "training__accumulation": accumulation}
        settings = make_settings(validation__every_steps=9, training__max_steps=1, **changes)
        _, told = train(settings, tmp_path / f"{size} {accumulation}")
        found.append(evaluated(told)[0])
    assert found[0] == found[1]


def _rulers_errors(share: Share, probes: list[Probe], sums: list[torch.Tensor]) -> Measurement:
    """A measurement by a model that answers with a function of its input."""
    schedule = NoiseSchedule(torch.linspace(0.99, 0.01, 1000))
    ruler = StableLoss(schedule, seed=1, timestep_buckets=4, repeats=2, batch=3)
    taking = Share(share.rank, share.processes, lambda errors: sums.append(errors.clone()))
    return ruler.measure(probes, lambda noisy, *_: noisy.tanh(), lambda captions: {}, torch.device("cpu"), taking)


def test_processes_measure_parts_of_the_same_batches() -> None:
    torch.manual_seed(0)
    probes = [Probe(torch.randn(4, 8, 8 if n % 2 else 6), "", f"picture {n}", (64,) * 6) for n in range(5)]
    whole: list[torch.Tensor] = []
    alone = _rulers_errors(ALONE, probes, whole)
    parts: list[torch.Tensor] = []
    for rank in range(3):
        _rulers_errors(Share(rank, 3), probes, parts)
    assert torch.equal(parts[0] + parts[1] + parts[2], whole[0])
    assert all(0 < int((part != 0).sum()) < len(part) for part in parts)
    backwards = _rulers_errors(ALONE, probes[::-1], [])
    assert backwards.buckets == pytest.approx(alone.buckets, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"training__ema": True, "training__ema_decay": 0.9},
        {"training__optimizer": "schedule_free"},
    ],
)
def test_trained_weights_are_measured_beside_their_average(
    changes: dict[str, Any], make_settings: Make, tmp_path: Path
) -> None:
    common = {"validation__every_steps": 3, **changes}
    run, told = train(make_settings(validation__raw_beside_ema=True, **common), tmp_path / "both")
    plain, other = train(make_settings(**common), tmp_path / "shown")
    shown, raw = evaluated(told), evaluated(told, "raw")
    assert shown == evaluated(other) and not evaluated(other, "raw")
    assert raw.keys() == shown.keys() == {0, 3, 6}
    assert raw[0] == shown[0] and raw[3] != shown[3] and raw[6] != shown[6]
    assert losses(told) == losses(other)
    assert_equal(last_checkpoint(run), last_checkpoint(plain))
    data = read_run(run.events_path)
    assert data.curve("raw/validation").values.tolist() == list(raw.values())
    assert data.curve("stable/validation").values.tolist() == list(shown.values())
    assert "raw/validation/0" not in data.curves


def test_the_raw_loss_is_that_of_the_trained_weights(make_settings: Make, tmp_path: Path) -> None:
    """With the text encoder trained too: a run that goes on without its average shows what was raw before."""
    common = {"validation__every_steps": 6, "training__text_encoder_learning_rate": 1e-3}
    settings = make_settings(training__ema=True, validation__raw_beside_ema=True, **common)
    _, told = train(settings, tmp_path / "ema")
    _, plain = train(make_settings(**common), tmp_path / "plain")
    assert evaluated(told, "raw")[6] == evaluated(plain)[6] != evaluated(told)[6]


def test_without_an_average_there_is_nothing_beside(make_settings: Make, tmp_path: Path) -> None:
    _, told = train(make_settings(validation__every_steps=3, validation__raw_beside_ema=True), tmp_path / "run")
    assert evaluated(told) and not evaluated(told, "raw")


def test_patience_goes_by_the_shown_weights(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Observer.measure

    def bent(self: Observer, step: int, weights: str = "") -> Iterator[ev.Event]:
        for event in measure(self, step, weights):
            if isinstance(event, ev.Evaluated):
                event.loss = 1.0 - step if weights else 1.0 + step  # only the raw weights become better
            yield event

    monkeypatch.setattr(Observer, "measure", bent)
    settings = make_settings(
        training__ema=True, validation__raw_beside_ema=True, validation__every_steps=1, validation__patience=2
    )
    _, told = train(settings, tmp_path / "run")
    assert max(evaluated(told)) == 2


def test_frozen_texts_are_encoded_once_for_all_measurements(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(**changes: Any) -> tuple[int, int]:
        calls: list[int] = []
        whole = Observer._text_states

        def text_states(self: Observer, captions: list[str]) -> dict[str, torch.Tensor]:
            calls.append(len(captions))
            return whole(self, captions)

        with monkeypatch.context() as patch:
            patch.setattr(Observer, "_text_states", text_states)
            _, told = train(make_settings(validation__every_steps=2, **changes), tmp_path / str(len(changes)))
        return sum(calls), len(evaluated(told))

    once, measured = asked()
    assert measured == 4 and once > 0
    trained, _ = asked(training__text_encoder_learning_rate=1e-4)
    assert trained == 4 * once, "a trained encoder is asked once for a caption at each measurement"


class _Clock:
    """Stands in for the time module and for the run's seconds: a step takes 1 s, a measurement 2 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.measuring = 0.0
        measure = Observer.measure
        clock = self

        def slow(self: Observer, step: int, weights: str = "") -> Iterator[ev.Event]:
            for event in measure(self, step, weights):
                clock.measuring += 1.0  # for each of the two splits
                if isinstance(event, ev.Evaluated):
                    event.duration = 1.0
                yield event

        monkeypatch.setattr(Observer, "measure", slow)
        monkeypatch.setattr(lookouts, "time", self)
        monkeypatch.setattr(Session, "seconds", property(lambda session: float(session.step) + self.measuring))

    def monotonic(self) -> float:
        """Seconds of the measurements; nothing else takes any."""
        return self.measuring


def test_the_cap_holds_and_is_told_once(make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(validation__every_steps=1, validation__most_share=0.2, training__max_steps=60)
    _Clock(monkeypatch)
    run, told = train(settings, tmp_path / "capped")
    steps = sorted(evaluated(told))
    assert steps[0] == 0 and steps[-1] == 60 and 5 <= len(steps) <= 8
    assert 2 * len(steps) <= 0.2 * (60 + 2 * len(steps)) + 1e-9
    said = [event.text for event in told if isinstance(event, ev.Message)]
    assert len(said) == 1 and "every 16 steps" in said[0] and "validation.max_pictures" in said[0]
    data = read_run(run.events_path)
    assert data.measuring_seconds == 2.0 * len(steps)
    assert show(run)["measuring"] == {"seconds": 2.0 * len(steps), "share": pytest.approx(data.measuring_share)}
    plain, other = train(make_settings(training__max_steps=60), tmp_path / "plain")
    assert losses(told) == losses(other)
    assert_equal(last_checkpoint(run), last_checkpoint(plain))


def test_a_capped_run_is_resumed_with_what_it_spent(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(
        validation__every_steps=1,
        validation__most_share=0.2,
        training__max_steps=60,
        output__save_every_steps=30,
    )
    _Clock(monkeypatch)
    _, whole = train(settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        _Clock(patch)
        _, first = train(settings, tmp_path / "cut", until=lambda e: isinstance(e, ev.StateSaved))
        _, rest = train(settings, tmp_path / "cut")
    assert max(evaluated(first)) < 30 <= min(evaluated(rest))
    assert len(evaluated(first)) + len(evaluated(rest)) <= len(evaluated(whole)) + 1
    assert not [event for event in rest if isinstance(event, ev.Message)], "it was told before"
