"""Settings in combinations that nobody thought of: each trains, and a killed run goes on to the same bits.

The draws are fixed by their number. BURNISH_COMBINATIONS=100-400 draws others.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from core import events as ev
from core import presets
from core.checks import problems
from core.runs import Run
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, losses, train
from tests.fixtures.tiny_model import make_tiny_2_model, make_tiny_model, make_tiny_xl_model

Make = Callable[..., Settings]

_EVERY = range(*map(int, os.environ.get("BURNISH_COMBINATIONS", "0-12").split("-")))
_FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd15": make_tiny_model,
    "sd2": make_tiny_2_model,
    "sdxl": make_tiny_xl_model,
}
_BOTH = (False, True)
#: What a switch is drawn from that shuts others out.
_SELDOM = (False, False, True)
#: Options whose choices are all tried, as long as the processor can do them.
_ALL_CHOICES = (
    "data.buckets",
    "data.captions",
    "data.short_batches",
    "data.max_tokens",
    "training.method",
    "training.optimizer",
    "training.schedule",
    "training.on_nan",
    "loss.kind",
    "loss.weighting",
    "loss.density",
    "sample.sampler",
    "output.precision",
    "output.layout",
    "hardware.channels_last",
    "lora.targets",
    "loha.targets",
    "lokr.targets",
    "huber.schedule",
)
_OTHERS: dict[str, Sequence[Any]] = {
    "model.clip_skip": (1, 2),
    "model.zero_terminal_snr": ("auto", "on"),
    "data.flip": _BOTH,
    "data.shuffle_tags": _BOTH,
    "data.tag_dropout": (0.0, 0.3),
    "data.caption_dropout": (0.0, 0.2),
    "data.sample_latents": _BOTH,
    "training.batch_size": (1, 2, 3),
    "training.accumulation": (1, 2),
    "training.text_encoder_learning_rate": (0.0, 1e-4),
    "training.text_encoder_2_learning_rate": (0.0, 1e-4),
    "training.text_encoder_stop_step": (0, 3),
    "training.warmup_steps": (0, 2),
    "training.clip_norm": (0.0, 1.0),
    "training.precision": ("bf16", "fp32"),
    "training.weights_precision": ("fp32", "bf16"),
    "training.activation_checkpointing": _BOTH,
    "training.fused_backward_pass": _SELDOM,
    "training.ema": _SELDOM,
    "training.block_rates": ([], ["down 0 = 0.5", "mid = 0"]),
    "loss.noise_offset": (0.0, 0.05),
    "loss.pyramid_noise": (0.0, 0.3),
    "loss.input_perturbation": (0.0, 0.1),
    "validation.every_steps": (0, 2),
    "validation.raw_beside_ema": _BOTH,
    "sample.every_steps": (0, 3),
    "output.keep_best": (0, 1),
    "output.tensorboard": _SELDOM,
    "hardware.offload_states": _SELDOM,
    "hardware.vae_tiling": _BOTH,
    "lora.dropout": (0.0, 0.1),
    "lora.dora": _BOTH,
    "lora.rank_stabilised": _BOTH,
    "loha.dropout": (0.0, 0.1),
    "lokr.factor": (-1, 4),
    "lokr.decompose_both": _BOTH,
    "part.kinds": (["cross-attention"], ["norm", "time embedding"], ["resnet"]),
    "prodigy.safeguard_warmup": _BOTH,
}
_SHORT: dict[str, Any] = {
    "training.max_steps": 5,
    "training.learning_rate": 1e-4,
    "validation.timestep_buckets": 2,
    "validation.repeats": 1,
    "sample.prompts": ["noise"],
    "sample.steps": 2,
    "sample.width": 64,
    "sample.height": 64,
    "output.save_every_steps": 2,
}


def _draw(source: random.Random) -> dict[str, Any]:
    """Settings that are drawn at random, with what a short run wants."""
    known = presets.entries()
    choices: Mapping[str, Sequence[Any]] = {key: known[key].choices for key in _ALL_CHOICES} | _OTHERS
    return {key: source.choice(list(some)) for key, some in choices.items()} | _SHORT


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    return {name: make(folder / name) for name, make in _FAMILIES.items()}


@pytest.mark.parametrize("number", _EVERY)
def test_any_combination_trains_and_goes_on_to_the_bit(
    number: int, make_settings: Make, models: dict[str, Path], tmp_path: Path
) -> None:
    source = random.Random(number)
    family = source.choice(list(_FAMILIES))
    while True:
        values = _draw(source) | {"model.base": str(models[family])}
        settings = make_settings(**{key.replace(".", "__"): value for key, value in values.items()})
        if not any(problem.severity == "error" for problem in problems(settings)):
            break
    whole, told = train(settings, tmp_path / "whole")
    found = losses(told)
    assert list(found) == [1, 2, 3, 4, 5] and all(map(math.isfinite, found.values()))
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 3)
    train(settings, cut.path)
    assert_equal(_weights(whole), _weights(cut))


def _weights(run: Run) -> dict[str, Any]:
    """All tensors of the newest checkpoint, a file or a folder."""
    from safetensors.torch import load_file

    path = run.checkpoints()[-1].path
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    found = {f"{file.parent.name} {key}": tensor for file in files for key, tensor in load_file(file).items()}
    assert found
    return found
