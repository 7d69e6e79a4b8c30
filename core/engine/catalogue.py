"""The catalogue of a folder of shards: where each entry is, as sorted arrays that are mapped into memory."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import atomic
from core.errors import UserError

_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "U8": torch.uint8}
_KINDS = tuple(_TYPES.values())
_MAX_HEADER_BYTES = 100_000_000
_VERSION = 1

#: One entry: which shard, where its bytes begin, their checksum, up to three sides (0 for those it lacks), the type.
_ROW = np.dtype([("shard", "<u4"), ("start", "<u8"), ("sum", "<u8"), ("sides", "<u4", (3,)), ("kind", "u1")])


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry's bytes are in its shard, what they are, and their xxh3_64."""

    start: int
    bytes: int
    sum: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def places_in(shard: Path) -> dict[tuple[int, int], Place] | None:
    """Where the entries of a shard are, by name; None when it is torn, or no shard of ours."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MAX_HEADER_BYTES):
                return None
            table = json.loads(file.read(length))
        sums = json.loads(table.pop("__metadata__")["checksums"])
        places = {_key(name): _place(told, int(sums[name], 16), 8 + length) for name, told in table.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError):
        return None
    if any(place.start < 8 + length or place.start + place.bytes > size for place in places.values()):
        return None
    return places


def _key(name: str) -> tuple[int, int]:
    if len(name) != 32:
        raise ValueError("a name has 32 digits")
    return int(name[:16], 16), int(name[16:], 16)


def _place(told: Any, total: int, base: int) -> Place:
    dtype = _TYPES[told["dtype"]]
    shape = tuple(int(side) for side in told["shape"])
    first, last = (int(offset) for offset in told["data_offsets"])
    count = 1
    for side in shape:
        count *= side
    if not shape or len(shape) > 3 or min(shape) < 1 or last - first != count * dtype.itemsize:
        raise ValueError("an entry's bytes do not fit its shape")
    return Place(base + first, last - first, total, shape, dtype)


class Catalogue:
    """A mapped, sorted list of the entries of some shards; which ones it covers stands in catalogue.json."""

    def __init__(self, folder: Path, shards: Sequence[str], names: NDArray[np.uint64], rows: NDArray[Any]) -> None:
        """`names` (N, 2) sorted by their first half; `rows` (N,) of _ROW in the same order."""
        self._folder = folder
        self._shards = list(shards)
        self._high: NDArray[np.uint64] = names[0]
        self._low: NDArray[np.uint64] = names[1]
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @classmethod
    def empty(cls, folder: Path) -> Catalogue:
        """One that covers no shard."""
        return cls(folder, [], np.zeros((2, 0), dtype=np.uint64), np.zeros(0, dtype=_ROW))

    @classmethod
    def open(cls, folder: Path) -> Catalogue:
        """The folder's catalogue; an empty one when there is none or a shard of it changed or is gone."""
        try:
            told = json.loads((folder / "catalogue.json").read_text(encoding="utf-8"))
            if told["version"] != _VERSION or not _still_there(folder, told["shards"]):
                return cls.empty(folder)
            names = np.load(folder / told["names"], mmap_mode="r")
            rows = np.load(folder / told["rows"], mmap_mode="r")
        except (OSError, ValueError, LookupError, TypeError, EOFError):
            return cls.empty(folder)
        if names.dtype != np.uint64 or names.shape != (2, len(rows)) or rows.dtype != _ROW:
            return cls.empty(folder)
        return cls(folder, [shard for shard, _, _ in told["shards"]], names, rows)

    @classmethod
    def make(cls, folder: Path) -> Catalogue:
        """Read the headers of all shards and write the catalogue; the older one is removed when the new one is whole.

        UserError when the disk is full.
        """
        stamps: list[tuple[str, int, int]] = []
        names, rows = [], []
        known = cls.open(folder)
        fresh = set(known.unknown_shards())
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if not entry.name.endswith(".safetensors") or entry.name not in fresh:
                continue
            places = places_in(Path(entry.path))
            if places:
                names.append(np.array(list(places), dtype=np.uint64))
                rows.append(_rows_of(places, len(known._shards) + len(stamps)))
                stamps.append(_stamp(folder, entry.name))
        if known._shards:
            names.insert(0, np.stack([known._high, known._low], axis=1))
            rows.insert(0, np.asarray(known._rows))
            stamps = [_stamp(folder, shard) for shard in known._shards] + stamps
        if not stamps:
            return cls.empty(folder)
        every, all_rows = np.concatenate(names), np.concatenate(rows)
        order = np.lexsort((every[:, 1], every[:, 0]))
        _write(folder, stamps, np.ascontiguousarray(every[order].T), all_rows[order])
        return cls.open(folder)

    def unknown_shards(self) -> list[str]:
        """Names of the shards in the folder that this catalogue does not cover."""
        covered = set(self._shards)
        with os.scandir(self._folder) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".safetensors") and e.name not in covered)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Row of each name (M, 2), -1 for those that are not there."""
        found = np.full(len(keys), -1, dtype=np.int64)
        if not len(self) or not len(keys):
            return found
        # In order of the names, neighbouring questions touch neighbouring pages.
        order = np.argsort(keys[:, 0])
        high, low = keys[order, 0], keys[order, 1]
        at = np.searchsorted(self._high, high)
        open_ = np.arange(len(keys))
        while open_.size:
            open_ = open_[at[open_] < len(self)]
            open_ = open_[self._high[at[open_]] == high[open_]]
            hit = self._low[at[open_]] == low[open_]
            found[order[open_[hit]]] = at[open_[hit]]
            open_ = open_[~hit]
            at[open_] += 1
        return found

    def place(self, key: tuple[int, int]) -> tuple[str, Place] | None:
        """(shard, place) of a name; None when it is not there."""
        row = int(self.find(np.array([key], dtype=np.uint64))[0])
        if row < 0:
            return None
        told = self._rows[row]
        shape = tuple(int(side) for side in told["sides"] if side)
        dtype = _KINDS[int(told["kind"])]
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return self._shards[int(told["shard"])], Place(int(told["start"]), size, int(told["sum"]), shape, dtype)


def _rows_of(places: dict[tuple[int, int], Place], shard: int) -> NDArray[Any]:
    rows = np.zeros(len(places), dtype=_ROW)
    rows["shard"] = shard
    for row, place in zip(rows, places.values(), strict=True):
        row["start"], row["sum"], row["kind"] = place.start, place.sum, _KINDS.index(place.dtype)
        row["sides"][: len(place.shape)] = place.shape
    return rows


def _stamp(folder: Path, shard: str) -> tuple[str, int, int]:
    status = (folder / shard).stat()
    return shard, status.st_size, status.st_mtime_ns


def _still_there(folder: Path, shards: list[list[Any]]) -> bool:
    """Whether each shard is there as it was."""
    with os.scandir(folder) as entries:
        present = {entry.name: entry for entry in entries}
    for name, size, changed in shards:
        entry = present.get(name)
        if entry is None:
            return False
        status = entry.stat()
        if status.st_size != size or status.st_mtime_ns != changed:
            return False
    return True


def _write(folder: Path, stamps: list[tuple[str, int, int]], names: NDArray[np.uint64], rows: NDArray[Any]) -> None:
    """Both tables, then the file that names them; a reader sees the old ones or the new ones."""
    token = uuid.uuid4().hex[:8]
    files = {"names": f"catalogue-{token}-names.npy", "rows": f"catalogue-{token}-rows.npy"}
    try:
        for key, table in (("names", names), ("rows", rows)):
            with atomic.replacing(folder / files[key]) as temporary, temporary.open("wb") as file:
                np.save(file, table)
        told = {"version": _VERSION, **files, "shards": stamps}
        atomic.write_text(folder / "catalogue.json", json.dumps(told))
    except OSError as error:
        raise UserError(f"The catalogue of {folder} cannot be written ({error.strerror or error}).") from error
    for old in folder.glob("catalogue-*-*.npy"):
        if old.name not in files.values():
            with contextlib.suppress(OSError):  # Windows keeps what somebody has mapped
                old.unlink()
