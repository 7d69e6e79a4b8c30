"""Test of core/estimate against a whole run: the most tensor memory that a session of the engine ever holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import events as ev
from core.anatomy.source import open_anatomy
from core.estimate.memory import phases
from core.settings import Settings
from tests.core.engine.conftest import make_settings, pictures, tiny_model  # noqa: F401
from tests.core.engine.helpers import train
from tests.fixtures.tensor_memory import TensorMemory
from tests.fixtures.tiny_model import make_tiny_xl_model

CASES: dict[str, dict[str, Any]] = {
    "full": {"training__method": "full", "training__batch_size": 4},
    "full with text": {"training__method": "full", "training__text_encoder_learning_rate": 1e-4},
    "bf16": {"training__method": "full", "training__precision": "bf16", "training__batch_size": 4},
    "lora": {"training__method": "lora", "training__batch_size": 4},
    "fused": {"training__method": "full", "training__fused_backward_pass": True, "training__clip_norm": 0.0},
    "part": {"training__method": "part", "part__blocks": ["mid", "up 0"], "training__batch_size": 4},
}
_TEXTS = {"training__text_encoder_learning_rate": 1e-4, "training__text_encoder_2_learning_rate": 1e-4}
XL_CASES: dict[str, dict[str, Any]] = {
    "texts": {"training__method": "full", "training__batch_size": 4, **_TEXTS},
    "texts by bf16 LoRA": {
        "training__method": "lora",
        "training__precision": "bf16",
        "training__batch_size": 2,
        **_TEXTS,
    },
    "bf16 weights": {
        "training__method": "full",
        "training__precision": "bf16",
        "training__weights_precision": "bf16",
        "training__activation_checkpointing": True,
    },
    "accumulated": {"training__method": "full", "training__accumulation": 2, "training__optimizer": "adafactor"},
    "EMA": {"training__method": "full", "training__ema": True, "training__optimizer": "lion8bit"},
}

Make = Callable[..., Settings]


def step_peaks(settings: Settings, folder: Path) -> list[int]:
    """The most tensor memory in each step of a run, its other work left out; the first one makes the states."""
    memory = TensorMemory()
    peaks: list[int] = []

    def told(event: ev.Event) -> bool:
        if isinstance(event, ev.Step):
            peaks.append(memory.peak)
        memory.peak = memory.live
        return False

    with memory:
        train(settings, folder, told)
    return peaks[1:]


@pytest.mark.parametrize("case", XL_CASES)
def test_the_peak_of_a_step_of_sdxl(case: str, make_settings: Make, tmp_path: Path) -> None:  # noqa: F811
    base = make_tiny_xl_model(tmp_path / "model")
    settings = make_settings(**XL_CASES[case], model__base=str(base), training__max_steps=3)
    training = phases(settings, open_anatomy(settings.model.base))[0]
    assert training.total == pytest.approx(max(step_peaks(settings, tmp_path / "run")), rel=0.1)


@pytest.mark.parametrize("case", CASES)
def test_the_peak_of_a_step(case: str, make_settings: Make, tmp_path: Path) -> None:  # noqa: F811
    settings = make_settings(**CASES[case], training__max_steps=3)
    training = phases(settings, open_anatomy(settings.model.base))[0]
    peaks = step_peaks(settings, tmp_path / "run")
    assert training.total == pytest.approx(max(peaks), rel=0.1)
