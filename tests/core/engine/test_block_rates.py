"""Rates by block of the UNet: groups, frozen blocks, resume, the fused backward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core import checks
from core import events as ev
from core.anatomy.unet import block_of
from core.engine.model_files import open_model
from core.engine.models import load_part
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, train

Make = Callable[..., Settings]
RATES = ["down 0 = 0", "mid = 0.5", "Up 1=0.5", "out = 2"]
METHODS: dict[str, dict[str, Any]] = {
    "full": {"training__method": "full"},
    "part": {"training__method": "part", "part__kinds": ["cross-attention", "norm"]},
    "lora": {"training__method": "lora", "lora__targets": "attention + feed-forward + resnets"},
    "dora": {"training__method": "lora", "lora__targets": "attention + feed-forward + resnets", "lora__dora": True},
}


def _moved(base: Path, checkpoint: Path) -> dict[str, torch.Tensor]:
    """How far each weight of the UNet went."""
    before, after = (load_part(open_model(path), "unet").state_dict() for path in (base, checkpoint))
    return {name: after[name] - tensor for name, tensor in before.items()}


def test_each_group_has_its_rate(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(
        training__block_rates=RATES, training__text_encoder_learning_rate=1e-4, training__schedule="linear"
    )
    _, told = train(settings, tmp_path / "run")
    steps = [event for event in told if isinstance(event, ev.Step)]
    wanted = {"unet": 1e-3, "unet mid, up 1": 5e-4, "unet out": 2e-3, "text_encoder": 1e-4}
    assert steps[0].rates.keys() == wanted.keys()
    for name, rate in wanted.items():
        assert steps[0].rates[name] == pytest.approx(rate)
        assert steps[3].rates[name] == pytest.approx(rate * 0.5)


def test_a_block_moves_by_its_share(make_settings: Make, tmp_path: Path, tiny_model: Path) -> None:
    """One step of plain SGD is the gradient times the rate."""
    plain = {"training__optimizer": "sgd", "training__learning_rate": 0.1, "training__max_steps": 1}
    plain |= {"training__clip_norm": 0, "sgd__momentum": 0}
    runs = [
        train(make_settings(**plain, training__block_rates=rates), tmp_path / name)[0]
        for name, rates in (("alike", []), ("apart", RATES))
    ]
    alike, apart = (_moved(tiny_model, run.checkpoints()[-1].path) for run in runs)
    shares = {"down 0": 0.0, "mid": 0.5, "up 1": 0.5, "out": 2.0}
    seen = set()
    for name, way in alike.items():
        share = shares.get(block_of(name), 1.0)
        seen.add(share)
        torch.testing.assert_close(apart[name], way * share, rtol=1e-3, atol=5e-7)
        assert share or not apart[name].any()
    assert seen == {0.0, 0.5, 1.0, 2.0} and all(alike[name].any() for name in alike if name.endswith(".weight"))


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_to_the_bit(method: str, make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(**METHODS[method], training__block_rates=RATES, output__save_every_steps=3)
    whole, told = train(settings, tmp_path / "whole")
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 5)
    train(settings, cut.path)
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    names = next(event for event in told if isinstance(event, ev.Step)).rates
    assert "unet mid, up 1" in names and "unet" in names


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_fused_backward_pass_gives_the_same_weights(method: str, make_settings: Make, tmp_path: Path) -> None:
    values = {**METHODS[method], "training__block_rates": RATES, "training__clip_norm": 0}
    after, _ = train(make_settings(**values), tmp_path / "after")
    fused, _ = train(make_settings(**values, training__fused_backward_pass=True), tmp_path / "fused")
    ours, theirs = last_checkpoint(fused), last_checkpoint(after)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_frozen_block_has_no_gradient_and_no_states(make_settings: Make) -> None:
    trainer = _trainer(make_settings(training__block_rates=["down 0 = 0", "down 1 = 0"]))
    unet = trainer.models.unet
    frozen = {name for name, parameter in unet.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in unet.named_parameters() if name.startswith("down_blocks.")}
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in unet.parameters() if p.requires_grad}


def test_a_lora_has_nothing_in_a_frozen_block(make_settings: Make, tmp_path: Path) -> None:
    run, _ = train(make_settings(training__method="lora", training__block_rates=["down 0 = 0"]), tmp_path / "run")
    names = {name.split(".")[0] for name in last_checkpoint(run)}
    assert any(name.startswith("lora_unet_up_blocks_1") for name in names)
    assert not any(name.startswith("lora_unet_down_blocks_0") for name in names)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (["down = 0.5"], "'down = 0.5' is not understood.*time embedding, in, down 0,.*mid, up 0.*out"),
        (["mid"], "'mid' is not understood"),
        (["mid = -1"], "a number from 0 to 1000"),
        (["mid = nan"], "'mid = nan' is not understood"),
        (["mid = 1", "mid=2"], "mid is named twice"),
    ],
)
def test_bad_texts_are_said_before_the_start(rates: list[str], said: str, make_settings: Make) -> None:
    with pytest.raises(UserError, match=said) as error:
        checks.require_startable(make_settings(training__block_rates=rates))
    assert str(error.value).count("training.block_rates") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"training__block_rates": ["down 3 = 0"]},
            "no block 'down 3'; it has time embedding, in, down 0, down 1, mid",
        ),
        (
            {
                "training__block_rates": [
                    f"{block} = 0"
                    for block in ("in", "time embedding", "down 0", "down 1", "mid", "up 0", "up 1", "out")
                ]
            },
            "every block is multiplied by 0",
        ),
        (
            {
                "training__method": "lora",
                "training__block_rates": [f"{block} = 0" for block in ("down 0", "down 1", "mid", "up 0", "up 1")],
            },
            "have no layers of the kind",
        ),
    ],
)
def test_what_the_model_has_not_is_said(values: dict[str, Any], said: str, make_settings: Make) -> None:
    with pytest.raises(UserError, match=said):
        _trainer(make_settings(**values))


def test_an_optimizer_with_one_rate_takes_frozen_blocks_only(make_settings: Make) -> None:
    prodigy = {"training__optimizer": "prodigy", "training__learning_rate": 1.0}
    checks.require_startable(make_settings(**prodigy, training__block_rates=["mid = 0"]))
    with pytest.raises(UserError, match="Prodigy knows one rate only; multiply blocks by 1 or 0"):
        checks.require_startable(make_settings(**prodigy, training__block_rates=["mid = 0.5"]))


def _trainer(settings: Settings) -> Any:
    from core.engine.distributed import make_accelerator
    from core.engine.models import open_models
    from core.engine.trainer import Trainer

    accelerator = make_accelerator(torch.device("cpu"), "fp32")
    models = open_models(settings, accelerator.device)
    models.load("unet")
    return Trainer(models, settings, accelerator, "fp32")
