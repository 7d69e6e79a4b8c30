"""Tests of core/anatomy/source.py and headers.py: what a model on the disk is, without torch."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core import registry
from core.anatomy.headers import read_header
from core.anatomy.layers import tensors_of
from core.anatomy.source import Anatomy, open_anatomy
from core.errors import UserError
from core.paths import ROOT
from tests.fixtures.tiny_model import TEXT, UNET, VAE, make_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("anatomy") / "model")


def single_file(anatomy: Anatomy, path: Path, metadata: dict[str, str]) -> Path:
    """A file of zeros with the tensors of the family's original layout."""
    tensors = {}
    for part, layers in anatomy.parts.items():
        for tensor in tensors_of(layers):
            place = anatomy.family.place(part, tensor.name, anatomy.configs[part])
            tensors[place.name] = torch.zeros(tensor.shape)
    save_file(tensors, path, metadata)
    return path


def test_a_diffusers_folder(tiny: Path) -> None:
    found = open_anatomy(str(tiny))
    assert found.name == "sd15" and found.text_encoders == ("text_encoder",)
    assert found.weights("unet") == 200_644 and found.weights("vae") == 81_215


def test_a_single_file_with_its_configs(tiny: Path, tmp_path: Path) -> None:
    configs = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}
    path = single_file(open_anatomy(str(tiny)), tmp_path / "m.safetensors", {"burnish.configs": json.dumps(configs)})
    found = open_anatomy(str(path))
    assert found.name == "sd15" and found.weights("unet") == 200_644


def test_a_file_of_another_size_is_said(tiny: Path, tmp_path: Path) -> None:
    path = single_file(open_anatomy(str(tiny)), tmp_path / "m.safetensors", {})
    with pytest.raises(UserError, match=r"its UNet has 200,644 weights, but that of .* has 859,520,964"):
        open_anatomy(str(path))


@pytest.mark.parametrize("family", [name for name in registry.names("families") if name != "auto"])
def test_a_named_family_stands_for_its_full_size(family: str) -> None:
    found = open_anatomy("", family)
    assert found.name == family and found.weights("unet") > 800_000_000
    assert open_anatomy("", family) is found


def test_what_changed_on_the_disk_is_read_again(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    before = open_anatomy(str(folder))
    config = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    config["block_out_channels"] = [16, 64]
    (folder / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert open_anatomy(str(folder)).weights("unet") > before.weights("unet")


def test_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose the model to start from"):
        open_anatomy("")
    with pytest.raises(UserError, match="does not exist"):
        open_anatomy(str(tmp_path / "none.safetensors"))
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(UserError, match=r"Set model\.family"):
        open_anatomy(str(tmp_path / "model.ckpt"))
    assert open_anatomy(str(tmp_path / "model.ckpt"), "sd15").weights("unet") == 859_520_964
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no model that can be trained"):
        open_anatomy(str(tmp_path / "other.safetensors"))
    with pytest.raises(UserError, match=r"model_index.json cannot be read"):
        open_anatomy(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 7) + b'{"a":1}',
        struct.pack("<Q", 400_000) + b"[" * 400_000,
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}  ',
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e999]}}  ',
    ],
    ids=["empty", "short", "huge length", "a list", "no shape", "deep", "an endless side", "an endless end"],
)
def test_a_damaged_header_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a whole"):
        read_header(path)


def test_no_torch_comes_along() -> None:
    script = (
        "import sys\nfrom core import presets\nfrom core.estimate.report import estimate\n"
        "estimate(presets.build({'model.family': 'sdxl'}, 'test'))\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
