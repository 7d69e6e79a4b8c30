"""The training state on the disk: everything a resume needs, as safetensors and JSON, exact to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from core import atomic
from core.engine.safe_files import disk_error
from core.engine.tensor_writer import write_tensors
from core.errors import DiskFullError, UserError

#: Format of a state folder; raised when its layout changes.
STATE_FORMAT = 1


def flatten(value: Any, tensors: dict[str, torch.Tensor], path: str = "") -> Any:
    """Replace every tensor of a nested structure by {"tensor": name}; the tensors go into `tensors`.

    Dicts keep keys that are not texts (optimizers number their parameters) as pairs.
    """
    if isinstance(value, torch.Tensor):
        name = path or "value"
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"pairs": [[key, flatten(item, tensors, f"{path}.{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"items": [flatten(item, tensors, f"{path}.{i}") for i, item in enumerate(value)]}
    return {"value": value}


def unflatten(plain: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The structure that flatten() took apart (tuples come back as lists)."""
    if "tensor" in plain:
        return tensors[plain["tensor"]]
    if "pairs" in plain:
        return {key: unflatten(item, tensors) for key, item in plain["pairs"]}
    if "items" in plain:
        return [unflatten(item, tensors) for item in plain["items"]]
    return plain["value"]


def save(folder: Path, weights: dict[str, torch.Tensor], optimizer: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write a state folder all or nothing; UserError when the disk is full.

    Args:
        weights: Trained weights in full precision by name.
        optimizer: Its state_dict(), and other nested states.
        facts: Counters: step, images, seconds, kwh ...
    """
    tensors: dict[str, torch.Tensor] = {}
    plain = flatten(optimizer, tensors)
    try:
        with atomic.replacing_folder(folder) as temporary:
            for name, group in (("weights", weights), ("optimizer", tensors)):
                write_tensors(temporary / f"{name}.safetensors", group, {})
            text = json.dumps({"format": STATE_FORMAT, "facts": facts, "optimizer": plain})
            (temporary / "state.json").write_text(text, encoding="utf-8")
    except (OSError, DiskFullError) as error:
        raise disk_error(folder, error) from error


def load(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    """(weights, optimizer state, facts) of a state folder; UserError when it is damaged or from a newer version."""
    try:
        plain = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if plain["format"] > STATE_FORMAT:
            raise UserError(
                f"{folder} was written by a newer version of Burnish. Update Burnish to go on with this run."
            )
        tensors = load_file(folder / "optimizer.safetensors")
        weights = load_file(folder / "weights.safetensors")
        return weights, unflatten(plain["optimizer"], tensors), plain["facts"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError, SafetensorError) as error:
        raise UserError(
            f"The training state {folder} cannot be read ({error}). An older one may be beside it."
        ) from None
