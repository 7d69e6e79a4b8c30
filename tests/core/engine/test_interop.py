"""Other programs load what we write: diffusers reads our checkpoints and LoRAs and draws the same pictures."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core.anatomy.source import CONFIG_KEY
from core.engine.lora_files import merged
from core.engine.noise import generator
from core.families import sd15
from core.paths import RESOURCES
from core.settings import Settings
from tests.core.engine.drawing import draw, draw_by_diffusers, whole_models
from tests.core.engine.helpers import train

Make = Callable[..., Settings]


def _pipeline(folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True)


def test_our_sampler_draws_what_diffusers_draws(tiny_model: Path) -> None:
    ours, theirs = draw(whole_models(tiny_model)), draw_by_diffusers(_pipeline(tiny_model))
    assert ours.std() > 1
    assert np.abs(ours - theirs).max() <= 1


def test_from_single_file_draws_the_checkpoints_pictures(make_settings: Make, tmp_path: Path, tiny_model: Path) -> None:
    from diffusers import StableDiffusionPipeline

    settings = make_settings(training__text_encoder_learning_rate=1e-3, training__learning_rate=1e-2)
    run, _ = train(settings, tmp_path / "run")
    path = run.checkpoints()[-1].path
    pipeline = StableDiffusionPipeline.from_single_file(str(path), config=str(tiny_model), local_files_only=True)
    ours, theirs, before = draw(whole_models(path)), draw_by_diffusers(pipeline), draw(whole_models(tiny_model))
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - before).max() > 8


@pytest.mark.parametrize("form", ["plain", "rank_stabilised"])
def test_load_lora_weights_draws_the_same_as_our_merge(
    form: str, make_settings: Make, tmp_path: Path, tiny_model: Path
) -> None:
    settings = make_settings(
        training__method="lora",
        training__text_encoder_learning_rate=1e-2,
        training__learning_rate=3e-2,
        lora__alpha=4,
        lora__targets="transformer blocks + resnets",
        **({} if form == "plain" else {f"lora__{form}": True}),
    )
    run, _ = train(settings, tmp_path / "run")
    path = run.checkpoints()[-1].path
    pipeline = _pipeline(tiny_model)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    models = whole_models(tiny_model)
    lora = load_file(path)
    for part in ("unet", "text_encoder"):
        module = getattr(models, part)
        base = dict(module.state_dict())
        changed = merged(module, base, lora, models.source, part)
        assert changed
        module.load_state_dict({**base, **changed})
    ours, theirs = draw(models), draw_by_diffusers(pipeline)
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - draw(whole_models(tiny_model))).max() > 8


def test_a_dora_file_merges_to_the_model_that_was_trained(make_settings: Make, tiny_model: Path) -> None:
    """diffusers leaves out what it reads of DoRA in kohya's files, so the model with its additions is the judge."""
    from core.engine.lora_files import file_tensors
    from core.methods import lora

    settings = make_settings(
        training__method="lora",
        lora__dora=True,
        lora__alpha=4,
        lora__targets="transformer blocks + resnets",
    )
    trained = whole_models(tiny_model)
    lora.attach(trained, settings)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(trained.unet.named_parameters()):
            if "lora" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    file = file_tensors(trained.unet, trained.source, "unet", 4.0)
    assert file["lora_unet_mid_block_resnets_0_conv1.dora_scale"].shape == (32, 1, 1, 1)
    merged_models = whole_models(tiny_model)
    base = dict(merged_models.unet.state_dict())
    changed = merged(merged_models.unet, base, file, trained.source, "unet")
    merged_models.unet.load_state_dict({**base, **changed})
    source = torch.Generator().manual_seed(0)
    inputs = (torch.randn(1, 4, 8, 8, generator=source), torch.tensor([500]), torch.randn(1, 77, 16, generator=source))
    with torch.no_grad():
        ours, wanted = (models.unet(*inputs, return_dict=False)[0] for models in (merged_models, trained))
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


def test_lora_metadata_and_names_are_kohyas(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__method="lora", lora__rank=4, lora__alpha=2, lora__targets="attention")
    run, _ = train(settings, tmp_path / "run")
    with safe_open(str(run.checkpoints()[-1].path), "pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
        alpha = file.get_tensor("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha")
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0.lora_up.weight" in keys
    assert float(alpha) == 2
    wanted = {"ss_network_dim": "4", "ss_network_alpha": "2.0", "ss_v2": "false", "ss_base_model_version": "sd_v1"}
    assert {key: metadata[key] for key in wanted} == wanted
    assert metadata["ss_network_module"] == "networks.lora"
    assert {key.rsplit(".", 1)[0].rsplit(".", 1)[-1] for key in keys if "lora" in key.rsplit(".", 2)[1]} == {
        "lora_down",
        "lora_up",
    }


def test_a_checkpoint_carries_its_settings_and_its_hash(make_settings: Make, tmp_path: Path) -> None:
    run, _ = train(make_settings(), tmp_path / "run")
    path = run.checkpoints()[-1].path
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1"
    data = path.read_bytes()
    digest = hashlib.sha256(data[8 + struct.unpack("<Q", data[:8])[0] :]).hexdigest()
    assert metadata["modelspec.hash_sha256"] == f"0x{digest}"
    assert "learning_rate = 0.001" in metadata["burnish.settings"]
    assert json.loads(metadata[CONFIG_KEY])["unet"]["block_out_channels"] == [16, 32]


def test_a_checkpoint_names_its_parent(make_settings: Make, tmp_path: Path) -> None:
    first, _ = train(make_settings(), tmp_path / "first")
    base = first.checkpoints()[-1].path
    second, _ = train(make_settings(model__base=str(base), training__method="lora"), tmp_path / "second")
    with safe_open(str(base), "pt") as file:
        grandparent = file.metadata()
    with safe_open(str(second.checkpoints()[-1].path), "pt") as file:
        metadata = file.metadata()
    assert grandparent["burnish.parent"] == "model" and "ss_new_sd_model_hash" not in grandparent
    assert metadata["burnish.parent"] == base.name
    assert metadata["ss_new_sd_model_hash"] == hashlib.sha256(base.read_bytes()).hexdigest()
    assert metadata["burnish.parent_tensors"] == grandparent["modelspec.hash_sha256"]


def test_single_file_load_and_save_are_inverse(make_settings: Make, tmp_path: Path) -> None:
    from core.engine.whole_model import single_file

    run, _ = train(make_settings(), tmp_path / "run")
    path = run.checkpoints()[-1].path
    entries, _ = single_file(whole_models(path), make_settings())
    stored = load_file(path)
    assert entries.keys() == stored.keys()
    assert all(torch.equal(entries[name].tensor(), stored[name].to(entries[name].dtype)) for name in stored)


def test_names_at_full_size_are_those_that_diffusers_converts() -> None:
    """Every tensor of the real SD 1.5 UNet and VAE gets the name from which diffusers' converter makes it again."""
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    folder = RESOURCES / "models" / "sd15"
    count = 0
    for part, kind, convert in (
        ("unet", UNet2DConditionModel, convert_ldm_unet_checkpoint),
        ("vae", AutoencoderKL, convert_ldm_vae_checkpoint),
    ):
        config = json.loads((folder / part / "config.json").read_text())
        with init_empty_weights():
            module = kind.from_config(config)
        state = module.state_dict()
        count += sum(tensor.numel() for tensor in state.values()) if part == "unet" else 0
        named = {
            place.name: torch.full(place.file_shape((1,) * tensor.ndim), number)
            for number, (key, tensor) in enumerate(state.items())
            for place in (sd15.place(part, key, config),)
        }
        assert len(named) == len(state)
        back = convert(dict(named), config)
        assert {key: int(tensor.reshape(-1)[0]) for key, tensor in back.items()} == {
            key: number for number, key in enumerate(state)
        }
    assert count == 859_520_964


@pytest.mark.parametrize("drop", ["text_model.", ""])
def test_older_text_encoder_names_are_read(drop: str, make_settings: Make, tmp_path: Path) -> None:
    run, _ = train(make_settings(training__max_steps=1), tmp_path / "run")
    path = run.checkpoints()[-1].path
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    marker = "cond_stage_model.transformer."
    renamed = {key.replace(marker + drop, marker) if drop else key: t for key, t in load_file(path).items()}
    save_file(renamed, tmp_path / "old.safetensors", metadata)
    assert np.abs(draw(whole_models(tmp_path / "old.safetensors")) - draw(whole_models(path))).max() == 0


def test_generators_are_decided_by_their_key() -> None:
    draws = [torch.randn(3, generator=generator(*key)) for key in (("a", 1), ("a", 1), ("a", 2), ("a/1",))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(draws[0], draws[3])
