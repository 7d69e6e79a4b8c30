"""Tests of core/kohya/memory.py: number formats and accelerate's options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.kohya import imported, note, verdicts


@pytest.mark.parametrize(
    ("command", "processes", "precision"),
    [
        ("accelerate launch --num_processes 4 --multi_gpu fine_tune.py --mixed_precision fp16", 4, "fp16"),
        ("accelerate launch --gpu_ids 0,2 fine_tune.py --mixed_precision no", 2, "fp32"),
        ("accelerate launch --mixed_precision=bf16 fine_tune.py --seed 1", None, "bf16"),
        ("accelerate launch --mixed_precision=bf16 fine_tune.py --mixed_precision fp16", None, "fp16"),
        ("python fine_tune.py --seed 1", None, "fp32"),
    ],
)
def test_accelerates_options(tmp_path: Path, command: str, processes: int | None, precision: str) -> None:
    found = imported(tmp_path, command)
    assert (found.values.get("hardware.processes"), found.values["training.precision"]) == (processes, precision)
    assert not [row.flag for row in found.rows if row.answer.verdict == "unknown"]


@pytest.mark.parametrize(
    ("flags", "installed", "attention", "verdict"),
    [
        ("--xformers", True, "xformers", "taken"),
        ("--xformers", False, "sdpa", "equivalent"),
        ("--sdpa", True, "sdpa", "taken"),
        ("--mem_eff_attn", True, "sdpa", "equivalent"),
    ],
)
def test_attention_is_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, installed: bool, attention: str, verdict: str
) -> None:
    monkeypatch.setattr("core.kohya.memory.importlib.util.find_spec", lambda name: installed or None)
    found = imported(tmp_path, f"python fine_tune.py {flags}")
    assert found.values["hardware.attention"] == attention
    assert verdicts(found)[flags.strip("-")] == (verdict, "hardware.attention")


@pytest.mark.parametrize(
    ("stage", "parallel", "kept", "verdict"),
    [(1, "deepspeed", 1, "taken"), (2, "deepspeed", 2, "taken"), (3, "fsdp", None, "equivalent")],
)
def test_deepspeeds_stages(tmp_path: Path, stage: int, parallel: str, kept: int | None, verdict: str) -> None:
    found = imported(tmp_path, f"python fine_tune.py --deepspeed --zero_stage {stage} --offload_optimizer_device=cpu")
    assert (found.values["hardware.parallel"], found.values.get("hardware.zero_stage")) == (parallel, kept)
    assert verdicts(found)["zero_stage"][0] == verdict and found.values["hardware.offload_states"] is True


def test_trained_weights_in_half_precision(tmp_path: Path) -> None:
    found = imported(tmp_path, "python fine_tune.py --full_bf16 --mixed_precision bf16")
    assert found.values["output.precision"] == "bf16"  # sd-scripts saves what it trained in
    found = imported(tmp_path, "python fine_tune.py --full_fp16")
    assert verdicts(found)["full_fp16"] == ("unknown", "") and "bf16 is as small" in note(found, "full_fp16")
