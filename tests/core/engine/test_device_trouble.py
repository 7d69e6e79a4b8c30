"""Tests of core/engine/device_trouble.py: which errors become a sentence, and what it advises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core import events as ev
from core.engine.cache import Encoder
from core.engine.device_trouble import device_trouble, memory_advice
from core.engine.sample import Drawing
from core.engine.stable_loss import StableLoss
from core.engine.trainer import Trainer
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import train

Make = Callable[..., Settings]
NO_ROOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    "error",
    [
        NO_ROOM,
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_memory_that_does_not_suffice(error: Exception) -> None:
    with pytest.raises(UserError, match="buy a card"), device_trouble(lambda: "buy a card"):
        raise error


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: the launch timed out and was terminated",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: uncorrectable ECC error encountered",
        "NCCL Error 1: unhandled cuda error",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "No CUDA GPUs are available",
    ],
)
def test_a_gpu_that_vanishes(words: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"stopped working .*resume the run") as found, device_trouble(lambda: ""):
        raise RuntimeError(words)
    assert "\n" not in str(found.value) and words.partition("\n")[0] in str(found.value)
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError("CUDA error: device-side assert")]
)
def test_faults_of_ours_stay_loud(error: Exception) -> None:
    with pytest.raises(RuntimeError, match=str(error)), device_trouble(lambda: ""):
        raise error


@pytest.mark.parametrize(
    ("owner", "name", "says"),
    [
        (Encoder, "_encode", "while the pictures were encoded. Lower hardware.encode_batch"),
        (Drawing, "draw", "while samples were drawn. Switch on hardware.vae_tiling"),
        (StableLoss, "measure", "while the stable loss was measured. "),
        (Trainer, "loss_sum", "in a training step. Switch on training.activation_checkpointing"),
    ],
)
def test_where_in_a_run_it_happens(
    owner: Any, name: str, says: str, make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Iterator[ev.Event]:
        raise NO_ROOM

    monkeypatch.setattr(owner, name, fails)
    settings = make_settings(validation__every_steps=2, sample__prompts=["x"], sample__every_steps=2, sample__steps=1)
    with pytest.raises(UserError, match=says):
        train(settings, tmp_path / "run")


def test_remedies_that_are_in_use_are_not_advised(make_settings: Make) -> None:
    settings = make_settings(training__activation_checkpointing=True, training__batch_size=1)
    text = memory_advice(settings)
    assert "checkpointing" not in text and "batch_size" not in text
    assert "adamw8bit" in text and "lora" in text and "data.resolution" in text
    settings = make_settings(hardware__vae_tiling=True, hardware__encode_batch=1)
    assert "tiling" not in memory_advice(settings, "cache") and "encode_batch" not in memory_advice(settings, "cache")
