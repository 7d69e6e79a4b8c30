"""A LoRA that goes on from a file: it begins with what the file adds, whatever its rank and scaling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core import checks, registry
from core import events as ev
from core.engine.lora_files import begin_from, merged
from core.engine.models import Models, load_part, open_models
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, train
from tests.core.engine.test_lycoris import ALL, _predict

Make = Callable[..., Settings]
OWN: dict[str, Any] = {"training__method": "lora", "lora__targets": ALL, "lora__rank": 4}


@pytest.fixture
def trained(make_settings: Make, tmp_path: Path) -> Path:
    """The last checkpoint of a run of rank 2 with alpha 3."""
    settings = make_settings(**{**OWN, "lora__rank": 2, "lora__alpha": 3, "training__learning_rate": 1e-2})
    run, _ = train(settings, tmp_path / "first")
    return next(run.checkpoints_path.glob("*.safetensors"))


def _begun(settings: Settings, fresh: bool = True) -> Models:
    models = open_models(settings, torch.device("cpu"))
    models.load("unet", "text_encoder")
    torch.manual_seed(0)
    method = registry.component("methods", "lora")
    groups = method.attach(models, settings)
    if fresh:
        method.begin(models, settings, list(groups))
    return models


@pytest.mark.parametrize("form", [{}, {"lora__rank": 2}, {"lora__alpha": 8}, {"lora__rank_stabilised": True}], ids=str)
def test_it_adds_what_the_file_adds(form: dict[str, Any], make_settings: Make, trained: Path) -> None:
    settings = make_settings(**{**OWN, **form, "lora__start_from": str(trained)})
    models = _begun(settings)
    plain = load_part(models.source, "unet")
    before = _predict(plain)
    changed = merged(plain, plain.state_dict(), load_file(trained), models.source, "unet")
    plain.load_state_dict({**plain.state_dict(), **changed})
    wanted = _predict(plain)
    assert (wanted - before).abs().max() > 1e-3
    torch.testing.assert_close(_predict(models.unet), wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(_predict(_begun(settings, fresh=False).unet), before)


def test_dora_goes_on_with_its_lengths(make_settings: Make, tmp_path: Path) -> None:
    form = {**OWN, "lora__dora": True, "training__learning_rate": 1e-2}
    run, _ = train(make_settings(**form), tmp_path / "first")
    path = next(run.checkpoints_path.glob("*.safetensors"))
    models = _begun(make_settings(**form, lora__start_from=str(path)))
    plain = load_part(models.source, "unet")
    changed = merged(plain, plain.state_dict(), load_file(path), models.source, "unet")
    plain.load_state_dict({**plain.state_dict(), **changed})
    torch.testing.assert_close(_predict(models.unet), _predict(plain), rtol=1e-4, atol=1e-5)


def test_a_resume_does_not_want_the_file(make_settings: Make, tmp_path: Path, trained: Path) -> None:
    settings = make_settings(**OWN, lora__start_from=str(trained), training__max_steps=4, output__save_every_steps=2)
    whole, _ = train(settings, tmp_path / "whole")
    part, _ = train(settings, tmp_path / "part", until=lambda event: isinstance(event, ev.StateSaved))
    trained.unlink()
    with pytest.raises(UserError, match="does not exist"):
        checks.require_startable(settings)
    checks.require_startable(settings, goes_on=True)
    train(settings, part.path)
    assert_equal(last_checkpoint(whole), last_checkpoint(part))


def test_what_does_not_fit_is_said_before_the_start(make_settings: Make, tmp_path: Path, trained: Path) -> None:
    def said(path: Path, **changes: Any) -> str:
        settings = make_settings(**{**OWN, **changes, "lora__start_from": str(path)})
        return " ".join(one.text for one in checks.problems(settings) if one.key == "lora.start_from")

    assert said(trained) == ""
    assert "set lora.rank to 2 or more" in said(trained, lora__rank=1)
    assert "is no DoRA; switch lora.dora off" in said(trained, lora__dora=True)
    assert "does not exist" in said(tmp_path / "gone.safetensors")
    assert "old pickle" in said(tmp_path / "a.pt")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "is no LoRA's file" in said(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(trained.read_bytes()[:100])
    assert "not a whole .safetensors file" in said(tmp_path / "cut.safetensors")
    text = {f"lora_te_text_model_{key}": tensor for key, tensor in load_file(trained).items()}
    save_file(text, tmp_path / "text.safetensors")
    assert "give training.text_encoder_learning_rate a rate" in said(tmp_path / "text.safetensors")
    assert said(tmp_path / "text.safetensors", training__text_encoder_learning_rate=1e-4) == ""


def test_layers_that_are_not_trained_are_named(make_settings: Make, trained: Path) -> None:
    settings = make_settings(**{**OWN, "lora__targets": "attention"})
    models = _begun(settings, fresh=False)
    with pytest.raises(UserError, match=r"layers that are not trained here, as lora_unet_.*Choose lora\.targets"):
        begin_from(models, ["unet"], trained)


def test_layers_of_another_size_are_refused(make_settings: Make, tmp_path: Path, trained: Path) -> None:
    tensors = {key: torch.cat([t, t]) if "lora_up" in key else t for key, t in load_file(trained).items()}
    save_file(tensors, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match="has not the size of the model's"):
        begin_from(_begun(make_settings(**OWN), fresh=False), ["unet"], tmp_path / "wide.safetensors")
