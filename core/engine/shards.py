"""Tensors on the disk by 128-bit names: shards of .safetensors with a checksum an entry, and a catalogue to find them.

The catalogue is mapped into memory and shared by all processes: a store of twelve million entries opens at once and
costs no memory of its own. Shards are the truth; the catalogue is made anew from their headers whenever it is missing
or does not fit. What is encoded goes to the disk batch by batch, in small shards that are later joined, so that a kill
costs one batch at most.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from core import atomic
from core.engine.catalogue import Catalogue, Place, places_in
from core.engine.safe_files import raw_bytes
from core.engine.tensor_writer import write_tensors
from core.errors import UserError

#: (hi, lo), each 64 bits.
Key = tuple[int, int]

#: Small shards are joined when they hold so many entries, or so many bytes.
_JOINED_ENTRIES = 512
_JOINED_BYTES = 64 << 20
#: Shards mapped at once; the system allows some tens of thousands.
_MOST_OPEN = 256
#: Seconds after which a half-written file belongs to nobody any more.
_ABANDONED = 600.0


def name_of(key: Key) -> str:
    """The name of an entry in its shard: 32 hex digits."""
    return f"{key[0]:016x}{key[1]:016x}"


def checksum(data: bytes | memoryview) -> int:
    """xxh3_64 of an entry's bytes."""
    return int(xxhash.xxh3_64_intdigest(data))


@dataclass
class _Part:
    """A small shard of this process."""

    path: Path
    entries: dict[Key, Place]
    bytes: int


class ShardStore:
    """All tensors of one folder. One thread puts, any may get.

    UserError where the folder cannot be made or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[str, mmap.mmap] = OrderedDict()
        self._recent: dict[Key, tuple[str, Place]] = {}
        self._waiting: dict[Key, torch.Tensor] = {}
        self._parts: list[_Part] = []
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: the cache folder cannot be made ({error.strerror or error}).") from None
        self.refresh()

    # -- finding ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look what is on the disk now; a damaged shard is put aside, so that its entries are encoded again."""
        self._let_go()
        self._catalogue = Catalogue.open(self.folder)
        self._recent = {}
        for shard in self._catalogue.unknown_shards():
            places = places_in(self.folder / shard)
            if places is None:
                path = self.folder / shard
                path.replace(path.with_suffix(".damaged"))
            else:
                self._recent.update({key: (shard, place) for key, place in places.items()})

    def has(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the names (N, 2) are there."""
        found = self._catalogue.find(keys) >= 0
        if self._recent or self._waiting:
            for row in np.flatnonzero(~found).tolist():
                key = (int(keys[row, 0]), int(keys[row, 1]))
                found[row] = key in self._recent or key in self._waiting
        return found

    def __contains__(self, key: Key) -> bool:
        return key in self._waiting or self._place(key) is not None

    def __len__(self) -> int:
        return len(self._catalogue) + len(self._recent) + len(self._waiting)

    def _place(self, key: Key) -> tuple[str, Place] | None:
        recent = self._recent.get(key)
        return recent if recent is not None else self._catalogue.place(key)

    # -- reading ----------------------------------------------------------------------------------------------

    def get(self, key: Key) -> torch.Tensor:
        """The tensor of a name, as it was put.

        Raises KeyError for one that was never put, UserError for one that the disk has damaged (it is then removed, so
        that the next run makes it anew).
        """
        waiting = self._waiting.get(key)
        if waiting is not None:
            return waiting
        shard, place = self._require(key)
        try:
            data = self._bytes(shard, place)
        except (OSError, ValueError):
            self.refresh()  # another process may have joined the shard with others
            shard, place = self._require(key)
            data = self._bytes(shard, place)
        if checksum(data) != place.sum:
            raise self._damaged(key, shard)
        return torch.frombuffer(bytearray(data), dtype=place.dtype).reshape(place.shape)

    def _require(self, key: Key) -> tuple[str, Place]:
        found = self._place(key)
        if found is None:
            raise KeyError(name_of(key))
        return found

    def _bytes(self, shard: str, place: Place) -> bytes:
        mapped = self._open.get(shard)
        if mapped is None:
            with (self.folder / shard).open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._open[shard] = mapped
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)  # unmapped when nobody reads from it any more
        return mapped[place.start : place.start + place.bytes]

    def _damaged(self, key: Key, shard: str) -> UserError:
        self._let_go()
        with contextlib.suppress(OSError):
            mend_shard(self.folder / shard)
        return UserError(
            f"{self.folder / shard}: the cached entry {name_of(key)} is damaged, perhaps by the disk. It was removed; "
            "resume the run to make it anew, and check the others with 'cache verify'."
        )

    # -- writing ----------------------------------------------------------------------------------------------

    def put(self, key: Key, tensor: torch.Tensor) -> None:
        """Keep a tensor; it is on its way to the disk after the next flush()."""
        self._waiting[key] = tensor.detach().cpu().contiguous()

    def flush(self) -> None:
        """Write what waits, all or nothing, while the caller goes on; waits for the writing before."""
        self._written()
        if not self._waiting:
            return
        self._writer = self._writer or ThreadPoolExecutor(1, "shards")
        batch = dict(self._waiting)
        self._writing = self._writer.submit(self._write, batch)

    def _written(self) -> None:
        """Wait for the batch on its way."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        writing.result()
        part = self._parts[-1]
        self._recent.update({key: (part.path.name, place) for key, place in part.entries.items()})
        for key in part.entries:
            self._waiting.pop(key, None)
        entries, size = sum(len(part.entries) for part in self._parts), sum(part.bytes for part in self._parts)
        if entries >= _JOINED_ENTRIES or size >= _JOINED_BYTES:
            self._join()

    def _write(self, batch: Mapping[Key, torch.Tensor]) -> None:
        path = write_shard(self.folder, batch)
        entries = places_in(path) or {}
        self._parts.append(_Part(path, entries, sum(place.bytes for place in entries.values())))

    def _join(self) -> None:
        """Make one shard of this process's small ones."""
        parts, self._parts = self._parts, []
        if len(parts) < 2:
            return
        batch = {key: self.get(key) for part in parts for key in part.entries}
        path = write_shard(self.folder, batch)
        self._recent.update({key: (path.name, place) for key, place in (places_in(path) or {}).items()})
        for part in parts:
            self._open.pop(part.path.name, None)
            with contextlib.suppress(OSError):  # on Windows a file that somebody reads stays; it is joined another time
                part.path.unlink()

    def join(self) -> None:
        """Write what waits and make one shard of this process's small ones; the end of a piece of work."""
        self.flush()
        self._written()
        self._join()
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None

    def settle(self) -> None:
        """All is written and joined: make the catalogue whole, so that the next opening is quick."""
        self.join()
        if self._recent:
            self._catalogue = Catalogue.make(self.folder)
            self._recent = {}

    def close(self) -> None:
        """Write what waits and let go of the mapped files."""
        self.flush()
        self._written()
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None
        self._let_go()

    def _let_go(self) -> None:
        self._open.clear()


def write_shard(folder: Path, entries: Mapping[Key, torch.Tensor]) -> Path:
    """Write a shard of some entries all or nothing; its name is new. UserError when the disk is full."""
    path = folder / f"{uuid.uuid4().hex[:16]}.safetensors"
    named = {name_of(key): tensor for key, tensor in entries.items()}
    sums = {name: f"{checksum(raw_bytes(tensor)):016x}" for name, tensor in named.items()}
    write_tensors(path, named, {"checksums": json.dumps(sums)})
    return path


@dataclass(frozen=True, slots=True)
class Verified:
    """What verify() found: sound entries, damaged ones (removed), shards that could not be read at all, bytes read."""

    sound: int
    damaged: int
    unreadable: list[str]
    bytes: int = 0


def verify(folder: Path) -> Verified:
    """Check every entry below a cache folder; damaged ones are dropped, so that the next run makes them again.

    UserError when `folder` is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the cache folder to verify.")
    sound = damaged = size = 0
    unreadable = []
    for shard in sorted(folder.rglob("*.safetensors")):
        try:
            good, bad = mend_shard(shard)
        except (UserError, ValueError, OSError):
            unreadable.append(str(shard))
            shard.replace(shard.with_suffix(".damaged"))
            continue
        sound, damaged = sound + good, damaged + bad
        with contextlib.suppress(OSError):
            size += shard.stat().st_size
    return Verified(sound, damaged, unreadable, size)


def mend_shard(shard: Path) -> tuple[int, int]:
    """(sound, damaged) entries of a shard; damaged ones are dropped. ValueError when it cannot be read at all."""
    places = places_in(shard)
    if places is None:
        raise ValueError("no whole shard")
    with shard.open("rb") as file, contextlib.closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as mapped:
        with memoryview(mapped) as data:
            good = [key for key, place in places.items() if _is_sound(data, place)]
        if len(good) == len(places):
            return len(good), 0
        kept = {key: _copy(mapped, places[key]) for key in good}
    if kept:
        write_shard(shard.parent, kept)
    shard.unlink()
    return len(good), len(places) - len(good)


def _is_sound(data: memoryview, place: Place) -> bool:
    """Whether an entry has the bytes that were written, and they are finite numbers."""
    part = data[place.start : place.start + place.bytes]
    try:
        return checksum(part) == place.sum and _is_finite(part, place.dtype)
    finally:
        part.release()


#: The integer type of a floating point number's bits, and its exponent's bits: all set in infinity and nan.
_EXPONENTS: dict[torch.dtype, tuple[Any, int]] = {
    torch.float32: (np.uint32, 0x7F800000),
    torch.float16: (np.uint16, 0x7C00),
    torch.bfloat16: (np.uint16, 0x7F80),
}


def _is_finite(part: memoryview, dtype: torch.dtype) -> bool:
    """Whether all numbers are finite, by their bits: several times as fast as asking for each."""
    if dtype not in _EXPONENTS:
        return True
    kind, exponent = _EXPONENTS[dtype]
    bits = np.frombuffer(part, dtype=kind)
    return not bool(((bits & kind(exponent)) == kind(exponent)).any())


def _copy(mapped: mmap.mmap, place: Place) -> torch.Tensor:
    data = bytearray(mapped[place.start : place.start + place.bytes])
    return torch.frombuffer(data, dtype=place.dtype).reshape(place.shape)


def tidy(folder: Path) -> None:
    """Join the small shards that killed processes left behind, and remove their half-written files.

    Only for a moment in which nobody writes into the folder.
    """
    atomic.remove_leftovers(folder, older_than=_ABANDONED)
    small: dict[Path, dict[Key, Place]] = {}
    for entry in os.scandir(folder):
        if entry.name.endswith(".safetensors") and entry.stat().st_size < _JOINED_BYTES // 4:
            places = places_in(folder / entry.name)
            if places is not None and len(places) < _JOINED_ENTRIES // 4:
                small[folder / entry.name] = places
    for group in _grouped(small):
        _join_files(group)


def _grouped(small: Mapping[Path, Mapping[Key, Place]]) -> Iterable[dict[Path, Mapping[Key, Place]]]:
    group: dict[Path, Mapping[Key, Place]] = {}
    for path, places in small.items():
        group[path] = places
        if sum(map(len, group.values())) >= _JOINED_ENTRIES:
            yield group
            group = {}
    if len(group) > 1:
        yield group


def _join_files(group: Mapping[Path, Mapping[Key, Place]]) -> None:
    batch: dict[Key, torch.Tensor] = {}
    for path, places in group.items():
        data = path.read_bytes()
        for key, place in places.items():
            part = bytearray(data[place.start : place.start + place.bytes])
            if checksum(memoryview(part)) == place.sum:
                batch[key] = torch.frombuffer(part, dtype=place.dtype).reshape(place.shape)
    if batch:
        write_shard(next(iter(group)).parent, batch)
    for path in group:
        with contextlib.suppress(OSError):
            path.unlink()
