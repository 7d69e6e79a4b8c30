"""What is no model, or another one, is said in one sentence."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.engine.model_files import open_model
from core.engine.models import Models, load_part
from core.engine.whole_model import single_file
from core.errors import UserError
from core.settings import default_settings


def _file(path: Path, *names: str) -> Path:
    save_file({name: torch.zeros(2) for name in names}, path)
    return path


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["conditioner.embedders.0.model.x", "model.diffusion_model.input_blocks.0.0.weight"], "SDXL refiner"),
        (["cond_stage_model.model.x", "model.diffusion_model.y"], "no text encoder"),
        (["lora_unet_x.lora_down.weight"], "LoRA"),
        (["double_blocks.0.x"], "transformer"),
        (["decoder.conv_in.weight"], "VAE only"),
        (["model.diffusion_model.x"], "no text encoder"),
        (["something"], "not a Stable Diffusion model"),
    ],
)
def test_other_models_are_named(names: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        open_model(_file(tmp_path / "model.safetensors", *names))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = _file(tmp_path / "whole.safetensors", "a", "b").read_bytes()
    cases = {
        "empty": b"",
        "short": whole[:-3],
        "text": b"hello, this is not a model at all",
        "huge": struct.pack("<Q", 2**60) + b"{}",
        "list": struct.pack("<Q", 2) + b"[]",
        "entry": struct.pack("<Q", 8) + b'{"a": 1}',
    }
    for name, data in cases.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"not a whole \.safetensors"):
            open_model(path)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo harm > harm.txt",)


def test_pickles_with_code_and_damaged_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.ckpt").write_bytes(b"x")
    torch.save({"state_dict": {"model.diffusion_model.x": _Evil()}}, tmp_path / "evil.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    for name, words in (("old.ckpt", "pickle|cannot be read"), ("evil.ckpt", "run code"), ("list.ckpt", "no model")):
        with pytest.raises(UserError, match=words):
            open_model(tmp_path / name)
    assert not (tmp_path / "harm.txt").exists()


def test_an_old_checkpoint_loads_like_its_safetensors(tiny_model: Path, tmp_path: Path) -> None:
    models = Models(open_model(tiny_model), torch.device("cpu"))
    entries, metadata = single_file(models, default_settings())
    whole = {name: entry.tensor() for name, entry in entries.items()}
    save_file(whole, tmp_path / "model.safetensors", metadata)
    shipped = tmp_path / "model.ckpt"
    torch.save({"state_dict": whole, "global_step": 3}, shipped)
    source = open_model(shipped)
    assert source.family.__name__ == "core.families.sd15"
    config = open_model(tmp_path / "model.safetensors").configs
    old = load_part(replace(source, configs=config), "unet").state_dict()
    new = load_part(open_model(tmp_path / "model.safetensors"), "unet").state_dict()
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_model(tmp_path / "nothing.safetensors")
    with pytest.raises(UserError, match=r"model_index\.json"):
        open_model(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(UserError, match="FluxPipeline"):
        open_model(tmp_path)


def test_missing_and_misshapen_tensors_are_named(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    wrong = {**state, "conv_in.bias": torch.zeros(3)}
    save_file(wrong, path)
    with pytest.raises(UserError, match=r"conv_in\.bias has the shape \(3,\)"):
        load_part(open_model(folder), "unet")
    del wrong["conv_in.bias"]
    save_file(wrong, path)
    with pytest.raises(UserError, match=r"lacks the tensor conv_in\.bias"):
        load_part(open_model(folder), "unet")
    path.unlink()
    with pytest.raises(UserError, match=r"holds no \.safetensors"):
        load_part(open_model(folder), "unet")


def test_parts_come_and_go(tiny_model: Path) -> None:
    models = Models(open_model(tiny_model), torch.device("cpu"))
    models.load("vae", "tokenizer")
    assert models.unet is None and models.vae is not None and len(models.vae_fingerprint) == 32
    first = models.vae
    models.load("vae")
    assert models.vae is first
    models.drop("vae")
    assert models.vae is None
    assert models.vae_factor == 8
    ids = models.family.tokenize(models, ["a photo of a cat"])[0, 0]
    assert ids[:8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 49407]
    assert ids.shape == (77,)


def test_another_vae_is_taken_from_a_folder_or_a_file(tiny_model: Path, tmp_path: Path) -> None:
    from core import presets
    from core.engine.models import open_models
    from tests.fixtures.tiny_model import make_tiny_model

    other = make_tiny_model(tmp_path / "other", seed=5)
    wanted = load_part(open_model(other), "vae").state_dict()
    file = tmp_path / "vae.safetensors"
    save_file(wanted, file)
    for path in (other, other / "vae", file):
        settings = presets.build({"model.base": str(tiny_model), "model.vae": str(path)}, "test")
        models = open_models(settings, torch.device("cpu"))
        models.load("vae")
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in models.vae.state_dict().items()), path
