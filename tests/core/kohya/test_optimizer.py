"""Tests of core/kohya/optimizer.py: optimizers, their arguments, schedules, warm-up and clipping."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import presets
from tests.fixtures.kohya import FINE, FULL, imported, note, verdicts


@pytest.mark.parametrize(("text", "steps"), [("100", 100), ("0.1", 200), ("5%", 100), ("0", 0)])
def test_warm_up_in_steps_or_as_a_share(tmp_path: Path, text: str, steps: int) -> None:
    found = imported(tmp_path, f"{FINE}--max_train_steps 2000 --lr_warmup_steps {text}")
    assert found.values["training.warmup_steps"] == steps


@pytest.mark.parametrize(
    ("flags", "optimizer", "verdict"),
    [
        ("--optimizer_type AdamW8bit", "adamw8bit", "taken"),
        ("--optimizer_type adamw", "adamw", "taken"),
        ("--optimizer_type=PagedAdamW8bit", "adamw8bit", "equivalent"),
        ("--optimizer_type bitsandbytes.optim.AdamW8bit", "adamw8bit", "taken"),
        ("--optimizer_type AdaFactor", "adafactor", "taken"),
        ("--optimizer_type SGDNesterov", "sgd", "equivalent"),
        ("--optimizer_type Unheard", "adamw", "unknown"),
    ],
)
def test_optimizers_by_any_spelling(tmp_path: Path, flags: str, optimizer: str, verdict: str) -> None:
    found = imported(tmp_path, FINE + flags)
    assert found.values.get("training.optimizer", "adamw") == optimizer
    assert verdicts(found)["optimizer_type"][0] == verdict


@pytest.mark.parametrize(
    ("kohya", "name"),
    [
        ("Lion", "lion"),
        ("Lion8bit", "lion8bit"),
        ("PagedLion8bit", "lion8bit"),
        ("Prodigy", "prodigy"),
        ("DAdaptAdam", "prodigy"),
        ("AdamWScheduleFree", "schedule_free"),
        ("came_pytorch.CAME", "came"),
    ],
)
def test_optimizers_of_this_version_or_another(tmp_path: Path, kohya: str, name: str) -> None:
    found = imported(tmp_path, f"{FINE}--optimizer_type {kohya} --optimizer_args weight_decay=0.5")
    if name in presets.entries()["training.optimizer"].choices:
        assert (found.values["training.optimizer"], found.values[f"{name}.weight_decay"]) == (name, 0.5)
    else:
        assert verdicts(found)["optimizer_type"] == ("unknown", "") and "not in this version" in note(
            found, "optimizer_type"
        )
        assert found.values["training.optimizer"] == "adamw"


def test_arguments_go_into_the_optimizers_table(tmp_path: Path) -> None:
    found = imported(
        tmp_path, FINE + '--optimizer_type AdamW --optimizer_args "weight_decay=0.05" betas=(0.8,0.95) eps=1e-6 odd=3'
    )
    values = {"weight_decay": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6}
    assert {name: found.values[f"adamw.{name}"] for name in values} == values
    got = verdicts(found)
    assert got["optimizer_args betas"] == ("taken", "adamw.beta1") and got["optimizer_args odd"] == ("unknown", "")
    assert got["optimizer_args"][0] == "unknown"


def test_adafactors_own_rate_is_told(tmp_path: Path) -> None:
    found = imported(tmp_path, FINE + "--optimizer_type Adafactor")
    assert found.values["adafactor.scale_parameter"] is True and any("relative_step" in text for text in found.notes)
    fixed = "--optimizer_args relative_step=False scale_parameter=False warmup_init=False"
    found = imported(tmp_path, f"{FINE}--optimizer_type Adafactor {fixed}")
    assert found.values["adafactor.scale_parameter"] is False
    assert not any("relative_step" in text for text in found.notes)
    assert verdicts(found)["optimizer_args relative_step"] == ("unneeded", "")


@pytest.mark.parametrize(
    ("kohya", "schedule", "verdict"),
    [
        ("constant", "constant", "taken"),
        ("constant_with_warmup", "constant", "equivalent"),
        ("linear", "linear", "taken"),
        ("cosine", "cosine", "taken"),
        ("inverse_sqrt", "constant", "unknown"),
    ],
)
def test_schedules(tmp_path: Path, kohya: str, schedule: str, verdict: str) -> None:
    found = imported(tmp_path, f"{FINE}--lr_scheduler {kohya}")
    assert found.values["training.schedule"] == schedule and verdicts(found)["lr_scheduler"][0] == verdict


@pytest.mark.parametrize(
    ("flags", "schedule", "field", "value"),
    [
        ("cosine_with_restarts --lr_scheduler_num_cycles 4", "restarts", "restarts.cycles", 4),
        ("cosine_with_restarts", "restarts", "restarts.cycles", 1),
        ("polynomial --lr_scheduler_power 2.5", "polynomial", "polynomial.power", 2.5),
    ],
)
def test_schedules_with_numbers(tmp_path: Path, flags: str, schedule: str, field: str, value: float) -> None:
    found = imported(tmp_path, f"{FINE}--lr_scheduler {flags}")
    if field in presets.entries():
        assert (found.values["training.schedule"], found.values[field]) == (schedule, value)
    else:
        assert verdicts(found)["lr_scheduler"] == ("unknown", "")


def test_the_fused_backward_pass_switches_clipping_off(tmp_path: Path) -> None:
    found = imported(tmp_path, FULL + "--optimizer_type adafactor --fused_backward_pass --max_grad_norm 1.0")
    assert found.values["training.fused_backward_pass"] is True and found.values["training.clip_norm"] == 0
    assert verdicts(found)["max_grad_norm"] == ("equivalent", "training.clip_norm")
    assert imported(tmp_path, FULL + "--seed 1").values["training.clip_norm"] == 1.0
