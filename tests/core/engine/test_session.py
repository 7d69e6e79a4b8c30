"""Whole runs on a tiny model: resume to the bit, the ruler touches nothing, accumulation equals a larger batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core import events as ev
from core import runs
from core.engine.control import Control
from core.engine.session import Session
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]

VARIANTS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "adamw8bit": {"training__optimizer": "adamw8bit", "adamw8bit__min_size": 64},
    "adafactor": {"training__optimizer": "adafactor"},
    "sgd": {"training__optimizer": "sgd", "training__learning_rate": 0.05},
    "lion": {"training__optimizer": "lion", "training__schedule": "restarts"},
    "lion8bit": {"training__optimizer": "lion8bit", "lion8bit__min_size": 64, "training__schedule": "polynomial"},
    "came": {"training__optimizer": "came"},
    "prodigy": {
        "training__optimizer": "prodigy",
        "training__learning_rate": 1.0,
        "training__text_encoder_learning_rate": 1.0,
        "prodigy__d0": 1e-4,
    },
    "schedule_free": {"training__optimizer": "schedule_free", "training__warmup_steps": 2},
    "ema": {"training__ema": True, "training__text_encoder_learning_rate": 1e-4},
    "ema on cpu": {"training__ema": True, "training__ema_on_cpu": True, "training__method": "lora"},
    "objective": {
        "model__prediction": "v-prediction",
        "model__zero_terminal_snr": "on",
        "loss__kind": "huber",
        "loss__weighting": "p2",
        "loss__density": "logit_normal",
        "loss__pyramid_noise": 0.3,
        "loss__input_perturbation": 0.1,
        "training__rate_scaling": "sqrt",
    },
    "lora": {"training__method": "lora", "training__text_encoder_learning_rate": 1e-3, "training__schedule": "cosine"},
    "text": {"training__text_encoder_learning_rate": 1e-4, "training__schedule": "linear", "training__warmup_steps": 2},
    "accumulation": {"training__accumulation": 3, "data__flip": True, "data__caption_dropout": 0.3},
    "dropout": {"training__method": "lora", "lora__dropout": 0.3},
    "checkpointing": {"training__activation_checkpointing": True, "loss__weighting": "min_snr"},
    "bf16": {"training__precision": "bf16", "loss__noise_offset": 0.1},
    "fused": {
        "training__fused_backward_pass": True,
        "training__clip_norm": 0.0,
        "training__text_encoder_learning_rate": 1e-4,
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_run_goes_on_to_the_bit(variant: str, make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(output__save_every_steps=2, **VARIANTS[variant])
    whole, told = train(settings, tmp_path / "whole")
    train(settings, tmp_path / "cut", until=lambda event: isinstance(event, ev.Step) and event.step == 5)
    cut, rest = train(settings, tmp_path / "cut")
    assert [event.step for event in rest if isinstance(event, ev.Started)] == [4]
    assert losses(rest) == {step: loss for step, loss in losses(told).items() if step > 4}
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    assert isinstance(rest[-1], ev.Ended) and rest[-1].state == "finished"


@pytest.mark.parametrize(
    "changes",
    [
        {"model__prediction": "v-prediction"},
        {"model__zero_terminal_snr": "on"},
        {"loss__kind": "huber"},
        {"loss__kind": "smooth_l1"},
        {"loss__weighting": "min_snr"},
        {"loss__weighting": "debiased"},
        {"loss__weighting": "p2"},
        {"loss__density": "logit_normal"},
        {"loss__density": "snr"},
        {"loss__min_timestep": 500},
        {"loss__noise_offset": 0.1},
        {"loss__pyramid_noise": 0.3},
        {"loss__input_perturbation": 0.1},
        {"data__flip": True},
    ],
)
def test_each_part_of_the_objective_reaches_the_step(
    changes: dict[str, Any], make_settings: Make, tmp_path: Path
) -> None:
    # Steps enough for timesteps on both sides of the middle: what holds for some of them must meet one.
    _, plain = train(make_settings(training__max_steps=5), tmp_path / "plain")
    _, changed = train(make_settings(training__max_steps=5, **changes), tmp_path / "changed")
    assert losses(plain).keys() == losses(changed).keys() == {1, 2, 3, 4, 5}
    assert losses(plain) != pytest.approx(losses(changed), rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "lion8bit", "came", "prodigy", "schedule_free"])
def test_a_part_that_stops_does_not_move_a_bit(optimizer: str, make_settings: Make, tmp_path: Path) -> None:
    from core.engine import state

    rate = 1.0 if optimizer == "prodigy" else 1e-3
    settings = make_settings(
        training__optimizer=optimizer,
        training__learning_rate=rate,
        training__text_encoder_learning_rate=rate,
        training__text_encoder_stop_step=3,
        output__save_every_steps=1,
        output__keep_states=10,
    )
    run, _ = train(settings, tmp_path / "run")
    weights = {saved.step: state.load(saved.path)[0] for saved in run.states()}

    def moved(part: str, first: int, last: int) -> bool:
        names = [name for name in weights[first] if name.startswith(f"{part}.")]
        return any(not torch.equal(weights[first][name], weights[last][name]) for name in names)

    assert moved("text_encoder", 2, 3) and not moved("text_encoder", 3, 6)
    assert moved("unet", 3, 4)


def test_stopped_text_encoders_are_asked_once_for_a_caption(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their forward pass is left out; the steps are those of encoders that run and do not move."""
    from core.engine.trainer import Trainer

    def settings(**more: Any) -> Settings:
        return make_settings(
            training__text_encoder_learning_rate=1e-3,
            training__text_encoder_stop_step=2,
            training__clip_norm=0.0,
            training__max_steps=20,
            output__save_every_steps=5,
            **more,
        )

    run = runs.create(settings(), tmp_path / "run")
    session, passes = Session(run, run.settings(), Control()), dict[int, int]()
    told = []
    for event in session.events():
        told.append(event)
        if isinstance(event, ev.Started):
            encoder = session.models.text_encoder
            encoder.register_forward_hook(lambda *_: passes.update({session.step: passes.get(session.step, 0) + 1}))
    captions = 12
    assert passes[1] == passes[2] == 1, "one pass for the whole batch while they learn"
    assert 0 < sum(passes.get(step, 0) for step in range(3, 21)) <= captions
    assert not sum(passes.get(step, 0) for step in range(17, 21)), "an epoch later all captions are known"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_let_texts_rest", lambda *_: None)
        _, running = train(settings(), tmp_path / "running")
    assert losses(running) == pytest.approx(losses(told), rel=1e-5)
    cut, _ = train(settings(), tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 7)
    _, rest = train(settings(), cut.path)
    assert losses(rest) == {step: loss for step, loss in losses(told).items() if step > 5}
    assert_equal(last_checkpoint(cut), last_checkpoint(run))


def test_rates_follow_batch_and_schedule(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(
        training__learning_rate=1e-4,
        training__text_encoder_learning_rate=1e-5,
        training__accumulation=8,
        training__rate_scaling="sqrt",
        training__schedule="polynomial",
        polynomial__power=1.0,
        polynomial__end=0.5,
        training__max_steps=4,
    )
    _, told = train(settings, tmp_path / "run")
    rates = [event.rates for event in told if isinstance(event, ev.Step)]
    # Batches of 2, 8 of them: 16 pictures, so 4 times the rate.
    assert [rate["unet"] for rate in rates] == pytest.approx([4e-4, 3.5e-4, 3e-4, 2.5e-4])
    assert [rate["text_encoder"] for rate in rates] == pytest.approx([4e-5, 3.5e-5, 3e-5, 2.5e-5])


def test_training_lowers_the_stable_loss(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__max_steps=40, validation__every_steps=20, training__learning_rate=3e-3)
    _, told = train(settings, tmp_path / "run")
    measured = [event for event in told if isinstance(event, ev.Evaluated) and event.split == "train"]
    assert [event.step for event in measured] == [0, 20, 40]
    assert measured[-1].loss < 0.9 * measured[0].loss
    assert all(len(event.buckets) == 4 for event in measured)
    assert measured[0].loss == pytest.approx(sum(measured[0].buckets) / 4)


def test_measuring_and_sampling_do_not_touch_the_training(make_settings: Make, tmp_path: Path) -> None:
    plain, told = train(make_settings(), tmp_path / "plain")
    watched_settings = make_settings(
        validation__every_steps=1, sample__prompts=["noise"], sample__every_steps=2, sample__steps=2
    )
    watched, seen = train(watched_settings, tmp_path / "watched")
    assert losses(told) == losses(seen)
    assert_equal(last_checkpoint(plain), last_checkpoint(watched))
    assert len([event for event in seen if isinstance(event, ev.Sample)]) == 4


def test_samples_by_epochs(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(sample__prompts=["noise"], sample__every_epochs=1, sample__steps=2, training__max_steps=7)
    _, seen = train(settings, tmp_path / "run")
    started = next(event for event in seen if isinstance(event, ev.Started))
    every = round(started.steps_per_epoch)
    assert 1 < every < 7 and every == started.steps_per_epoch
    assert [event.step for event in seen if isinstance(event, ev.Sample)] == [0, *range(every, 7, every), 7]


def test_the_same_seed_gives_the_same_run_and_another_does_not(make_settings: Make, tmp_path: Path) -> None:
    _, first = train(make_settings(), tmp_path / "a")
    _, second = train(make_settings(), tmp_path / "b")
    _, other = train(make_settings(training__seed=1), tmp_path / "c")
    assert losses(first) == losses(second)
    assert losses(first) != losses(other)


def test_accumulation_equals_the_larger_batch(make_settings: Make, tmp_path: Path) -> None:
    """Full batches of one bucket: two micro-batches of 5 make the step that one batch of 10 makes."""
    common = {"data__bucket_step": 64, "data__min_side": 64, "data__max_side": 64, "training__optimizer": "sgd"}
    settings = make_settings(training__batch_size=10, training__max_steps=1, validation__share=0.2, **common)
    large, told_large = train(settings, tmp_path / "large")
    settings = make_settings(
        training__batch_size=5, training__accumulation=2, training__max_steps=1, validation__share=0.2, **common
    )
    small, told_small = train(settings, tmp_path / "small")
    assert losses(told_small)[1] == pytest.approx(losses(told_large)[1], rel=1e-5)
    first, second = last_checkpoint(large), last_checkpoint(small)
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit", "adafactor", "sgd", "lion", "lion8bit", "came"])
def test_the_fused_backward_pass_gives_the_same_weights(optimizer: str, make_settings: Make, tmp_path: Path) -> None:
    common = {"training__optimizer": optimizer, "training__clip_norm": 0.0, "training__warmup_steps": 3}
    plain, told = train(make_settings(**common), tmp_path / "plain")
    fused, told_fused = train(make_settings(training__fused_backward_pass=True, **common), tmp_path / "fused")
    assert losses(told) == losses(told_fused)
    assert_equal(last_checkpoint(plain), last_checkpoint(fused))
    norms, fused_norms = ([e.grad_norm for e in t if isinstance(e, ev.Step)] for t in (told, told_fused))
    assert fused_norms == pytest.approx(norms, rel=1e-4)


def test_the_fused_backward_pass_frees_gradients_as_it_goes(make_settings: Make, tmp_path: Path) -> None:
    """The most gradient numbers that exist at once, seen from a hook on every weight."""
    from core import runs
    from core.engine import weights as kept

    def most_alive(fused: bool) -> tuple[int, int]:
        changes = {"training__clip_norm": 0.0, "training__fused_backward_pass": fused, "training__max_steps": 1}
        run = runs.create(make_settings(**changes), tmp_path / str(fused))
        session, alive = Session(run, run.settings(), Control()), [0]
        weights: list[torch.Tensor] = []

        def look(_: torch.Tensor) -> None:
            alive.append(sum(p.numel() for p in weights if p.grad is not None))

        for event in session.events():
            if isinstance(event, ev.Started):
                weights += session.trainer.groups["unet"]
                for weight in weights:
                    weight.register_post_accumulate_grad_hook(look)
        return max(alive), sum(p.numel() for p in weights)

    plain, all_weights = most_alive(False)
    assert plain == all_weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "GROUP_WEIGHTS", all_weights // 8)
        assert most_alive(True)[0] < all_weights / 2


def test_only_what_has_a_rate_is_trained(make_settings: Make, tmp_path: Path, tiny_model: Path) -> None:
    settings = make_settings(training__learning_rate=0.0, training__text_encoder_learning_rate=1e-3)
    run, told = train(settings, tmp_path / "run")
    tensors = last_checkpoint(run)
    from core.engine.model_files import open_model
    from core.engine.models import load_part

    source = open_model(tiny_model)
    unet = load_part(source, "unet").state_dict()
    for key, tensor in unet.items():
        name = source.family.place("unet", key, source.configs["unet"]).name
        assert torch.equal(tensors[name], tensor)
    text = load_part(source, "text_encoder").state_dict()
    name = source.family.place("text_encoder", next(iter(text)), {}).name
    assert not torch.equal(tensors[name], next(iter(text.values())))
    assert {rate for event in told if isinstance(event, ev.Step) for rate in event.rates} == {"text_encoder"}


def test_stop_saves_and_resume_finishes(make_settings: Make, tmp_path: Path) -> None:
    from core import runs

    settings = make_settings()
    run = runs.create(settings, tmp_path / "run")
    control = Control()
    told = []
    for event in Session(run, run.settings(), control).events():
        told.append(event)
        if isinstance(event, ev.Step) and event.step == 3:
            control.stop()
    assert isinstance(told[-1], ev.Ended) and (told[-1].state, told[-1].step) == ("stopped", 3)
    assert [saved.step for saved in run.checkpoints()] == [3]
    run, _ = train(settings, tmp_path / "run")
    whole, _ = train(settings, tmp_path / "whole")
    assert_equal(last_checkpoint(run), last_checkpoint(whole))


def test_a_resume_keeps_the_number_of_threads(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(output__save_every_steps=2)
    train(settings, tmp_path / "run", until=lambda event: isinstance(event, ev.StateSaved))
    torch.set_num_threads(2)
    try:
        run, _ = train(settings, tmp_path / "run")
        assert run.facts()["threads"] == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_epochs_decide_the_length_and_the_checkpoints(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__max_steps=0, training__max_epochs=3, output__save_every_epochs=1)
    run, told = train(settings, tmp_path / "run")
    started = next(event for event in told if isinstance(event, ev.Started))
    assert started.total_steps == 3 * started.steps_per_epoch
    assert [saved.step for saved in run.checkpoints()] == [int(started.steps_per_epoch * n) for n in (1, 2, 3)]
    last = [event for event in told if isinstance(event, ev.Step)][-1]
    assert last.epoch == pytest.approx(3) and last.images == 3 * started.pictures


def test_changed_pictures_are_told_on_resume(make_settings: Make, tmp_path: Path, pictures: Path) -> None:
    import shutil

    own = tmp_path / "own"
    shutil.copytree(pictures, own)
    settings = make_settings(data__folders=[str(own)], output__save_every_steps=2)
    train(settings, tmp_path / "run", until=lambda event: isinstance(event, ev.StateSaved))
    for extra in (own / "00.png", own / "03.png", own / "06.png", own / "09.png"):
        extra.unlink()
    _, rest = train(settings, tmp_path / "run")
    assert any(isinstance(event, ev.Message) and "pictures changed" in event.text for event in rest)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training__precision": "fp16"}, "fp16"),
        ({"hardware__attention": "xformers"}, "xformers is not installed"),
        ({"hardware__device": "cuda"}, "no NVIDIA GPU"),
    ],
)
def test_what_this_machine_cannot_do_is_said(
    changes: dict[str, Any], words: str, make_settings: Make, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        train(make_settings(**changes), tmp_path / "run")
