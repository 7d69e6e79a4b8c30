"""Verifies kohya's caches below a folder: reads every file whole and names those that are damaged."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from core.data.kohya_cache import TEXT_SUFFIX, CacheFileError, check
from core.data.walk import EXTENSIONS
from core.errors import UserError

#: Files read at once; reading and comparing checksums leave Python's lock alone.
_THREADS = 4
_BATCH = 256


@dataclass(slots=True)
class Verified:
    """What stands in a folder: sound cache files, and the damaged ones as (path, reason)."""

    sound: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)


def verify(folder: Path, remove: bool = False, progress: Callable[[int], None] | None = None) -> Verified:
    """Read all of kohya's caches of latents and text below a folder.

    Files are taken for such by their names: ..._sd.npz, ..._sdxl.npz, ..._te_outputs.npz, and NAME.npz beside a
    picture NAME. Others are let be.

    Args:
        remove: Delete the damaged files, so that the next caching (kohya's or ours) makes them anew.
        progress: Called with the files done; may raise to stop.

    Raises:
        UserError: the folder is missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Choose the folder that holds the pictures and their .npz files.")
    result, done = Verified(), 0
    files = _files(folder)
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(itertools.islice(files, _BATCH)):
            for path, reason in zip(batch, pool.map(_reason, batch), strict=True):
                if not reason:
                    result.sound += 1
                    continue
                result.damaged.append((path, reason))
                if remove:
                    with contextlib.suppress(OSError):
                        Path(path).unlink()
            done += len(batch)
            if progress is not None:
                progress(done)
    return result


def _files(folder: Path) -> Iterator[str]:
    """The cache files, folder by folder in order of name."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        stems = {Path(name).stem for name in names if Path(name).suffix.lower() in EXTENSIONS}
        for name in sorted(names):
            if name.endswith((TEXT_SUFFIX, "_sd.npz", "_sdxl.npz")) or (name.endswith(".npz") and name[:-4] in stems):
                yield str(Path(parent) / name)


def _reason(path: str) -> str:
    try:
        check(path)
    except CacheFileError as error:
        return str(error)
    return ""
