"""Stable Diffusion 2.x: OpenCLIP, linear projections, both predictions; files that diffusers reads, training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core import events as ev
from core.anatomy.source import open_anatomy
from core.engine.checkpoint import save
from core.engine.lora_files import merged
from core.engine.model_files import open_model
from core.engine.models import Models, load_part
from core.engine.tensor_writer import write_entries
from core.engine.text_states import encode
from core.engine.whole_model import effective_scheduler, single_file, write_folder
from core.families import sd2
from core.paths import RESOURCES
from core.settings import Settings
from tests.core.engine.drawing import draw, draw_by_diffusers, whole_models
from tests.core.engine.helpers import assert_equal, last_checkpoint, train
from tests.fixtures.tiny_model import make_tiny_2_model

Make = Callable[..., Settings]
FACTS = {"step": 1, "epoch": 0, "images": 1, "name": "two"}
TEXT = "cond_stage_model.model."


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the SD 2.x architecture that predicts v."""
    return make_tiny_2_model(tmp_path_factory.mktemp("two") / "model")


@pytest.fixture
def make_two(make_settings: Make, two: Path) -> Make:
    """Settings of a short run on it."""
    return lambda **changes: make_settings(**{"model__base": str(two), **changes})


def _pipeline(folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True, safety_checker=None)


def _original(models: Models, settings: Settings, path: Path) -> dict[str, torch.Tensor]:
    """Write the model as those files are that came from its authors: 24th layer, projection and all, no metadata."""
    entries, _ = single_file(models, settings)
    state = {name: entry.tensor().contiguous() for name, entry in entries.items() if name != "v_pred"}
    last = f"{TEXT}transformer.resblocks.1."
    state |= {n.replace(".1.", ".2."): t + 1 for n, t in state.items() if n.startswith(last)}
    state[f"{TEXT}text_projection"] = torch.randn(24, 24)
    state[f"{TEXT}attn_mask"] = torch.full((77, 77), float("-inf")).triu(1)
    save_file(state, path)
    return state


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_our_sampler_draws_what_diffusers_draws(prediction: str, tmp_path: Path) -> None:
    folder = make_tiny_2_model(tmp_path / "model", prediction)
    ours, theirs = draw(whole_models(folder)), draw_by_diffusers(_pipeline(folder))
    assert ours.std() > 1
    assert np.abs(ours - theirs).max() <= 1


def test_the_conditioning_is_diffusers(two: Path) -> None:
    states, _ = _pipeline(two).encode_prompt("a photo of a cat", "cpu", 1, do_classifier_free_guidance=False)
    torch.testing.assert_close(encode(whole_models(two), ["a photo of a cat"], "fp32")["encoder_hidden_states"], states)


def test_padding_is_the_exclamation_mark_whatever_the_tokenizer_pads_with(two: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(two, tmp_path / "folder")
    shutil.rmtree(folder / "tokenizer")
    for path in (two, folder):
        models = Models(open_model(path), torch.device("cpu"))
        models.load("tokenizer")
        ids = sd2.tokenize(models, ["a cat", "a cat and a cat"])
        assert ids.shape == (2, 1, 77)
        ids = ids[:, 0]
        assert ids[0, :5].tolist() == [49406, 320, 2368, 49407, 0] and not ids[0, 4:].any()
        assert ids[1, 4:8].tolist() == [320, 2368, 49407, 0] and not ids[1, 7:].any()


def test_a_single_file_is_what_diffusers_converts(two: Path, tmp_path: Path, make_two: Make) -> None:
    from diffusers import StableDiffusionPipeline

    path = tmp_path / "two.safetensors"
    models = whole_models(two)
    save(path, models, make_two(), ["unet"], FACTS)
    pipeline = StableDiffusionPipeline.from_single_file(
        str(path), config=str(two), local_files_only=True, safety_checker=None
    )
    wanted = draw(models)
    assert np.abs(draw_by_diffusers(pipeline) - wanted).max() <= 1
    again = whole_models(path)
    assert again.family is sd2
    assert np.abs(draw(again) - wanted).max() == 0
    assert open_anatomy(str(path)).name == open_anatomy(str(two)).name == "sd2"


def test_a_diffusers_folder_is_what_diffusers_loads(two: Path, tmp_path: Path, make_two: Make) -> None:
    models = whole_models(two)
    write_folder(tmp_path / "folder", models, make_two(), torch.float32)
    assert np.abs(draw_by_diffusers(_pipeline(tmp_path / "folder")) - draw(models)).max() <= 1
    assert np.abs(draw(whole_models(tmp_path / "folder")) - draw(models)).max() == 0
    for part in ("unet", "vae", "text_encoder"):
        before, after = (load_part(open_model(path), part).state_dict() for path in (two, tmp_path / "folder"))
        assert_equal(before, after)


def test_a_folder_made_from_a_single_file_pads_as_it_must(two: Path, tmp_path: Path, make_two: Make) -> None:
    save(tmp_path / "two.safetensors", whole_models(two), make_two(), ["unet"], FACTS)
    models = whole_models(tmp_path / "two.safetensors")
    write_folder(tmp_path / "folder", models, make_two(), torch.float32)
    assert np.abs(draw_by_diffusers(_pipeline(tmp_path / "folder")) - draw(models)).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_file_comes_back_byte_for_byte(dtype: torch.dtype, two: Path, tmp_path: Path, make_two: Make) -> None:
    entries, metadata = single_file(whole_models(two), make_two())
    path, copy = tmp_path / "two.safetensors", tmp_path / "copy.safetensors"
    write_entries(path, {name: entry.cast(dtype) for name, entry in entries.items()}, metadata)
    models = Models(open_model(path), torch.device("cpu"))
    for loaded in ((), ("unet", "text_encoder", "vae")):
        models.load(*loaded)
        entries, metadata = single_file(models, make_two())
        write_entries(copy, {name: entry.cast(dtype) for name, entry in entries.items()}, metadata)
        assert_equal(load_file(copy), load_file(path))


def test_what_an_original_file_holds_besides_is_passed_on(
    two: Path, tmp_path: Path, make_two: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the text encoder was trained: the 24th layer, the projection and the mask are nobody's to change."""
    from core.engine import model_files

    original = _original(whole_models(two), make_two(), tmp_path / "old.safetensors")
    tiny = {part: json.loads((two / part / "config.json").read_text()) for part in sd2.PREFIXES}
    tiny["scheduler"] = json.loads((two / "scheduler" / "scheduler_config.json").read_text())
    monkeypatch.setattr(model_files, "shipped_configs", lambda module: dict(tiny))
    models = whole_models(tmp_path / "old.safetensors")
    assert models.family is sd2
    models.text_encoder.requires_grad_(True)
    with torch.no_grad():
        models.text_encoder.final_layer_norm.bias.add_(1)
    entries, _ = single_file(models, make_two())
    stored = {name: entry.tensor() for name, entry in entries.items()}
    assert stored.keys() - original.keys() == {"v_pred"} and not original.keys() - stored.keys()
    assert {name for name in original if not torch.equal(stored[name], original[name])} == {f"{TEXT}ln_final.bias"}


def test_the_prediction_of_an_unmarked_file_is_v_or_what_the_settings_say(two: Path, make_two: Make) -> None:
    shipped = json.loads((RESOURCES / "models" / "sd2" / "scheduler" / "scheduler_config.json").read_text())
    assert shipped["prediction_type"] == "v_prediction"
    models = whole_models(two)
    assert effective_scheduler(models, make_two())["prediction_type"] == "v_prediction"
    assert effective_scheduler(models, make_two(model__prediction="epsilon"))["prediction_type"] == "epsilon"


@pytest.mark.parametrize(
    ("prediction", "name"), [("epsilon", "stable-diffusion-v2-512"), ("v-prediction", "stable-diffusion-v2-768-v")]
)
def test_metadata_name_the_family(prediction: str, name: str, two: Path, tmp_path: Path, make_two: Make) -> None:
    save(tmp_path / "two.safetensors", whole_models(two), make_two(model__prediction=prediction), ["unet"], FACTS)
    with safe_open(tmp_path / "two.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["modelspec.architecture"] == name
    assert metadata["ss_v2"] == "true" and metadata["ss_base_model_version"] == "sd_v2"


def test_lora_names_are_kohyas_and_draw_the_same(two: Path, tmp_path: Path, make_two: Make) -> None:
    settings = make_two(
        training__method="lora",
        training__learning_rate=3e-2,
        training__text_encoder_learning_rate=1e-2,
        lora__alpha=4,
        lora__targets="attention + feed-forward + resnets",
    )
    run, _ = train(settings, tmp_path / "run")
    path = run.checkpoints()[-1].path
    lora = load_file(path)
    for name in (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "lora_te_text_model_encoder_layers_1_mlp_fc1.lora_up.weight",
    ):
        assert name in lora
    pipeline = _pipeline(two)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    models = whole_models(two)
    before = draw(models)
    for part in ("unet", "text_encoder"):
        module = getattr(models, part)
        base = dict(module.state_dict())
        changed = merged(module, base, lora, models.source, part)
        assert changed
        module.load_state_dict({**base, **changed})
    ours = draw(models)
    assert np.abs(ours - draw_by_diffusers(pipeline)).max() <= 1
    assert np.abs(ours - before).max() > 8


def test_every_part_is_trained_and_a_killed_run_goes_on_to_the_bit(tmp_path: Path, make_two: Make, two: Path) -> None:
    settings = make_two(
        training__text_encoder_learning_rate=1e-3, output__save_every_steps=3, validation__every_steps=3
    )
    whole, told = train(settings, tmp_path / "whole")
    assert all(np.isfinite(event.loss) for event in told if isinstance(event, ev.Step | ev.Evaluated))
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 5)
    train(settings, cut.path)
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    for part in ("unet", "text_encoder"):
        before, after = load_part(open_model(two), part), load_part(open_model(whole.checkpoints()[-1].path), part)
        changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
        assert sum(changed) > 0.8 * len(changed), part


def test_names_at_full_size_are_those_that_diffusers_converts() -> None:
    """Every tensor of the real UNet and text encoder is found again by diffusers' converters."""
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = RESOURCES / "models" / "sd2"
    config = json.loads((folder / "unet" / "config.json").read_text())
    text_config = json.loads((folder / "text_encoder" / "config.json").read_text())
    with init_empty_weights():
        state = UNet2DConditionModel.from_config(config).state_dict()
        encoder = CLIPTextModel(CLIPTextConfig(**{k: v for k, v in text_config.items() if k != "architectures"}))
    assert sum(tensor.numel() for tensor in state.values()) == 865_910_724
    named = {
        sd2.place("unet", key, config).name: torch.full((1,) * t.ndim, i) for i, (key, t) in enumerate(state.items())
    }
    back = convert_ldm_unet_checkpoint(dict(named), config)
    assert {key: int(tensor.reshape(-1)[0]) for key, tensor in back.items()} == {k: i for i, k in enumerate(state)}
    text = encoder.state_dict()
    assert sum(tensor.numel() for tensor in text.values()) == 340_387_840
    places = {key: sd2.place("text_encoder", key, text_config) for key in text}
    file = {p.name: torch.zeros(p.file_shape(tuple(text[key].shape)), dtype=torch.uint8) for key, p in places.items()}
    found = convert_open_clip_checkpoint(encoder, file, prefix=TEXT)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in found.items()}
    assert set(text) <= set(plain)
    assert all(tuple(plain[key].shape) == tuple(text[key].shape) for key in text)


def test_only_its_own_files_are_recognised(two: Path, tiny_model: Path) -> None:
    from core.families import sd15, sdxl

    unet = "model.diffusion_model.input_blocks.0.0.weight"
    assert sd2.recognises({unet, f"{TEXT}token_embedding.weight"})
    assert not sd2.recognises({unet, f"{TEXT}token_embedding.weight", "model.diffusion_model.label_emb.0.0.weight"})
    assert not sd15.recognises({unet, f"{TEXT}token_embedding.weight"})
    for folder, own in ((two, sd2), (tiny_model, sd15)):
        index = json.loads((folder / "model_index.json").read_text())
        text = json.loads((folder / "text_encoder" / "config.json").read_text())
        assert [family for family in (sd15, sd2, sdxl) if family.recognises_folder(index, text)] == [own]
