"""Finds out what a model file or folder is and reads its parts: configs and tensors under diffusers' names."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from core import registry
from core.engine.safe_files import read_header, read_some, read_tensors
from core.errors import UserError
from core.paths import RESOURCES

#: Metadata key under which our checkpoints carry the configs of their parts.
CONFIG_KEY = "burnish.configs"

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ModelSource:
    """A model on the disk.

    Attributes:
        family: The module of core.families that owns it.
        folder: Whether it is a diffusers folder (else a single file).
        configs: Config of each part ("unet", "vae", "text_encoder", "scheduler") as diffusers writes it.
    """

    path: Path
    family: Any
    folder: bool
    configs: dict[str, dict[str, Any]]
    keys: frozenset[str] = field(default_factory=frozenset)

    def tokenizer_folder(self) -> Path:
        """Folder with vocab.json and merges.txt: the model's own, or the one that ships with Burnish."""
        own = self.path / "tokenizer"
        if self.folder and (own / "vocab.json").is_file():
            return own
        return RESOURCES / "models" / str(self.family.CONFIGS) / "tokenizer"

    def read(self, part: str, names: Collection[str], shapes: dict[str, tuple[int, ...]]) -> State:
        """Tensors of a part under diffusers' names; `names` and `shapes` are what the part's module has.

        Raises UserError when tensors are missing or of another shape.
        """
        if self.folder:
            return check_state(self.path, read_folder_part(self.path / part, names), names, shapes)
        config = self.configs[part]
        wanted = {}
        for name in names:
            original = self.family.original_name(part, name, config)
            legacy = self.family.legacy_name(original)
            wanted[name] = legacy if original not in self.keys and legacy in self.keys else original
        missing = sorted(original for original in wanted.values() if original not in self.keys)
        if missing:
            raise UserError(
                f"{self.path} lacks {len(missing)} tensors of the {self.family.LABEL} {part} ({missing[0]} first). "
                "It may be incomplete or of another family."
            )
        raw = read_some(self.path, list(wanted.values()))
        state = {name: raw[original] for name, original in wanted.items()}
        return check_state(self.path, as_matrices(state, shapes), names, shapes)


def as_matrices(state: State, shapes: dict[str, tuple[int, ...]]) -> State:
    """The tensors of a single file with those 1x1 convolutions as matrices that the module keeps as matrices."""
    return {n: t[:, :, 0, 0] if t.ndim == 4 and len(shapes[n]) == 2 else t for n, t in state.items()}


def check_state(path: Path, state: State, names: Collection[str], shapes: dict[str, tuple[int, ...]]) -> State:
    """`state` when it has every name in its shape; a UserError for the first that it has not."""
    for name in names:
        if name not in state:
            raise UserError(f"{path} lacks the tensor {name}; it may be incomplete or of another family.")
        if tuple(state[name].shape) != tuple(shapes[name]):
            raise UserError(
                f"{path}: {name} has the shape {tuple(state[name].shape)}, but {tuple(shapes[name])} is expected. "
                "The model is of another size or family than its config says."
            )
    return state


def read_folder_part(folder: Path, names: Collection[str]) -> State:
    """Those of `names` that the .safetensors files of a part's folder hold; UserError when there is no such file."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if not any(mark in file.name for mark in (".fp16.", ".ema.", "non_ema"))]
    chosen = plain or files
    if not chosen:
        raise UserError(f"{folder} holds no .safetensors file. Convert the model to safetensors first.")
    state: State = {}
    for file in chosen:
        state.update(read_tensors(file))
    flat = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    state = {name: state.get(name, flat.get(name.removeprefix("text_model."))) for name in names}  # type: ignore[misc]
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def open_model(path: Path, family: str = "auto") -> ModelSource:
    """What is at `path`; UserError when it is no model, or one of a family that cannot be trained here."""
    if path.is_dir():
        return _open_folder(path, family)
    if not path.exists():
        raise UserError(f"{path} does not exist. Check the path of the base model.")
    if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin"):
        raise UserError(f"{path} is a pickle, which can hold harmful code. Convert it to .safetensors first.")
    keys, metadata = read_header(path)
    known = frozenset(keys)
    module = _family_of(family, lambda candidate: candidate.recognises(known))
    if module is None:
        raise UserError(f"{path} {describe(known)}")
    configs = json.loads(metadata[CONFIG_KEY]) if CONFIG_KEY in metadata else _shipped_configs(module)
    return ModelSource(path, module, False, configs, known)


def _open_folder(path: Path, family: str) -> ModelSource:
    try:
        index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is not a diffusers model (it holds no model_index.json). Choose the folder that holds it, "
            "or a .safetensors file."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path / 'model_index.json'} cannot be read ({error}).") from None
    module = _family_of(family, lambda candidate: candidate.recognises_folder(index))
    if module is None:
        kind = index.get("_class_name", "an unknown pipeline")
        raise UserError(f"{path} holds {kind}, which this version cannot train. It trains Stable Diffusion 1.5.")
    configs = _shipped_configs(module)
    for part in (*module.PREFIXES, "scheduler"):
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        try:
            configs[part] = json.loads((path / part / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path / part / name} cannot be read ({error}). The model folder is incomplete.") from None
    return ModelSource(path, module, True, configs)


def _family_of(name: str, recognised: Any) -> Any:
    """The family module by name, or the one that recognises the model, or None."""
    if name != "auto":
        return registry.component("families", name)
    for module in registry.components("families").values():
        if hasattr(module, "recognises") and recognised(module):
            return module
    return None


def _shipped_configs(module: Any) -> dict[str, dict[str, Any]]:
    folder = RESOURCES / "models" / module.CONFIGS
    names = {part: f"{part}/config.json" for part in module.PREFIXES}
    names["scheduler"] = "scheduler/scheduler_config.json"
    return {part: json.loads((folder / name).read_text(encoding="utf-8")) for part, name in names.items()}


def describe(keys: Collection[str]) -> str:
    """What a file that no family recognises probably is, as the end of a sentence."""

    def has(*parts: str) -> bool:
        return any(part in key for key in keys for part in parts)

    if has("lora_unet_", "lora_down", "lora_A"):
        return "is a LoRA, not a whole model. Choose the model that it was made for as the base."
    if has("conditioner.embedders.1."):
        return "is an SDXL model. This version trains Stable Diffusion 1.5 models."
    if has("cond_stage_model.model."):
        return "is a Stable Diffusion 2 model. This version trains Stable Diffusion 1.5 models."
    if has("double_blocks", "joint_blocks", "transformer_blocks.0.attn.add_"):
        return "is a transformer model (Flux, SD 3 or a like one). This version trains Stable Diffusion 1.5 models."
    if has("decoder.conv_in") and not has("diffusion_model"):
        return "is a VAE only. Choose a whole Stable Diffusion 1.5 model."
    if has("diffusion_model"):
        return "holds a UNet but no CLIP text encoder. Choose a whole Stable Diffusion 1.5 model."
    return "is not a Stable Diffusion model (none of its tensors' names is known). Choose a Stable Diffusion 1.5 model."
