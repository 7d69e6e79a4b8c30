"""Old .ckpt files: pickles, opened by torch's restricted reader only, which runs no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from core.anatomy.headers import PICKLES
from core.errors import UserError


def is_pickle(path: Path) -> bool:
    """Whether a file's name is one of a pickle's."""
    return path.suffix.lower() in PICKLES


def read_pickle(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, on the CPU and where possible mapped from the disk.

    Raises UserError for a file that wants to run code or is none of torch's.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist. Check the path of the base model.")
    try:
        found: Any = _load(path)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is a pickle that wants to run code when it is opened, or is damaged; it was not opened. "
            "Get the model as .safetensors instead."
        ) from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as a checkpoint ({_first_line(error)}). Copy it again.") from None
    inner = found.get("state_dict", found) if isinstance(found, dict) else None
    if not isinstance(inner, dict):
        raise UserError(f"{path} holds no model weights. Choose a whole model.")
    return {str(name): tensor for name, tensor in inner.items() if isinstance(tensor, torch.Tensor)}


def _load(path: Path) -> Any:
    """torch's weights-only load; the old format that is no zip file cannot be mapped."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
