"""LoRA, LoHa and LoKr between PEFT's modules, the files that other programs load, and a merge into plain weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from core.anatomy.lora_file import DORA as _DORA
from core.anatomy.lora_file import DOWN as _DOWN
from core.engine.model_files import ModelSource
from core.engine.models import Models
from core.engine.safe_files import read_tensors
from core.errors import UserError

State = dict[str, torch.Tensor]

_UP, _ALPHA = ".lora_up.weight", ".alpha"

#: Names of PEFT's tensors of a LoHa and a LoKr layer, which LyCORIS' files have too.
_HADAMARD = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
_KRONECKER = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
#: Tucker's form of the two, which is read though not written.
_TUCKER = ("hada_t1", "hada_t2", "lokr_t2")


def file_tensors(module: torch.nn.Module, source: ModelSource, part: str, alpha: float) -> State:
    """The additions inside a module under the names of kohya and LyCORIS.

    {name}.lora_down.weight and .lora_up.weight, with .dora_scale for DoRA; or .hada_w1_a ...; or .lokr_w1 ...; and
    {name}.alpha for each layer.
    """
    found: State = {}
    for path, layer in _layers(module):
        own = _lora(layer) or dict(_lycoris(layer))
        if own:
            name = kohya_name(path, source, part)
            found.update({name + ending: tensor for ending, tensor in own.items()})
            found[name + _ALPHA] = torch.tensor(float(alpha))
    return found


def _layers(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """Paths and layers; of any type, since PEFT's layers have attributes that torch's do not declare."""
    return list(module.named_modules())


def _lora(layer: Any) -> State:
    """Tensors of a LoRA by the endings of their names; empty where there is none."""
    down: Any = getattr(layer, "lora_A", None)
    if down is None or "default" not in down:
        return {}
    found = {_DOWN: down["default"].weight.detach(), _UP: layer.lora_B["default"].weight.detach()}
    magnitudes = getattr(layer, "lora_magnitude_vector", None)
    if magnitudes is not None and "default" in magnitudes:
        sides = down["default"].weight.ndim - 1
        found[_DORA] = magnitudes["default"].weight.detach().reshape(-1, *[1] * sides)
    return found


def _lycoris(layer: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """(ending, tensor) of a LoHa or LoKr."""
    for name in (*_HADAMARD, *_KRONECKER):
        held: Any = getattr(layer, name, None)
        if held is not None and "default" in held:
            yield f".{name}", held["default"].detach()


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


def begin_from(models: Models, trained: list[str], path: Path) -> None:
    """Give the LoRAs in the trained parts the values of a file, so that they add what it adds.

    A file of a lower rank fills the first rows; the others add nothing yet, as at any beginning. Layers that it has
    not begin at nothing. UserError when one of its layers is not trained, or does not fit.
    """
    file = read_tensors(path)
    left = {_layer_of(key) for key in file} - {""}
    for part in trained:
        for place, layer in _layers(getattr(models, part)):
            name = kohya_name(place, models.source, part) if _lora(layer) else ""
            if name in left:
                _fill(layer, file, name, path)
                left.discard(name)
    if left:
        raise UserError(
            f"lora.start_from: {path.name} adds to {len(left)} layers that are not trained here, as {min(left)}. "
            "Choose lora.targets that have them, give the text encoder a rate, or take the file's own base model."
        )


def _fill(layer: Any, file: State, name: str, path: Path) -> None:
    """Bring one layer's values into PEFT's tensors; the layer's own factor is taken out of them."""
    own, theirs = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    down, up = file.get(name + _DOWN), file.get(name + _UP)
    if down is None or up is None:
        raise UserError(f"lora.start_from: the layer {name} of {path.name} is no LoRA's; choose another file.")
    rank = down.shape[0]
    fits = up.shape[1] == rank <= own.shape[0] and down.numel() == rank * own[0].numel()
    if not fits or up.numel() != rank * theirs.shape[0]:
        raise UserError(f"lora.start_from: the layer {name} of {path.name} has not the size of the model's.")
    alpha = file.get(name + _ALPHA)
    factor = (1.0 if alpha is None else float(alpha) / rank) / layer.scaling["default"]
    with torch.no_grad():
        own[:rank] = down.to(own).reshape(own[:rank].shape)
        theirs[:, :rank] = (up.float() * factor).to(theirs).reshape(theirs[:, :rank].shape)
        length = file.get(name + _DORA)
        if length is not None:
            held = layer.lora_magnitude_vector["default"].weight
            held.copy_(length.to(held).reshape(held.shape))


def is_lora(keys: list[str]) -> bool:
    """Whether a file's tensors are those of a LoRA, LoHa or LoKr."""
    return any(_layer_of(key) for key in keys)


def _layer_of(key: str) -> str:
    """The layer whose addition a tensor belongs to, "" for alphas and whatever is no addition."""
    if key.endswith(_DOWN):
        return key.removesuffix(_DOWN)
    name, _, ending = key.rpartition(".")
    return name if ending in _HADAMARD or ending in _KRONECKER else ""


def merged(
    module: torch.nn.Module, base: Mapping[str, torch.Tensor], lora: State, source: ModelSource, part: str
) -> State:
    """`base` weights with a LoRA, LoHa or LoKr added, as A1111 and ComfyUI add it; DoRA brought to its length.

    `module` is a plain one without adapters, `base` its state. Only the changed tensors are returned.
    UserError when a layer of the file is not in the module (another family), or does not fit it.
    """
    changed: State = {}
    prefix = str(source.family.LORA_PREFIXES[part])
    wanted = {_layer_of(key) for key in lora if key.startswith(prefix)} - {""}
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
    """A weight with what a file adds to it, in 32 bits."""

    def find(ending: str) -> torch.Tensor | None:
        tensor = lora.get(f"{name}.{ending}")
        return None if tensor is None else tensor.float()

    delta, rank = _delta(find)
    alpha = find("alpha")
    scale = float(alpha) / rank if rank and alpha is not None else 1.0
    if delta.numel() != weight.numel():
        raise UserError(f"The LoRA's layer {name} has not the size of the model's; it is of another family.")
    whole = weight.float() + (delta * scale).reshape(weight.shape)
    length = find("dora_scale")
    if length is None:
        return whole
    now = whole.flatten(1).norm(dim=1).reshape(-1, *[1] * (whole.ndim - 1))
    turned: torch.Tensor = whole / now * length.reshape(now.shape)
    return turned


def _delta(find: Callable[[str], torch.Tensor | None]) -> tuple[torch.Tensor, int]:
    """(what is added before scaling, rank; 0 for a LoKr without any product, which is not scaled)."""
    down, up = find("lora_down.weight"), find("lora_up.weight")
    if down is not None and up is not None:
        return up.flatten(1) @ down.flatten(1), down.shape[0]
    if any(find(name) is not None for name in _TUCKER):
        raise UserError("The file holds layers in Tucker's form, which is not read here; merge it with LyCORIS' tools.")
    hadamard = [tensor for name in _HADAMARD if (tensor := find(name)) is not None]
    if len(hadamard) == len(_HADAMARD):
        first, second = (hadamard[n].flatten(1) @ hadamard[n + 1].flatten(1) for n in (0, 2))
        return first * second, hadamard[1].shape[0]
    small, first_rank = _factor(find, "lokr_w1")
    large, second_rank = _factor(find, "lokr_w2")
    # A convolution's kernel is part of the larger matrix's rows, so all is as for a linear layer.
    return torch.kron(small, large.flatten(1)), second_rank or first_rank


def _factor(find: Callable[[str], torch.Tensor | None], name: str) -> tuple[torch.Tensor, int]:
    """(a LoKr's matrix, the rank of the product that it is kept as, or 0); UserError when it is not there."""
    whole, first, second = find(name), find(f"{name}_a"), find(f"{name}_b")
    if whole is not None:
        return whole, 0
    if first is None or second is None:
        raise UserError("The LoRA's file is damaged or of a kind that is not known: tensors of a layer are missing.")
    return first @ second.flatten(1), second.shape[0]
