"""The header of a .safetensors file without torch: names and shapes of its tensors, and its metadata."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

#: Files that are pickles, by their names.
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
#: A header larger than this is damage or an attack (the format's own limit).
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
        size: Bytes that the whole file must have at least.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    size: int

    def weights(self, prefix: str) -> int:
        """Number of weights of the tensors whose names begin so."""
        return sum(math.prod(shape) for name, shape in self.shapes.items() if name.startswith(prefix))


def not_whole(path: Path, reason: object) -> UserError:
    """The sentence for a file that is none, or is damaged."""
    return UserError(
        f"{path} is not a whole .safetensors file ({reason}). Download or copy it again, or choose another file."
    )


def read_header(path: Path) -> Header:
    """The header of a file; UserError when it cannot be read or is none."""
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > _MAX_HEADER_BYTES:
                raise ValueError("the header's length is impossible")
            table = json.loads(file.read(length))
        metadata = {str(key): str(value) for key, value in (table.pop("__metadata__", {}) or {}).items()}
        shapes = {str(name): tuple(int(side) for side in entry["shape"]) for name, entry in table.items()}
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    except (ValueError, LookupError, TypeError, ArithmeticError, struct.error, AttributeError, RecursionError) as error:
        raise not_whole(path, error) from None
    return Header(shapes, metadata, 8 + length + end)
