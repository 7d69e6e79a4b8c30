"""Tests of core/checks.py: what keeps a run from starting, and what is only unusual."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from core import checks, presets
from core.errors import UserError

PRODIGY = {"training.optimizer": "prodigy", "training.learning_rate": 1.0}
SPLIT = {"hardware.parallel": "fsdp", "hardware.processes": 2}
FUSED = {"training.fused_backward_pass": True, "training.clip_norm": 0}


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, Any]:
    """Values against which nothing speaks."""
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "pictures").mkdir()
    return {
        "model.base": str(tmp_path / "model.safetensors"),
        "data.folders": [str(tmp_path / "pictures")],
        "training.max_steps": 100,
    }


def found(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.key, problem.severity) for problem in checks.problems(presets.build(values, "test"))]


def test_nothing_speaks_against_sound_settings(sound: dict[str, Any]) -> None:
    assert found(sound) == []
    checks.require_startable(presets.build(sound, "test"))


def test_rules_of_folders(sound: dict[str, Any], tmp_path: Path) -> None:
    inside = [{"path": str(tmp_path / "pictures" / "a")}, {"path": str(tmp_path), "role": "validation"}]
    assert found({**sound, "data.folder_rules": inside}) == []

    def nothing_held_out(rules: list[dict[str, str]]) -> bool:
        settings = presets.build({**sound, "data.folder_rules": rules, "validation.share": 0}, "test")
        return any("nothing is held out" in problem.text for problem in checks.problems(settings))

    assert nothing_held_out(inside[:1]) and not nothing_held_out(inside)
    elsewhere = {**sound, "data.folder_rules": [{"path": "/elsewhere"}]}
    assert found(elsewhere) == [("data.folder_rules", "warning")]
    for wrong in ([{"repeats": 2}], [inside[0], inside[0]]):
        assert ("data.folder_rules", "error") in found({**sound, "data.folder_rules": wrong})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model.base": ""}, "model.base"),
        ({"model.base": "/none/such.safetensors"}, "model.base"),
        ({"model.vae": "/none/such.safetensors"}, "model.vae"),
        ({"data.folders": []}, "data.folders"),
        ({"data.folders": ["/none/such"]}, "data.folders"),
        ({"training.max_steps": 0}, "training.max_steps"),
        ({"training.learning_rate": 0}, "training.learning_rate"),
        ({"data.min_side": 2048}, "data.min_side"),
        ({"data.bucket_step": 512, "data.max_side": 504}, "data.bucket_step"),
        ({"data.bucket_step": 60}, "data.bucket_step"),
        ({"loss.min_timestep": 900, "loss.max_timestep": 100}, "loss.min_timestep"),
        ({"training.warmup_steps": 100}, "training.warmup_steps"),
        ({"training.fused_backward_pass": True}, "training.clip_norm"),
        ({"training.fused_backward_pass": True, "training.accumulation": 2}, "training.accumulation"),
        ({**FUSED, "hardware.processes": 2}, "training.fused_backward_pass"),
        ({"hardware.parallel": "deepspeed", "training.ema": True}, "training.ema"),
        ({"hardware.parallel": "deepspeed", "training.optimizer": "schedule_free"}, "training.optimizer"),
        ({"hardware.parallel": "deepspeed", "training.weights_precision": "bf16"}, "training.weights_precision"),
        ({"hardware.parallel": "deepspeed", "training.on_nan": "skip"}, "training.on_nan"),
        ({"hardware.parallel": "deepspeed", "training.optimizer": "came"}, "hardware.parallel"),
        ({"hardware.parallel": "deepspeed", "training.precision": "fp16"}, "training.precision"),
        ({**SPLIT, "training.optimizer": "adamw8bit"}, "hardware.parallel"),
        ({**SPLIT, "training.optimizer": "came"}, "hardware.parallel"),
        ({**SPLIT, **PRODIGY}, "hardware.parallel"),
        ({**SPLIT, "training.precision": "fp16"}, "training.precision"),
        ({**SPLIT, "hardware.compile": True}, "hardware.compile"),
        ({**FUSED, "training.precision": "fp16"}, "training.fused_backward_pass"),
        ({**FUSED, "training.optimizer": "prodigy"}, "training.fused_backward_pass"),
        ({**FUSED, "training.optimizer": "schedule_free"}, "training.fused_backward_pass"),
        ({**PRODIGY, "training.text_encoder_learning_rate": 0.5}, "training.learning_rate"),
        ({"training.optimizer": "schedule_free", "training.ema": True}, "training.ema"),
        ({"data.tag_rules": ["old -> new", "-> new"]}, "data.tag_rules"),
    ],
)
def test_what_keeps_a_run_from_starting(sound: dict[str, Any], changes: dict[str, Any], key: str) -> None:
    values = {**sound, **changes}
    assert (key, "error") in found(values)
    with pytest.raises(UserError, match=f"^{key}: "):
        checks.require_startable(presets.build(values, "test"))


@pytest.mark.skipif(sys.platform == "win32", reason="refused there")
def test_bf16_weights_ema_and_states_in_ram_can_be_split(sound: dict[str, Any]) -> None:
    more = {"training.weights_precision": "bf16", "training.ema": True, "hardware.offload_states": True}
    assert found({**sound, **SPLIT, **more}) == []


def test_splitting_wants_linux(sound: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PLATFORM", "win32")
    assert ("hardware.parallel", "error") in found({**sound, **SPLIT})
    assert found({**sound, "hardware.processes": 2}) == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training.method": "full", "training.learning_rate": 1e-4}, "training.learning_rate"),
        ({"sample.every_steps": 10}, "sample.prompts"),
        ({"validation.share": 0}, "validation.share"),
        ({"data.resolution": 64}, "data.resolution"),
        ({"lora.rank": 1000}, "lora.rank"),
        ({**PRODIGY, "training.learning_rate": 1e-4}, "training.learning_rate"),
        ({"training.learning_rate": 1.0}, "training.learning_rate"),
        ({"model.prediction": "epsilon", "model.zero_terminal_snr": "on"}, "model.zero_terminal_snr"),
        ({"loss.noise_offset": 0.05, "loss.pyramid_noise": 0.3}, "loss.noise_offset"),
    ],
)
def test_what_is_only_unusual(sound: dict[str, Any], changes: dict[str, Any], key: str) -> None:
    values = {**sound, **changes}
    assert (key, "warning") in found(values)
    checks.require_startable(presets.build(values, "test"))


def test_an_option_that_does_not_matter_warns_of_nothing(sound: dict[str, Any]) -> None:
    values = {**sound, "training.method": "full", "training.learning_rate": 1e-6, "lora.rank": 1000}
    assert found(values) == []


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_rate_of_one_is_usual_for_prodigy(method: str, sound: dict[str, Any]) -> None:
    assert found({**sound, **PRODIGY, "training.method": method, "training.text_encoder_learning_rate": 1.0}) == []


@pytest.mark.parametrize("optimizer", ["lion", "lion8bit", "came"])
def test_what_moves_each_weight_by_itself_may_be_fused(optimizer: str, sound: dict[str, Any]) -> None:
    assert found({**sound, **FUSED, "training.optimizer": optimizer}) == []


def test_visible() -> None:
    values = {"training.method": "lora", "training.optimizer": "sgd", "data.captions": "tags"}
    assert checks.is_visible("lora.rank", values)
    assert not checks.is_visible("adamw.beta1", values)
    assert not checks.is_visible("data.tags_share", values)
    assert checks.is_visible("data.tags_share", {**values, "data.captions": "either"})
