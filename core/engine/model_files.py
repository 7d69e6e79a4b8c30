"""Finds out what a model file or folder is and reads its parts: configs and tensors under diffusers' names."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from core import registry
from core.anatomy.source import CONFIG_KEY, pick_family, shipped_configs
from core.data.tokens import tokenizer_folder
from core.engine.safe_files import read_header, read_some, read_tensors
from core.errors import UserError
from core.families._layout import Place

#: Empty tensors that tell other programs how to sample a single file (formats: v-prediction, zero terminal SNR).
V_PREDICTION, ZERO_TERMINAL_SNR = "v_pred", "ztsnr"

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
        return tokenizer_folder(self.path)

    def read(self, part: str, names: Collection[str], shapes: dict[str, tuple[int, ...]]) -> State:
        """Tensors of a part under diffusers' names; `names` and `shapes` are what the part's module has.

        Raises UserError when tensors are missing or of another shape.
        """
        if self.folder:
            return check_state(self.path, read_folder_part(self.path / part, names), names, shapes)
        config = self.configs[part]
        places = {name: self.family.place(part, name, config) for name in names}
        wanted = {name: self.stored_name(place.name) for name, place in places.items()}
        missing = sorted(original for original in wanted.values() if original not in self.keys)
        if missing:
            raise UserError(
                f"{self.path} lacks {len(missing)} tensors of the {self.family.LABEL} {part} ({missing[0]} first). "
                "It may be incomplete or of another family."
            )
        raw = read_some(self.path, sorted(set(wanted.values())))
        state = {name: from_file(raw[wanted[name]], place, shapes[name]) for name, place in places.items()}
        return check_state(self.path, state, names, shapes)

    def stored_name(self, original: str) -> str:
        """The name under which this file keeps a tensor: `original`, or the one that older files have for it."""
        legacy = str(self.family.legacy_name(original))
        return legacy if original not in self.keys and legacy in self.keys else original


def from_file(tensor: torch.Tensor, place: Place, shape: tuple[int, ...]) -> torch.Tensor:
    """Our tensor from the file's; a view where that is possible. Odd shapes come through, for check_state to name."""
    if place.third is not None and tensor.ndim and tensor.shape[0] % 3 == 0:
        tensor = tensor.chunk(3)[place.third]
    if place.transposed:
        tensor = tensor.t()
    return tensor[:, :, 0, 0] if tensor.ndim == 4 and len(shape) == 2 else tensor


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
    keys, metadata = read_header(path)
    known = frozenset(keys)
    module = pick_family(family, lambda candidate: candidate.recognises(known))
    if module is None:
        raise UserError(f"{path} {describe(known)}")
    configs = json.loads(metadata[CONFIG_KEY]) if CONFIG_KEY in metadata else shipped_configs(module)
    _read_markers(known, configs["scheduler"])
    return ModelSource(path, module, False, configs, known)


def _read_markers(keys: Collection[str], scheduler: dict[str, Any]) -> None:
    """Put what a file's empty marker tensors say of its prediction into the scheduler's config."""
    if V_PREDICTION in keys:
        scheduler["prediction_type"] = "v_prediction"
    if ZERO_TERMINAL_SNR in keys:
        scheduler["rescale_betas_zero_snr"] = True


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
    text = _text_config(path)
    module = pick_family(family, lambda candidate: candidate.recognises_folder(index, text))
    if module is None:
        kind = index.get("_class_name", "an unknown pipeline")
        raise UserError(f"{path} holds {kind}, which cannot be trained. Choose a model of {_trainable()}.")
    configs = shipped_configs(module)
    for part in (*module.PREFIXES, "scheduler"):
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        try:
            configs[part] = json.loads((path / part / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path / part / name} cannot be read ({error}). The model folder is incomplete.") from None
    return ModelSource(path, module, True, configs)


def _text_config(path: Path) -> dict[str, Any]:
    """Config of a diffusers folder's first text encoder; empty where there is none, which is told later."""
    try:
        found: dict[str, Any] = json.loads((path / "text_encoder" / "config.json").read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _trainable() -> str:
    """The families by their labels, as the end of a sentence."""
    labels = [module.LABEL for module in registry.components("families").values() if hasattr(module, "recognises")]
    return " or ".join([", ".join(labels[:-1]), labels[-1]]) if len(labels) > 1 else labels[0]


def describe(keys: Collection[str]) -> str:
    """What a file that no family recognises probably is, as the end of a sentence."""

    def has(*parts: str) -> bool:
        return any(part in key for key in keys for part in parts)

    wanted = f"Choose a model of {_trainable()}."
    if has("lora_unet_", "lora_down", "lora_A"):
        return "is a LoRA, not a whole model. Choose the model that it was made for as the base."
    if has("conditioner.embedders.0.model."):
        return f"is the SDXL refiner or a model like it, which cannot be trained. {wanted}"
    if has("double_blocks", "joint_blocks", "transformer_blocks.0.attn.add_"):
        return f"is a transformer model (Flux, SD 3 or a like one), which cannot be trained. {wanted}"
    if has("decoder.conv_in") and not has("diffusion_model"):
        return f"is a VAE only. {wanted}"
    if has("diffusion_model"):
        return f"holds a UNet but no text encoder that belongs to it. {wanted}"
    return f"is not a Stable Diffusion model (none of its tensors' names is known). {wanted}"
