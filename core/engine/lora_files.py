"""LoRA weights between PEFT's modules, kohya's files, and a merge into plain weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from core.engine.model_files import ModelSource
from core.errors import UserError

State = dict[str, torch.Tensor]

_DOWN, _UP = ".lora_down.weight", ".lora_up.weight"


def kohya_tensors(module: torch.nn.Module, source: ModelSource, part: str, alpha: float) -> State:
    """The additions inside a module as {name}.lora_down.weight, .lora_up.weight, .alpha, and .dora_scale for DoRA."""
    found: State = {}
    for path, layer in _layers(module):
        down: Any = getattr(layer, "lora_A", None)
        if down is None or "default" not in down:
            continue
        name = kohya_name(path, source, part)
        found[name + _DOWN] = down["default"].weight.detach()
        found[name + _UP] = layer.lora_B["default"].weight.detach()
        found[f"{name}.alpha"] = torch.tensor(float(alpha))
        magnitudes = getattr(layer, "lora_magnitude_vector", None)
        if magnitudes is not None and "default" in magnitudes:
            sides = down["default"].weight.ndim - 1
            found[f"{name}.dora_scale"] = magnitudes["default"].weight.detach().reshape(-1, *[1] * sides)
    return found


def _layers(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """Paths and layers; of any type, since PEFT's layers have attributes that torch's do not declare."""
    return list(module.named_modules())


def kohya_name(path: str, source: ModelSource, part: str) -> str:
    """kohya's name of a layer from its path in the module.

    The path with underscores behind the part's prefix: for SDXL's UNet that of the original layout
    ("input_blocks_4_1_..."), else diffusers'; text encoders have "text_model" in front of theirs.
    """
    family = source.family
    if part != "unet":
        path = "text_model." + path.removeprefix("text_model.")
    elif family.LORA_ORIGINAL_NAMES:
        place = family.place(part, f"{path}.weight", source.configs[part])
        path = place.name.removeprefix(family.PREFIXES[part]).removesuffix(".weight")
    return str(family.LORA_PREFIXES[part]) + path.replace(".", "_")


def is_lora(keys: list[str]) -> bool:
    """Whether a file's tensors are a LoRA's."""
    return any(key.endswith(_DOWN) for key in keys)


def merged(
    module: torch.nn.Module, base: Mapping[str, torch.Tensor], lora: State, source: ModelSource, part: str
) -> State:
    """`base` weights with a kohya LoRA added: W + alpha / rank * up @ down, and for DoRA brought to its length.

    `module` is a plain one without adapters, `base` its state. Only the changed tensors are returned.
    UserError when a layer of the LoRA is not in the module (another family).
    """
    changed: State = {}
    prefix = str(source.family.LORA_PREFIXES[part])
    wanted = {key.removesuffix(_DOWN) for key in lora if key.endswith(_DOWN) and key.startswith(prefix)}
    for path, layer in module.named_modules():
        if not wanted or not hasattr(layer, "weight"):
            continue
        name = _name_or_none(path, source, part)
        if name in wanted:
            weight = base[f"{path}.weight"]
            changed[f"{path}.weight"] = _with_addition(weight, lora, name).to(weight)
            wanted.discard(name)
    if wanted:
        raise UserError(
            f"{len(wanted)} layers of the LoRA are not in this model ({min(wanted)}); it is of another family."
        )
    return changed


def _name_or_none(path: str, source: ModelSource, part: str) -> str:
    """kohya's name of a layer; "" for one that the original layout does not know."""
    try:
        return kohya_name(path, source, part)
    except KeyError:
        return ""


def _with_addition(weight: torch.Tensor, lora: State, name: str) -> torch.Tensor:
    """A weight with what a LoRA adds to it, in 32 bits."""
    down, up = lora[name + _DOWN].float(), lora[name + _UP].float()
    rank = down.shape[0]
    alpha = float(lora[f"{name}.alpha"]) if f"{name}.alpha" in lora else float(rank)
    delta = up.flatten(1) @ down.flatten(1)
    whole = weight.float() + (delta * (alpha / rank)).reshape(weight.shape)
    scale = lora.get(f"{name}.dora_scale")
    if scale is None:
        return whole
    length = whole.flatten(1).norm(dim=1).reshape(-1, *[1] * (whole.ndim - 1))
    turned: torch.Tensor = whole / length * scale.float().reshape(length.shape)
    return turned


def summary(lora: State) -> dict[str, Any]:
    """Rank and number of layers of a LoRA, for people."""
    downs = [tensor for key, tensor in lora.items() if key.endswith(_DOWN)]
    return {"layers": len(downs), "rank": max((tensor.shape[0] for tensor in downs), default=0)}
