"""What captioning jobs have done: the pictures of one job, and every text that the assistant ever wrote."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from core import paths
from core.errors import UserError

#: What became of a picture.
WRITTEN, KEPT, BROKEN = 0, 1, 2
_ROW = np.dtype([("key", "<u8"), ("what", "u1")])


def key_of(path: str) -> int:
    """64 bits that stand for a path."""
    return xxhash.xxh3_64_intdigest(path.encode("utf-8", "surrogateescape"))


class DoneFile:
    """Pictures of one job that need no second look, 9 bytes each; a killed job loses at most its last batch.

    Attributes:
        counts: How many were written and kept by earlier workers of this job.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file; what a killed worker left of a half row is cut off."""
        try:
            self._file = path.open("ab", buffering=0)
            whole = path.stat().st_size // _ROW.itemsize
            os.truncate(path, whole * _ROW.itemsize)
            rows = np.fromfile(path, _ROW)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror or error}).") from None
        self.counts = np.bincount(rows["what"], minlength=3)[:3].tolist()
        self._keys: NDArray[np.uint64] = np.ascontiguousarray(rows["key"])
        self._keys.sort()  # np.unique takes a hundred times longer

    def __contains__(self, path: str) -> bool:
        """Whether an earlier worker has done this picture."""
        key = np.uint64(key_of(path))
        place = int(np.searchsorted(self._keys, key))
        return place < len(self._keys) and bool(self._keys[place] == key)

    def add(self, done: Sequence[tuple[str, int]]) -> None:
        """Note (path, what became of it) once their words are on the disk."""
        if done:
            rows = np.array([(key_of(path), what) for path, what in done], _ROW)
            self._file.write(rows.tobytes())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class OwnWords:
    """Which texts the assistant wrote for which picture contents, so that it may replace its own and no others.

    A text counts as its own while the caption file says exactly that. Rows are (content hash, kind of caption, hash of
    the text): nothing of the text itself. Threads and processes may share it. Losing the file makes the assistant only
    more careful: it then takes all words for yours.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open or make it, in the user's folder unless `path` says otherwise; UserError when it cannot be written."""
        self._path = path or paths.home_folder() / "own-captions.sqlite"
        self._lock = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=60.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS own (content BLOB, kind TEXT, words INTEGER,"
                " PRIMARY KEY (content, kind, words)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{self._path} cannot be opened ({error}). Move it away: it is then made anew.") from None

    def has(self, content: str, kind: str, text: str) -> bool:
        """Whether the assistant wrote this very text for the picture of this content hash (hex)."""
        with self._lock:
            query = "SELECT 1 FROM own WHERE content = ? AND kind = ? AND words = ?"
            return self._database.execute(query, _row(content, kind, text)).fetchone() is not None

    def add(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Note (content hash, kind, text) before the texts are written, so that a kill leaves none unknown."""
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR IGNORE INTO own VALUES (?, ?, ?)", [_row(*row) for row in rows])
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()


def _row(content: str, kind: str, text: str) -> tuple[bytes, str, int]:
    words = xxhash.xxh3_64_intdigest(text.strip().encode())
    return bytes.fromhex(content), kind, words - (1 << 63)  # SQLite's integers have a sign


class Unfinished:
    """The caption files that are being written now; after a kill, what is left of them is cleared away."""

    def __init__(self, path: Path) -> None:
        """Remove what a killed worker left half-written beside the pictures of its last batch."""
        self._path = path
        try:
            named = [Path(line) for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
        except OSError:
            return
        names = {folder: {file.name for file in named if file.parent == folder} for folder in {f.parent for f in named}}
        for folder, wanted in names.items():
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    # atomic.replacing() calls them ".NAME.12345678.part"
                    if entry.name.endswith(".part") and entry.name[1:-14] in wanted:
                        (folder / entry.name).unlink()
        path.unlink(missing_ok=True)

    def note(self, files: Iterable[Path]) -> None:
        """These are written next."""
        text = "\n".join(map(str, files))
        self._path.write_text(text, encoding="utf-8", errors="surrogateescape")


class Replaced:
    """Words of people that a job has overwritten because it was asked to: one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def keep(self, path: Path, text: str) -> None:
        """Put a text away before its file is replaced; OSError when the disk is full."""
        line: dict[str, Any] = {"path": str(path), "text": text}
        with self._lock, self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")
