"""Writes .safetensors tensor by tensor, so that a file larger than the free memory can be made.

The safetensors library wants all tensors at once, and a hash in the header would want them twice; here each one is
made, converted, hashed, written and let go. The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core import atomic
from core.engine.safe_files import disk_error, raw_bytes

#: Metadata key of the hash of all tensor data, as modelspec 1.0.1 has it.
HASH_KEY = "modelspec.hash_sha256"

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_PLACEHOLDER = "0x" + "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor that is made when it is written.

    Attributes:
        make: Gives the tensor, in any precision and on any device; asked once.
        shape, dtype: What is written.
        fixed: Keeps its precision whatever the file's is.
    """

    make: Callable[[], torch.Tensor]
    shape: tuple[int, ...]
    dtype: torch.dtype
    fixed: bool = False

    @classmethod
    def of(cls, tensor: torch.Tensor, fixed: bool = False) -> Entry:
        """A tensor that is there already."""
        return cls(lambda: tensor, tuple(tensor.shape), tensor.dtype, fixed)

    def cast(self, dtype: torch.dtype) -> Entry:
        """The same in another precision, where it is a floating point tensor that is not fixed."""
        return self if self.fixed or not self.dtype.is_floating_point else replace(self, dtype=dtype)

    @property
    def bytes(self) -> int:
        """Size of the data."""
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize

    def tensor(self) -> torch.Tensor:
        """The tensor as it is written: on the CPU, contiguous, in its shape and precision."""
        return self.make().detach().to("cpu", self.dtype).reshape(self.shape).contiguous()


def write_entries(
    path: Path, entries: Mapping[str, Entry], metadata: Mapping[str, str], *, hashed: bool = False
) -> None:
    """Write a file all or nothing; `hashed` puts the hash of its data under HASH_KEY into its header.

    At most one tensor is in memory besides those that the entries hold. Raises UserError when the disk is full.
    """
    order = sorted(entries, key=lambda name: (-entries[name].dtype.itemsize, name))
    texts = {**metadata, HASH_KEY: _PLACEHOLDER} if hashed else metadata
    header = json.dumps({"__metadata__": texts, **_places(order, entries)}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    digest = hashlib.sha256()
    try:
        with atomic.replacing(path) as temporary, temporary.open("w+b") as file:
            file.write(struct.pack("<Q", len(header)))
            file.write(header)
            for name in order:
                data = raw_bytes(entries[name].tensor())
                if hashed:
                    digest.update(data)
                file.write(data)
            if hashed:
                marker = f'"{HASH_KEY}":"'.encode()
                file.seek(8 + header.index(marker + _PLACEHOLDER.encode()) + len(marker))
                file.write(f"0x{digest.hexdigest()}".encode())
    except OSError as error:
        raise disk_error(path, error) from error


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors that are there already as they are; UserError when the disk is full or the folder is shut."""
    write_entries(path, {name: Entry.of(tensor) for name, tensor in tensors.items()}, metadata)


def _places(order: list[str], entries: Mapping[str, Entry]) -> dict[str, object]:
    """The header's description of each tensor, in the order in which they are written."""
    found: dict[str, object] = {}
    at = 0
    for name in order:
        entry = entries[name]
        found[name] = {"dtype": _NAMES[entry.dtype], "shape": entry.shape, "data_offsets": [at, at + entry.bytes]}
        at += entry.bytes
    return found
