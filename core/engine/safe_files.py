"""Reading and writing .safetensors with errors that a user understands; headers without the tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from core.anatomy import headers
from core.engine.pickles import is_pickle, read_pickle
from core.errors import DiskFullError, UserError, means_full


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor, for hashing; no copy when it is contiguous and on the CPU."""
    plain: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(plain)


def read_header(path: Path) -> tuple[list[str], dict[str, str]]:
    """(names of the tensors, metadata) of a file; UserError when it is no whole .safetensors file (or safe pickle)."""
    if is_pickle(path):
        return list(read_pickle(path)), {}
    header = headers.read_header(path)
    if path.stat().st_size < header.size:
        raise headers.not_whole(path, "the end of the file is missing")
    return list(header.shapes), header.metadata


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, on the CPU; UserError when it cannot be read."""
    if is_pickle(path):
        return read_pickle(path)
    read_header(path)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as .safetensors ({error}).") from None


def read_some(path: Path, names: list[str]) -> dict[str, torch.Tensor]:
    """Some tensors of a file, on the CPU, without reading the others."""
    if is_pickle(path):
        every = read_pickle(path)
        return {name: every[name] for name in names}
    try:
        with safe_open(str(path), "pt") as file:
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as .safetensors ({error}).") from None


def disk_error(path: Path, error: Exception) -> UserError:
    """The sentence for a failed write."""
    words = ("No space left", "os error 28")  # of libraries that keep the number to themselves
    if isinstance(error, DiskFullError) or means_full(error) or any(word in str(error) for word in words):
        return DiskFullError(path)
    return UserError(f"{path} cannot be written ({error}). Check the folder's permissions.")
