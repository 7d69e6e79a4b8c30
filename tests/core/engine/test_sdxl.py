"""SDXL: two text encoders, pooled states and sizes; files that diffusers reads and writes, training end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.data.buckets import Fit
from core.engine.checkpoint import save
from core.engine.loader import told_sizes
from core.engine.lora_files import merged
from core.engine.model_files import open_model
from core.engine.models import Models, load_part
from core.engine.tensor_writer import write_entries
from core.engine.text_states import encode
from core.engine.whole_model import single_file, write_folder
from core.families import sdxl
from core.paths import RESOURCES
from core.settings import Settings
from tests.core.engine.drawing import draw, draw_by_diffusers, whole_models
from tests.core.engine.helpers import assert_equal, last_checkpoint, train
from tests.fixtures.tiny_model import make_tiny_xl_model

Make = Callable[..., Settings]
FACTS = {"step": 1, "epoch": 0, "images": 1, "name": "xl"}


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the SDXL architecture."""
    return make_tiny_xl_model(tmp_path_factory.mktemp("xl") / "model")


@pytest.fixture
def make_xl(make_settings: Make, xl: Path) -> Make:
    """Settings of a short run on it."""
    return lambda **changes: make_settings(model__base=str(xl), **changes)


def _pipeline(folder: Path) -> Any:
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline.from_pretrained(str(folder), local_files_only=True, add_watermarker=False)


def test_our_sampler_draws_what_diffusers_draws(xl: Path) -> None:
    ours, theirs = draw(whole_models(xl)), draw_by_diffusers(_pipeline(xl))
    assert ours.std() > 1
    assert np.abs(ours - theirs).max() <= 1


def test_the_conditioning_is_diffusers(xl: Path) -> None:
    states, _, pooled, _ = _pipeline(xl).encode_prompt("a photo of a cat", do_classifier_free_guidance=False)
    ours = encode(whole_models(xl), ["a photo of a cat"], "fp32")
    torch.testing.assert_close(ours["encoder_hidden_states"], states)
    torch.testing.assert_close(ours["pooled"], pooled)


def test_a_single_file_is_what_diffusers_converts(xl: Path, tmp_path: Path, make_xl: Make) -> None:
    from diffusers import StableDiffusionXLPipeline

    path = tmp_path / "xl.safetensors"
    models = whole_models(xl)
    save(path, models, make_xl(), ["unet"], FACTS)
    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(path), config=str(xl), local_files_only=True, add_watermarker=False
    )
    wanted = draw(models)
    assert np.abs(draw_by_diffusers(pipeline) - wanted).max() <= 1
    again = whole_models(path)
    assert again.family is sdxl
    assert np.abs(draw(again) - wanted).max() == 0


def test_a_diffusers_folder_is_what_diffusers_loads(xl: Path, tmp_path: Path, make_xl: Make) -> None:
    models = whole_models(xl)
    size = write_folder(tmp_path / "folder", models, make_xl(), torch.float32)
    assert size == sum(file.stat().st_size for file in (tmp_path / "folder").rglob("*") if file.is_file())
    assert np.abs(draw_by_diffusers(_pipeline(tmp_path / "folder")) - draw(models)).max() <= 1
    assert np.abs(draw(whole_models(tmp_path / "folder")) - draw(models)).max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_file_comes_back_byte_for_byte(dtype: torch.dtype, xl: Path, tmp_path: Path, make_xl: Make) -> None:
    entries, metadata = single_file(whole_models(xl), make_xl())
    path, copy = tmp_path / "xl.safetensors", tmp_path / "copy.safetensors"
    write_entries(path, {name: entry.cast(dtype) for name, entry in entries.items()}, metadata)
    models = Models(open_model(path), torch.device("cpu"))
    for loaded in ((), ("unet", "text_encoder", "text_encoder_2", "vae")):
        models.load(*loaded)
        entries, metadata = single_file(models, make_xl())
        write_entries(copy, {name: entry.cast(dtype) for name, entry in entries.items()}, metadata)
        assert_equal(load_file(copy), load_file(path))
    names = load_file(copy)
    assert {tensor.dtype for tensor in names.values()} == {dtype, torch.int64}
    assert names["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"].dtype == torch.int64
    assert float(names["conditioner.embedders.1.model.logit_scale"]) == pytest.approx(4.6052, rel=1e-2)


def test_marker_tensors_say_the_prediction(xl: Path, tmp_path: Path, make_xl: Make) -> None:
    from dataclasses import replace

    models = whole_models(xl)
    config = {**models.source.configs["scheduler"], "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    models.source = replace(models.source, configs={**models.source.configs, "scheduler": config})
    path = tmp_path / "v.safetensors"
    save(path, models, make_xl(), ["unet"], FACTS)
    stored = load_file(path)
    assert stored["v_pred"].numel() == 0 and stored["ztsnr"].numel() == 0
    scheduler = open_model(path).configs["scheduler"]
    assert scheduler["prediction_type"] == "v_prediction" and scheduler["rescale_betas_zero_snr"]


def test_lora_names_are_kohyas_and_draw_the_same(xl: Path, tmp_path: Path, make_xl: Make) -> None:
    settings = make_xl(
        training__method="lora",
        training__learning_rate=3e-2,
        training__text_encoder_learning_rate=1e-2,
        training__text_encoder_2_learning_rate=1e-2,
        lora__alpha=4,
        lora__targets="transformer blocks + resnets",
    )
    run, _ = train(settings, tmp_path / "run")
    path = run.checkpoints()[-1].path
    lora = load_file(path)
    for name in (
        "lora_unet_input_blocks_3_1_transformer_blocks_1_attn1_to_q.lora_down.weight",
        "lora_unet_middle_block_0_in_layers_2.lora_up.weight",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.alpha",
        "lora_te2_text_model_encoder_layers_1_mlp_fc1.lora_up.weight",
    ):
        assert name in lora
    pipeline = _pipeline(xl)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    models = whole_models(xl)
    before = draw(models)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        module = getattr(models, part)
        base = dict(module.state_dict())
        changed = merged(module, base, lora, models.source, part)
        assert changed
        module.load_state_dict({**base, **changed})
    ours = draw(models)
    assert np.abs(ours - draw_by_diffusers(pipeline)).max() <= 1
    assert np.abs(ours - before).max() > 8


def test_every_part_is_trained_and_a_killed_run_goes_on_to_the_bit(tmp_path: Path, make_xl: Make, xl: Path) -> None:
    from core import events as ev

    settings = make_xl(
        training__text_encoder_learning_rate=1e-3,
        training__text_encoder_2_learning_rate=1e-3,
        output__save_every_steps=3,
        validation__every_steps=3,
    )
    whole, told = train(settings, tmp_path / "whole")
    assert all(np.isfinite(event.loss) for event in told if isinstance(event, ev.Step | ev.Evaluated))
    started = next(event for event in told if isinstance(event, ev.Started))
    unread = sum(p.numel() for name, p in load_part(open_model(xl), "text_encoder").named_parameters() if _unread(name))
    assert started.parameters - started.trainable == unread > 0
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 5)
    train(settings, cut.path)
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    for part in ("unet", "text_encoder", "text_encoder_2"):
        before, after = load_part(open_model(xl), part), load_part(open_model(whole.checkpoints()[-1].path), part)
        pairs = zip(before.named_parameters(), after.parameters(), strict=True)
        changed = [not torch.equal(a, b) for (name, a), b in pairs if part != "text_encoder" or not _unread(name)]
        assert sum(changed) > 0.8 * len(changed), part


def _unread(name: str) -> bool:
    """Whether a weight of the first text encoder lies behind the layer that SDXL reads."""
    return name.startswith(("encoder.layers.1.", "final_layer_norm."))


def test_text_encoders_stay_frozen_without_a_rate(tmp_path: Path, make_xl: Make, xl: Path) -> None:
    run, _ = train(make_xl(training__learning_rate=0.0, training__text_encoder_2_learning_rate=1e-3), tmp_path / "run")
    after = open_model(run.checkpoints()[-1].path)
    same = {
        part: all(
            torch.equal(a, b)
            for a, b in zip(
                load_part(open_model(xl), part).parameters(), load_part(after, part).parameters(), strict=True
            )
        )
        for part in ("unet", "text_encoder", "text_encoder_2")
    }
    assert same == {"unet": True, "text_encoder": True, "text_encoder_2": False}


def test_sizes_come_from_the_true_crop() -> None:
    fit = Fit((64, 48), (80, 48), (10, 0, 74, 48), 0.1)
    assert told_sizes((1600, 960), fit) == (960, 1600, 0, 10, 48, 64)
    assert told_sizes((1600, 960), fit, mirrored=True) == (960, 1600, 0, 80 - 74, 48, 64)


def test_sizes_change_what_the_model_predicts(xl: Path) -> None:
    models = whole_models(xl)
    states = encode(models, ["a cat"], "fp32")
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def predict(values: list[float]) -> torch.Tensor:
        arguments = sdxl.unet_arguments(states, torch.tensor([values]))
        found: torch.Tensor = models.unet(noisy, torch.tensor([500]), **arguments, return_dict=False)[0]
        return found

    with torch.no_grad():
        assert not torch.equal(predict([960, 1600, 0, 10, 48, 64]), predict([960, 1600, 0, 0, 48, 64]))


def test_names_at_full_size_are_those_that_diffusers_converts() -> None:
    """Every tensor of the real SDXL UNet and second text encoder is found again by diffusers' converters."""
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    folder = RESOURCES / "models" / "sdxl"
    config = json.loads((folder / "unet" / "config.json").read_text())
    with init_empty_weights():
        state = UNet2DConditionModel.from_config(config).state_dict()
        text_config = json.loads((folder / "text_encoder_2" / "config.json").read_text())
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**text_config))
    assert sum(tensor.numel() for tensor in state.values()) == 2_567_463_684
    named = {
        sdxl.place("unet", key, config).name: torch.full((1,) * t.ndim, i) for i, (key, t) in enumerate(state.items())
    }
    back = convert_ldm_unet_checkpoint(dict(named), config)
    assert {key: int(tensor.reshape(-1)[0]) for key, tensor in back.items()} == {k: i for i, k in enumerate(state)}
    text = encoder.state_dict()
    places = {key: sdxl.place("text_encoder_2", key, text_config) for key in text}
    file = {p.name: torch.zeros(p.file_shape(tuple(text[key].shape)), dtype=torch.uint8) for key, p in places.items()}
    found = convert_open_clip_checkpoint(encoder, file, prefix=sdxl.PREFIXES["text_encoder_2"])
    assert set(text) == set(found)
    assert all(tuple(found[key].shape) == tuple(text[key].shape) for key in text)
