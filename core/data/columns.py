"""Columns: the numbers of all usable pictures as arrays in files, mapped into memory and shared by all processes.

Twelve million pictures are 0.9 GB of files of which a process has in memory what it touches; as Python objects they
would be many times that. They are made from the index when it has changed, beside it, in a folder named by its
generation.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from core import atomic
from core.data.index_schema import Generation, generation_of

HAS_TAGS = 1
HAS_NATURAL = 2
CAPTION_PROBLEM = 4
HAS_ALPHA = 8
PHASH_KNOWN = 16
CONTENT_KNOWN = 32
METADATA_ASKED = 64  # it has no caption file, and data.metadata was asked for its captions

#: Ids whose rows are turned into arrays at a time.
_CHUNK = 65_536

#: Small changes looked up at a time.
_MOST = 900

#: A row as hexadecimal digits of fixed length. SQLite joins those of many rows to one text: one value for Python to
#: take in place of millions, in a third of the time and without holding up its other threads.
_ROW_DIGITS = f"""
printf('%016x%08x%08x%08x%016x%02x%08x', id, width, height, directory, coalesce(phash, 0),
    flags + (phash IS NOT NULL) * {PHASH_KNOWN} + (content IS NOT NULL) * {CONTENT_KNOWN}, coalesce(tokens, -1) + 1)
|| hex(signature) || iif(content IS NULL, '{"0" * 32}', hex(content))
"""
_ROW = np.dtype(
    [
        ("ids", ">i8"),
        ("sizes", ">i4", 2),
        ("directory", ">i4"),
        ("phash", ">u8"),
        ("flags", "u1"),
        ("tokens", ">i4"),
        ("signature", "=u8", 2),
        ("content", "=u8", 2),
    ]
)

#: What a small change can change.
_CHANGEABLE = ("content", "phash", "flags", "tokens")

#: Name, type and numbers a row of each file.
_FILES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "ids": (np.int64, ()),
    "sizes": (np.int32, (2,)),
    "directory": (np.int32, ()),
    "signature": (np.uint64, (2,)),
    "content": (np.uint64, (2,)),
    "phash": (np.uint64, ()),
    "flags": (np.uint8, ()),
    "tokens": (np.int32, ()),
    "by_name": (np.int32, ()),
}


@dataclass(frozen=True)
class Columns:
    """The usable pictures (N) in order of id.

    Attributes:
        ids: int64 (N,).
        sizes: int32 (N, 2), width and height after EXIF orientation.
        directory: int32 (N,), place in `directories`, which go by path.
        signature: uint64 (N, 2), what stands for the content before a file is read whole (headers.Header).
        content: uint64 (N, 2), xxh3_128 of the file, zeros where it is unknown.
        phash: uint64 (N,), perceptual hash, 0 where it is unknown.
        flags: uint8 (N,), sums of HAS_TAGS and its kin.
        tokens: int32 (N,), of the longest caption, -1 where unknown.
        by_name: int32 (N,), the row numbers folder by folder in order of path, in a folder in order of name.
        version: Names index and generation: equal ones are of the same pictures. "" for columns without a file.
    """

    ids: NDArray[np.int64]
    sizes: NDArray[np.int32]
    directory: NDArray[np.int32]
    directories: list[str]
    signature: NDArray[np.uint64]
    content: NDArray[np.uint64]
    phash: NDArray[np.uint64]
    flags: NDArray[np.uint8]
    tokens: NDArray[np.int32]
    by_name: NDArray[np.int32]
    version: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of pictures by their ids; ids that are not among the usable ones are left out."""
        if not len(self.ids):
            return np.empty(0, dtype=np.int64)
        rows = np.searchsorted(self.ids, ids)
        rows = rows[self.ids[np.minimum(rows, len(self.ids) - 1)] == ids]
        return np.asarray(rows, dtype=np.int64)


def columns_of(database: sqlite3.Connection, folder: Path | None) -> tuple[str, Columns]:
    """(generation, columns) of an index as it is now: mapped where they were made before, else made or mended.

    Args:
        folder: Where the generations are kept; None for columns that are in memory only.

    Raises OSError or sqlite3.OperationalError when they cannot be written or read.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as scratch, _moment(database) as now:
            _write(database, Path(scratch))
            return str(now), _open(Path(scratch), mapped=False)
    now = generation_of(database)
    with contextlib.suppress(FileNotFoundError):
        return str(now), _open(folder / str(now))
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "making.lock"), _moment(database) as now:
        place = folder / str(now)
        with contextlib.suppress(FileNotFoundError):
            return str(now), _open(place)  # another process was faster
        atomic.remove_leftovers(folder)
        with atomic.replacing_folder(place) as temporary:
            older = _newest(folder, now)
            if older is None:
                _write(database, temporary)
            else:
                _mend(database, folder / str(older), older.generation, temporary)
        columns = _open(place)
        for other in folder.iterdir():
            if other.is_dir() and other != place:
                shutil.rmtree(other, ignore_errors=True)  # on Windows what is still mapped stays until next time
    return str(now), columns


@contextlib.contextmanager
def _moment(database: sqlite3.Connection) -> Iterator[Generation]:
    """Read one state of the index only, whatever others write meanwhile; gives its generation."""
    database.execute("BEGIN")
    try:
        yield generation_of(database)
    finally:
        database.execute("COMMIT")


def _newest(folder: Path, now: Generation) -> Generation | None:
    """The columns that differ from those wanted by small changes only; None when there are none."""
    found = []
    for place in folder.glob(f"{now.birth}-{now.structure}-*"):
        with contextlib.suppress(ValueError):
            found.append(Generation(now.birth, now.structure, int(place.name.rpartition("-")[2])))
    return max((older for older in found if older.generation < now.generation), default=None)


def _open(folder: Path, mapped: bool = True) -> Columns:
    arrays = {name: _load(folder / f"{name}.npy", mapped) for name in _FILES}
    directories = json.loads((folder / "directories.json").read_text(encoding="utf-8"))
    return Columns(directories=directories, version=str(folder) if mapped else "", **arrays)


def _load(path: Path, mapped: bool) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None)
    return array


def _write(database: sqlite3.Connection, folder: Path) -> None:
    """Write all columns."""
    count = database.execute("SELECT count(*) FROM pictures").fetchone()[0]
    count -= database.execute("SELECT count(*) FROM pictures WHERE reason != ''").fetchone()[0]
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (count, *shape))
        for name, (dtype, shape) in _FILES.items()
    }
    ranks, paths = _ranks(database)
    highest = database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
    done = 0
    for start in range(0, highest + 1, _CHUNK):
        rows = _rows(database, "id >= ? AND id < ?", [start, start + _CHUNK])
        for name in _ROW.fields or ():
            values = ranks[rows[name]] if name == "directory" else rows[name]
            arrays[name][done : done + len(rows)] = values
        done += len(rows)
    _order(database, arrays, ranks)
    for array in arrays.values():
        array.flush()
    (folder / "directories.json").write_text(json.dumps(paths), encoding="utf-8")


def _rows(database: sqlite3.Connection, condition: str, values: Sequence[int]) -> NDArray[Any]:
    """The usable pictures for which the condition holds, in order of id."""
    digit_rows = f"SELECT {_ROW_DIGITS} AS row FROM pictures WHERE reason = '' AND {condition} ORDER BY id"
    digits = database.execute(f"SELECT group_concat(row, '') FROM ({digit_rows})", values).fetchone()[0] or ""
    rows = np.frombuffer(bytearray.fromhex(digits), dtype=_ROW)
    rows["tokens"] -= 1
    return rows


def _mend(database: sqlite3.Connection, older: Path, generation: int, folder: Path) -> None:
    """Take columns over from `older` and bring the pictures up to date that changed after its generation."""
    for file in older.iterdir():
        if file.stem in _CHANGEABLE:
            shutil.copyfile(file, folder / file.name)
            continue
        try:
            os.link(file, folder / file.name)
        except OSError:  # a disk that knows no links
            shutil.copyfile(file, folder / file.name)
    ids = np.load(folder / "ids.npy", mmap_mode="r")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _CHANGEABLE}
    query = "SELECT DISTINCT id FROM changes WHERE generation > ? ORDER BY id"
    changed = [row[0] for row in database.execute(query, [generation])]
    for start in range(0, len(changed), _MOST):
        part = changed[start : start + _MOST]
        rows = _rows(database, f"id IN ({', '.join('?' * len(part))})", part)
        places = np.searchsorted(ids, rows["ids"])
        for name, array in arrays.items():
            array[places] = rows[name]
    for array in arrays.values():
        array.flush()


def _ranks(database: sqlite3.Connection) -> tuple[NDArray[np.int32], list[str]]:
    """Place of each directory's number in the order of paths, and the paths."""
    rows = database.execute("SELECT id, path FROM directories ORDER BY path").fetchall()
    ranks = np.zeros(max((row[0] for row in rows), default=0) + 1, dtype=np.int32)
    ranks[[row[0] for row in rows]] = np.arange(len(rows))
    return ranks, [row[1] for row in rows]


def _order(database: sqlite3.Connection, arrays: dict[str, Any], ranks: NDArray[np.int32]) -> None:
    """Fill by_name: the pictures come sorted from SQLite's index; broken ones among them are dropped."""
    ids = arrays["ids"]
    highest = int(ids[-1]) if len(ids) else 0
    rows = np.full(highest + 1, -1, dtype=np.int32)
    rows[ids] = np.arange(len(ids), dtype=np.int32)
    named = np.fromiter(
        (row[0] for row in database.execute("SELECT id FROM pictures ORDER BY directory, name")), dtype=np.int64
    )
    named = named[named <= highest]
    found = rows[named]
    found = found[found >= 0]
    by_rank = np.argsort(arrays["directory"][found], kind="stable")
    arrays["by_name"][:] = found[by_rank]
