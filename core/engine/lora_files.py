"""LoRA weights between PEFT's modules, kohya's files, and a merge into plain weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from core.errors import UserError

State = dict[str, torch.Tensor]


def kohya_tensors(module: torch.nn.Module, prefix: str, alpha: float, text: bool) -> State:
    """The additions inside a module as {name}.lora_down.weight, .lora_up.weight and .alpha.

    `name` is the diffusers path with underscores behind `prefix`; text encoders have "text_model" in front of theirs.
    """
    found: State = {}
    for path, layer in _layers(module):
        down: Any = getattr(layer, "lora_A", None)
        if down is None or "default" not in down:
            continue
        name = kohya_name(path, prefix, text)
        found[f"{name}.lora_down.weight"] = down["default"].weight.detach()
        found[f"{name}.lora_up.weight"] = layer.lora_B["default"].weight.detach()
        found[f"{name}.alpha"] = torch.tensor(float(alpha))
    return found


def _layers(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """Paths and layers; of any type, since PEFT's layers have attributes that torch's do not declare."""
    return list(module.named_modules())


def kohya_name(path: str, prefix: str, text: bool) -> str:
    """kohya's name of a layer from its path in the module."""
    path = path.removeprefix("text_model.")
    return prefix + (f"text_model.{path}" if text else path).replace(".", "_")


def is_lora(keys: list[str]) -> bool:
    """Whether a file's tensors are a LoRA's."""
    return any(key.endswith(".lora_down.weight") for key in keys)


def merged(module: torch.nn.Module, base: Mapping[str, torch.Tensor], lora: State, prefix: str, text: bool) -> State:
    """`base` weights with a kohya LoRA added: W + alpha / rank * up @ down.

    `module` is a plain one without adapters, `base` its state. Only the changed tensors are returned.
    UserError when none of the LoRA's layers is in the module (another family).
    """
    changed: State = {}
    wanted = {key.removesuffix(".lora_down.weight") for key in lora if key.endswith(".lora_down.weight")}
    wanted = {name for name in wanted if name.startswith(prefix)}
    for path, layer in module.named_modules():
        name = kohya_name(path, prefix, text)
        if name not in wanted or not hasattr(layer, "weight"):
            continue
        weight = base[f"{path}.weight"]
        changed[f"{path}.weight"] = weight + _delta(lora, name, weight).to(weight)
        wanted.discard(name)
    if wanted:
        raise UserError(
            f"{len(wanted)} layers of the LoRA are not in this model ({min(wanted)}); it is of another family."
        )
    return changed


def _delta(lora: State, name: str, weight: torch.Tensor) -> torch.Tensor:
    """What a LoRA adds to one weight, in 32 bits."""
    down = lora[f"{name}.lora_down.weight"].float()
    up = lora[f"{name}.lora_up.weight"].float()
    rank = down.shape[0]
    alpha = float(lora[f"{name}.alpha"]) if f"{name}.alpha" in lora else float(rank)
    delta = up.flatten(1) @ down.flatten(1)
    return (delta * (alpha / rank)).reshape(weight.shape)


def summary(lora: State) -> dict[str, Any]:
    """Rank and number of layers of a LoRA, for people."""
    downs = [tensor for key, tensor in lora.items() if key.endswith(".lora_down.weight")]
    return {"layers": len(downs), "rank": max((tensor.shape[0] for tensor in downs), default=0)}
