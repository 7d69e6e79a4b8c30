"""How weights are kept and moved: stochastic rounding, states in RAM, frozen weights, what a checkpoint is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core import events as ev
from core import runs
from core.engine.control import Control
from core.engine.model_files import open_model
from core.engine.models import load_part
from core.engine.session import Session
from core.engine.weights import rounded
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]
BF16: dict[str, Any] = {"training__weights_precision": "bf16", "training__precision": "bf16"}


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rounding_is_right_in_the_mean_and_goes_to_a_neighbour() -> None:
    values = torch.tensor([1.0 + 2**-10, -3.1415927, 1e-3, 6.1e-5]).repeat(100_000, 1)
    found = rounded(values, _seeded(0)).double()
    exact = values[0].double()
    for column in range(4):
        neighbours = found[:, column].unique()
        assert len(neighbours) == 2
        assert float(neighbours[0]) < float(exact[column]) < float(neighbours[1])
        step = float(neighbours[1] - neighbours[0])
        assert abs(float(found[:, column].mean() - exact[column])) < 0.01 * step


def test_rounding_keeps_what_bf16_holds_and_what_is_not_finite() -> None:
    values = torch.tensor([0.0, -0.0, 1.5, -2.0, float("inf"), float("-inf"), 3.0e38])
    assert torch.equal(rounded(values, _seeded(0))[:6].float(), values[:6])
    assert torch.isnan(rounded(torch.tensor([float("nan")]), _seeded(0))).all()


def test_small_steps_add_up_in_bf16_weights() -> None:
    """1,000 steps of a hundredth of a unit in the last place: plain rounding would stay where it is."""
    weight, source = torch.ones(4096, dtype=torch.bfloat16), _seeded(1)
    for _ in range(1000):
        weight = rounded(weight.float() + 0.01 * 2**-7, source)
    assert float(weight.float().mean()) == pytest.approx(1 + 10 * 2**-7, rel=2e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit", "adafactor", "lion8bit", "prodigy"])
def test_a_killed_run_with_bf16_weights_goes_on_to_the_bit(optimizer: str, make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__optimizer=optimizer, output__save_every_steps=3, **BF16)
    whole, told = train(settings, tmp_path / "whole")
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 5)
    _, rest = train(settings, cut.path)
    assert losses(rest) == {step: loss for step, loss in losses(told).items() if step > 3}
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))


def test_bf16_weights_move_the_same_inside_the_backward_pass(make_settings: Make, tmp_path: Path) -> None:
    common = {**BF16, "training__clip_norm": 0.0}
    plain, _ = train(make_settings(**common), tmp_path / "plain")
    fused, _ = train(make_settings(training__fused_backward_pass=True, **common), tmp_path / "fused")
    assert_equal(last_checkpoint(plain), last_checkpoint(fused))


def test_bf16_weights_and_gradients_are_stored_in_two_bytes(make_settings: Make, tmp_path: Path) -> None:
    seen: list[torch.dtype | None] = []
    session = _session(make_settings(training__optimizer="adamw8bit", **BF16), tmp_path)
    for event in session.events():
        if isinstance(event, ev.Started):
            first = session.trainer.groups["unet"][0]
            first.register_post_accumulate_grad_hook(
                lambda p: seen.append(p.grad.dtype if p.grad is not None else None)
            )
    weights = session.trainer.groups["unet"]
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    assert set(seen) == {torch.bfloat16} and len(seen) == 6


def test_bf16_weights_want_bf16_arithmetic(make_settings: Make, tmp_path: Path) -> None:
    from core.checks import problems

    settings = make_settings(training__weights_precision="bf16", training__precision="fp32")
    assert any(problem.key == "training.precision" and problem.severity == "error" for problem in problems(settings))
    with pytest.raises(UserError, match="bf16 arithmetic"):
        _session(settings, tmp_path)


def _session(settings: Settings, folder: Path) -> Session:
    run = runs.create(settings, folder / "run")
    return Session(run, run.settings(), Control())


@pytest.mark.parametrize("fused", [False, True])
def test_states_in_ram_change_nothing(fused: bool, make_settings: Make, tmp_path: Path) -> None:
    common = {"training__clip_norm": 0.0, "training__fused_backward_pass": fused}
    here, _ = train(make_settings(**common), tmp_path / "here")
    there, _ = train(make_settings(hardware__offload_states=True, **common), tmp_path / "there")
    assert_equal(last_checkpoint(here), last_checkpoint(there))


def test_states_go_to_the_weights_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the states are sent before and after the optimizer's call; "meta" stands for a GPU."""
    from core.engine import weights

    weight = torch.nn.Parameter(torch.zeros(4, device="meta"))
    told: list[str] = []

    class Recorder(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            told.append("step")

    optimizer = Recorder([weight], lr=1.0)
    optimizer.state[weight]["momentum_buffer"] = torch.zeros(4)
    monkeypatch.setattr(weights, "_send", lambda state, device: told.append(f"{list(state)} to {device.type}"))
    weights.Mover(optimizer, 0, offload=True).move_together([weight])
    assert told == ["['momentum_buffer'] to meta", "step", "['momentum_buffer'] to cpu"]


def test_frozen_weights_are_kept_in_the_arithmetics_precision(make_settings: Make, tmp_path: Path) -> None:
    session = _session(make_settings(training__method="lora", training__precision="bf16"), tmp_path)
    list(session.events())
    frozen = {name: p.dtype for name, p in session.models.unet.named_parameters() if not p.requires_grad}
    trained = {p.dtype for p in session.trainer.groups["unet"]}
    assert trained == {torch.float32}
    norms = {name for name in frozen if "norm" in name}
    assert {frozen[name] for name in norms} == {torch.float32}, "a processor's norms refuse wide inputs otherwise"
    assert {kept for name, kept in frozen.items() if name not in norms} == {torch.bfloat16}


def test_frozen_norms_take_what_a_trained_encoder_gives_them(make_settings: Make, tmp_path: Path) -> None:
    """With clip skip 2 the last layer is frozen; its norm reads the wide sums of the trained ones."""
    settings = make_settings(
        training__precision="bf16", training__text_encoder_learning_rate=1e-4, model__clip_skip=2, training__max_steps=2
    )
    _, told = train(settings, tmp_path / "run")
    assert list(losses(told)) == [1, 2]


def test_group_norms_that_alone_are_trained_get_the_same_gradients_with_channels_last(
    make_settings: Make, tmp_path: Path
) -> None:
    """torch 2.13 would end with a segmentation fault."""
    changes = {"training__method": "part", "part__kinds": ["norm"], "training__max_steps": 2}
    found = [
        train(make_settings(**changes, hardware__channels_last=which), tmp_path / which)[1] for which in ("off", "on")
    ]
    plain, last = ([event.grad_norm for event in told if isinstance(event, ev.Step)] for told in found)
    assert len(plain) == 2 and min(plain) > 0 and last == pytest.approx(plain, rel=1e-4)


def test_untrained_weights_are_saved_as_the_base_has_them(
    make_settings: Make, tmp_path: Path, tiny_model: Path
) -> None:
    """bf16 arithmetic must not cut the weights that are only passed on."""
    settings = make_settings(training__method="part", part__blocks=["mid"], training__precision="bf16")
    run, _ = train(settings, tmp_path / "run")
    before = load_part(open_model(tiny_model), "unet").state_dict()
    after = load_part(open_model(run.checkpoints()[-1].path), "unet").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("mid_block.") for name in changed)


def test_channels_last_gives_the_same_losses(make_settings: Make, tmp_path: Path) -> None:
    _, plain = train(make_settings(training__max_steps=2), tmp_path / "plain")
    _, last = train(make_settings(training__max_steps=2, hardware__channels_last="on"), tmp_path / "last")
    assert list(losses(last).values()) == pytest.approx(list(losses(plain).values()), rel=1e-4)


def test_a_tiled_vae_has_latents_of_its_own(make_settings: Make, tmp_path: Path) -> None:
    session = _session(make_settings(hardware__vae_tiling=True), tmp_path)
    session.models.load("vae")
    assert session.models.vae.use_tiling
    assert session.models.vae_fingerprint.endswith("-tiled")


def test_compile_that_does_not_work_is_a_sentence(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import Unsupported

    session = _session(make_settings(hardware__compile=True), tmp_path)
    compiled: list[bool] = []

    def fail(*_: Any, **__: Any) -> None:
        raise Unsupported("no compiler here\nand much more")

    monkeypatch.setattr(
        "diffusers.UNet2DConditionModel.compile_repeated_blocks", lambda *_, **__: compiled.append(True)
    )
    monkeypatch.setattr("core.engine.trainer.Trainer.loss_sum", fail)
    with pytest.raises(UserError, match=r"hardware.compile does not work on this machine \(no compiler here"):
        list(session.events())
    assert compiled == [True]
