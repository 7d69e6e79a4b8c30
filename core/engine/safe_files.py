"""Reading and writing .safetensors with errors that a user understands; headers without the tensors."""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from core import atomic
from core.engine.pickles import is_pickle, read_pickle
from core.errors import UserError

#: A header larger than this is damage or an attack (the format's own limit).
_MAX_HEADER_BYTES = 100_000_000


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor, for hashing; no copy when it is contiguous and on the CPU."""
    plain: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(plain)


def read_header(path: Path) -> tuple[list[str], dict[str, str]]:
    """(names of the tensors, metadata) of a file; UserError when it is no whole .safetensors file (or safe pickle)."""
    if is_pickle(path):
        return list(read_pickle(path)), {}
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > _MAX_HEADER_BYTES:
                raise ValueError("the header's length is impossible")
            header = json.loads(file.read(length))
            end = max((int(e["data_offsets"][1]) for k, e in header.items() if k != "__metadata__"), default=0)
            if path.stat().st_size < 8 + length + end:
                raise ValueError("the end of the file is missing")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    except (ValueError, KeyError, TypeError, struct.error, AttributeError) as error:
        raise UserError(
            f"{path} is not a whole .safetensors file ({error}). Download or copy it again, or choose another file."
        ) from None
    metadata = header.pop("__metadata__", {}) or {}
    return list(header), {str(k): str(v) for k, v in metadata.items()}


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


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file all or nothing; UserError when the disk is full or the folder cannot be written."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with atomic.replacing(path) as temporary:
            save_file(whole, str(temporary), dict(metadata))
    except (OSError, SafetensorError) as error:
        raise disk_error(path, error) from error


def disk_error(path: Path, error: Exception) -> UserError:
    """The sentence for a failed write."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error) or "os error 28" in str(error)
    if full:
        return UserError(f"The disk is full: {path} was not written. Free some space, then resume the run.")
    return UserError(f"{path} cannot be written ({error}). Check the folder's permissions.")
