"""States of captions: in RAM or on the disk, the training sees the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core import events as ev
from core.engine import text_states
from core.engine.models import open_models
from core.engine.text_states import TextStates, encode
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_what_does_not_fit_into_ram_changes_no_bit(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    settings = make_settings(training__precision=precision, output__save_every_steps=2)
    in_ram, told = train(settings, tmp_path / "in ram")
    assert not (tmp_path / "cache" / "texts").exists()
    models = open_models(settings, torch.device("cpu"))
    monkeypatch.setattr(text_states, "_RAM_BYTES", 3 * TextStates(models, precision)._state_bytes())
    on_disk, other = train(settings, tmp_path / "on disk")
    assert list((tmp_path / "cache" / "texts").rglob("*.safetensors"))
    train(settings, tmp_path / "cut", until=lambda event: isinstance(event, ev.Step) and event.step == 3)
    cut, _ = train(settings, tmp_path / "cut")
    assert losses(other) == losses(told)
    assert_equal(last_checkpoint(on_disk), last_checkpoint(in_ram))
    assert_equal(last_checkpoint(cut), last_checkpoint(in_ram))


def test_states_are_those_of_the_encoder_whoever_is_beside_them(make_settings: Make, tmp_path: Path) -> None:
    models = open_models(make_settings(), torch.device("cpu"))
    texts = TextStates(models, "bf16")
    together = texts.get(["a cat", "noise, number 3", "a cat"])["encoder_hidden_states"]
    assert together.dtype == torch.float32 and torch.equal(together[0], together[2])
    assert torch.equal(TextStates(models, "bf16").get(["noise, number 3"])["encoder_hidden_states"][0], together[1])
    own = encode(models, ["a cat"], "bf16")["encoder_hidden_states"][0]
    assert torch.equal(together[0], own.bfloat16().float())
