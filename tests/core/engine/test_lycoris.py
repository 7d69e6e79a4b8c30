"""LoHa and LoKr: files that other programs load, merged as they merge them, trained and resumed to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from core import events as ev
from core import registry
from core.engine.lora_files import file_tensors, is_lora, merged
from core.engine.models import Models, load_part, open_models
from core.engine.render import Swapper
from core.errors import UserError
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, train

Make = Callable[..., Settings]

ALL = "transformer blocks + resnets"
FORMS: dict[str, dict[str, Any]] = {
    "loha": {"training__method": "loha", "loha__rank": 3, "loha__alpha": 2, "loha__targets": ALL},
    "lokr": {"training__method": "lokr", "lokr__rank": 1, "lokr__alpha": 2, "lokr__targets": ALL},
    "lokr, both products": {
        "training__method": "lokr",
        "lokr__rank": 1,
        "lokr__alpha": 0.5,
        "lokr__factor": 8,
        "lokr__decompose_both": True,
        "lokr__targets": ALL,
    },
    "lokr, whole": {"training__method": "lokr", "lokr__rank": 10_000, "lokr__factor": 4, "lokr__targets": ALL},
}
every_form = pytest.mark.parametrize("form", FORMS)


def _attached(settings: Settings, move: bool = True) -> Models:
    """UNet and text encoder with additions, at the start or, with `move`, somewhere else."""
    models = open_models(settings, torch.device("cpu"))
    models.load("unet", "text_encoder")
    torch.manual_seed(0)
    groups = registry.component("methods", settings.training.method).attach(models, settings)
    if move:
        with torch.no_grad():
            for parameter in (p for group in groups.values() for p in group):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return models


def _predict(unet: torch.nn.Module) -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    noisy, states = torch.randn(1, 4, 8, 8, generator=source), torch.randn(1, 7, 16, generator=source)
    with torch.no_grad():
        found: torch.Tensor = unet(noisy, torch.tensor([300]), states, return_dict=False)[0]
    return found


def _file(models: Models, settings: Settings, part: str) -> dict[str, torch.Tensor]:
    options = getattr(settings, settings.training.method)
    return file_tensors(getattr(models, part), models.source, part, options.alpha)


@every_form
def test_the_file_merged_predicts_what_the_trained_model_predicts(form: str, make_settings: Make) -> None:
    settings = make_settings(**FORMS[form], training__text_encoder_learning_rate=1e-3)
    models = _attached(settings)
    plain = load_part(models.source, "unet")
    before = _predict(plain)
    changed = merged(plain, plain.state_dict(), _file(models, settings, "unet"), models.source, "unet")
    plain.load_state_dict({**plain.state_dict(), **changed})
    ours = _predict(models.unet)
    torch.testing.assert_close(_predict(plain), ours, rtol=1e-4, atol=1e-4)
    assert (ours - before).abs().max() > 0.05
    text = load_part(models.source, "text_encoder")
    changed = merged(text, text.state_dict(), _file(models, settings, "text_encoder"), models.source, "text_encoder")
    text.load_state_dict({**text.state_dict(), **changed})
    tokens = torch.arange(20).unsqueeze(0)
    torch.testing.assert_close(text(tokens)[0], models.text_encoder(tokens)[0], rtol=1e-4, atol=1e-4)


@every_form
def test_an_untrained_addition_changes_nothing(form: str, make_settings: Make) -> None:
    models = _attached(make_settings(**FORMS[form]), move=False)
    assert torch.equal(_predict(models.unet), _predict(load_part(models.source, "unet")))


@every_form
def test_the_file_is_what_lycoris_describes(form: str, make_settings: Make) -> None:
    """Names, shapes and scale by LyCORIS' formulas, with numpy, one layer of each kind."""
    settings = make_settings(**FORMS[form])
    models = _attached(settings)
    lora = {name: tensor.numpy() for name, tensor in _file(models, settings, "unet").items()}
    base = load_part(models.source, "unet")
    changed = merged(base, base.state_dict(), {k: torch.tensor(v) for k, v in lora.items()}, models.source, "unet")
    for path in ("mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj", "up_blocks.1.resnets.0.conv1"):
        weight = base.state_dict()[f"{path}.weight"].numpy()
        name = f"lora_unet_{path.replace('.', '_')}"
        own = {k.removeprefix(f"{name}."): v for k, v in lora.items() if k.startswith(f"{name}.")}
        torch.testing.assert_close(
            changed[f"{path}.weight"].numpy(), weight + _formula(own, weight), rtol=1e-4, atol=1e-5
        )
        assert own["alpha"].shape == () and float(own["alpha"]) == getattr(settings, settings.training.method).alpha


def _formula(own: dict[str, Any], weight: Any) -> Any:
    outputs, flat = weight.shape[0], weight[0].size
    if "hada_w1_a" in own:
        rank = own["hada_w1_b"].shape[0]
        assert own["hada_w1_a"].shape == own["hada_w2_a"].shape == (outputs, rank)
        assert own["hada_w1_b"].shape == own["hada_w2_b"].shape == (rank, flat)
        product = (own["hada_w1_a"] @ own["hada_w1_b"]) * (own["hada_w2_a"] @ own["hada_w2_b"])
        return (product * own["alpha"] / rank).reshape(weight.shape)
    rank = None
    halves = []
    for half in ("lokr_w1", "lokr_w2"):
        if half in own:
            assert f"{half}_a" not in own
            halves.append(own[half])
        else:
            rank = own[f"{half}_b"].shape[0]
            halves.append(own[f"{half}_a"] @ own[f"{half}_b"])
    small, large = halves
    scale = own["alpha"] / rank if rank else 1.0
    return scale * np.kron(small, large.reshape(large.shape[0], -1)).reshape(weight.shape)


@every_form
def test_a_killed_run_goes_on_to_the_bit(form: str, make_settings: Make, tmp_path: Path) -> None:
    method = FORMS[form]["training__method"]
    settings = make_settings(
        **FORMS[form],
        **{f"{method}__dropout": 0.2},
        training__text_encoder_learning_rate=1e-3,
        output__save_every_steps=3,
    )
    whole, told = train(settings, tmp_path / "whole")
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 5)
    train(settings, cut.path)
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    without, _ = train(make_settings(**FORMS[form], training__text_encoder_learning_rate=1e-3), tmp_path / "without")
    ours, theirs = last_checkpoint(whole), last_checkpoint(without)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours), "dropout reaches the step"
    assert all(np.isfinite(event.loss) for event in told if isinstance(event, ev.Step))


@every_form
def test_trains_in_half_precision(form: str, make_settings: Make, tmp_path: Path) -> None:
    """PEFT's layers answer in the precision of what they are given, and frozen norms read it."""
    _, told = train(make_settings(**FORMS[form], training__precision="bf16"), tmp_path / "half")
    _, whole = train(make_settings(**FORMS[form]), tmp_path / "whole")
    ours, exact = (np.array([event.loss for event in told if isinstance(event, ev.Step)]) for told in (told, whole))
    np.testing.assert_allclose(ours, exact, rtol=0.03)


@pytest.mark.parametrize("form", ["loha", "lokr"])
def test_metadata_and_names(form: str, make_settings: Make, tmp_path: Path) -> None:
    run, _ = train(make_settings(**FORMS[form], training__max_steps=1), tmp_path / "run")
    path = run.checkpoints()[-1].path
    with safe_open(path, "pt") as file:
        metadata, keys = file.metadata(), list(file.keys())
    assert metadata["ss_network_module"] == "lycoris.kohya"
    assert json.loads(metadata["ss_network_args"])["algo"] == form
    assert is_lora(keys) and not is_lora(["model.diffusion_model.input_blocks.0.0.weight", "lora_unet_x.alpha"])
    endings = {key.rsplit(".", 1)[1] for key in keys}
    own = (
        {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
        if form == "loha"
        else {"lokr_w1", "lokr_w2_a", "lokr_w2_b"}
    )
    assert own | {"alpha"} <= endings <= own | {"alpha", "lokr_w2"}


@pytest.mark.parametrize("form", ["loha", "lokr"])
def test_a_grid_shows_the_checkpoint(form: str, make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(**FORMS[form], training__learning_rate=3e-2)
    run, _ = train(settings, tmp_path / "run")
    models = open_models(settings, torch.device("cpu"))
    models.load("unet", "text_encoder", "tokenizer", "vae")
    before = _predict(models.unet)
    Swapper(models).show(str(run.checkpoints()[-1].path))
    assert (_predict(models.unet) - before).abs().max() > 1e-3


def test_what_does_not_fit_is_said(make_settings: Make) -> None:
    settings = make_settings(**FORMS["lokr"])
    models = _attached(settings)
    lora = _file(models, settings, "unet")
    plain = load_part(models.source, "unet")

    def merge(changes: dict[str, torch.Tensor], without: str = "-") -> None:
        kept = {name: tensor for name, tensor in lora.items() if not name.endswith(without)}
        merged(plain, plain.state_dict(), {**kept, **changes}, models.source, "unet")

    name = "lora_unet_mid_block_resnets_0_conv1"
    with pytest.raises(UserError, match="tensors of a layer are missing"):
        merge({}, "mid_block_resnets_0_conv1.lokr_w2_b")
    with pytest.raises(UserError, match="Tucker"):
        merge({f"{name}.lokr_t2": torch.zeros(1, 1, 3, 3)})
    with pytest.raises(UserError, match="not in this model"):
        merge({"lora_unet_nowhere.lokr_w1": torch.zeros(1)})
    with pytest.raises(UserError, match="has not the size"):
        merge({f"{name}.lokr_w1": torch.zeros(1, 1)})
