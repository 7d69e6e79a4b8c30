"""Latents on the disk: shards of .safetensors with a checksum for each entry, found by content, never stale.

An entry's name is a hash of the picture's content, its bucket, its crop and whether it is mirrored; the folder's name
is a hash of the VAE's weights. Whatever changes gives another name, so an old entry is never taken for a new one.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
import xxhash
from safetensors import SafetensorError, safe_open

from core import atomic
from core.data.buckets import Fit
from core.engine.safe_files import raw_bytes, read_header
from core.engine.tensor_writer import write_tensors
from core.errors import UserError

_SHARD_ENTRIES = 512


def entry_key(content_hash: str, fit: Fit, mirrored: bool = False) -> str:
    """Name of a picture's latent."""
    return xxhash.xxh3_128_hexdigest(f"{content_hash}|{fit.bucket}|{fit.resized}|{fit.crop}|{mirrored}".encode())


def checksum(tensor: torch.Tensor) -> str:
    """Checksum of a latent's bytes."""
    return xxhash.xxh3_64_hexdigest(raw_bytes(tensor))


@dataclass
class LatentStore:
    """All latents of one VAE. Reading maps the files into memory; nothing is held but the table of names."""

    folder: Path
    _where: dict[str, Path] = field(default_factory=dict)
    _open: dict[Path, safe_open] = field(default_factory=dict)
    _waiting: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder}: the cache folder cannot be made ({error.strerror or error}).") from None
        self.refresh()

    def refresh(self) -> None:
        """Read the names in the shards; a damaged shard is put aside and its pictures are encoded again."""
        atomic.remove_leftovers(self.folder)
        for shard in sorted(self.folder.glob("*.safetensors")):
            if shard in self._where.values():
                continue
            try:
                names, _ = read_header(shard)
            except UserError:
                shard.replace(shard.with_suffix(".damaged"))
                continue
            self._where.update(dict.fromkeys(names, shard))

    def __contains__(self, key: str) -> bool:
        return key in self._where or key in self._waiting

    def __len__(self) -> int:
        return len(self._where) + len(self._waiting)

    def get(self, key: str) -> torch.Tensor:
        """A latent (c, h, w), float16, as the VAE's mean, not scaled. KeyError when it was never encoded."""
        if key in self._waiting:
            return self._waiting[key]
        shard = self._where[key]
        if shard not in self._open:
            self._open[shard] = safe_open(str(shard), "pt")
        tensor: torch.Tensor = self._open[shard].get_tensor(key)
        return tensor

    def put(self, key: str, latent: torch.Tensor) -> None:
        """Keep a latent; it is on the disk after the next flush()."""
        self._waiting[key] = latent.to(torch.float16).cpu().contiguous()
        if len(self._waiting) >= _SHARD_ENTRIES:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one shard, all or nothing."""
        if not self._waiting:
            return
        sums = {key: checksum(latent) for key, latent in self._waiting.items()}
        name = xxhash.xxh3_64_hexdigest("".join(sorted(sums)).encode())
        shard = self.folder / f"{name}.safetensors"
        write_tensors(shard, self._waiting, {"checksums": json.dumps(sums)})
        self._where.update(dict.fromkeys(self._waiting, shard))
        self._waiting = {}

    def close(self) -> None:
        """Let go of the mapped files."""
        self._open.clear()


@dataclass(frozen=True, slots=True)
class Verified:
    """What verify() found: sound entries, damaged ones (removed), shards that could not be read at all."""

    sound: int
    damaged: int
    unreadable: list[str]


def verify(folder: Path) -> Verified:
    """Check every entry below a cache folder; damaged ones are dropped, so that the next run encodes them again."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the cache folder to verify.")
    sound = damaged = 0
    unreadable = []
    for shard in sorted(folder.rglob("*.safetensors")):
        try:
            good, bad = _verify_shard(shard)
        except (UserError, SafetensorError, ValueError, OSError):
            unreadable.append(str(shard))
            shard.replace(shard.with_suffix(".damaged"))
            continue
        sound += len(good)
        damaged += bad
        if bad:
            _rewrite(shard, good)
    return Verified(sound, damaged, unreadable)


def _verify_shard(shard: Path) -> tuple[dict[str, torch.Tensor], int]:
    """(sound entries, number of damaged ones) of a shard."""
    _, metadata = read_header(shard)
    sums = json.loads(metadata.get("checksums", "{}"))
    good = {}
    bad = 0
    with safe_open(str(shard), "pt") as file:
        for key in file.keys():  # noqa: SIM118  safe_open is no dict
            latent = file.get_tensor(key)
            if checksum(latent) == sums.get(key) and bool(torch.isfinite(latent).all()):
                good[key] = latent.clone()
            else:
                bad += 1
    return good, bad


def _rewrite(shard: Path, good: dict[str, torch.Tensor]) -> None:
    if not good:
        with contextlib.suppress(OSError):
            shard.unlink()
        return
    sums = {key: checksum(latent) for key, latent in good.items()}
    write_tensors(shard, good, {"checksums": json.dumps(sums)})
