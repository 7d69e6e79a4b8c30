"""The index: every picture of a dataset, its size, captions and content hash, in SQLite; survives a kill."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from core import paths
from core.data.captions import UNREADABLE, Captions, read_captions
from core.data.headers import content_hash, measure
from core.data.pictures import PictureError, may_pass, reason_of
from core.data.walk import EXTENSIONS, Found, check_folders, count_pictures, walk
from core.errors import UserError

Progress = Callable[[int, int], None]

#: Raised when the tables change; an older index is then made anew.
_VERSION = 1

#: Pictures per transaction: what a killed scan loses at most.
_BATCH = 2_000

#: Files read at once: hides the latency of disks and networks, not the work of the processor.
_THREADS = 4

_TABLES = """
CREATE TABLE IF NOT EXISTS pictures (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    tags TEXT NOT NULL,
    natural TEXT NOT NULL,
    caption_problem TEXT NOT NULL,
    reason TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    stamp TEXT NOT NULL,
    caption_stamp TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS usable ON pictures (path) WHERE reason = '';
CREATE INDEX IF NOT EXISTS unusable ON pictures (path) WHERE reason != '';
"""

_COLUMNS = "id, path, width, height, tags, natural, caption_problem, reason, content_hash"

_STORE = """
INSERT INTO pictures
    (path, width, height, tags, natural, caption_problem, reason, content_hash, stamp, caption_stamp)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET width = excluded.width, height = excluded.height, tags = excluded.tags,
    natural = excluded.natural, caption_problem = excluded.caption_problem, reason = excluded.reason,
    content_hash = excluded.content_hash, stamp = excluded.stamp, caption_stamp = excluded.caption_stamp
"""

_SET_HASH = "UPDATE pictures SET content_hash = ? WHERE id = ?"

_MATCHES = "(path LIKE ? ESCAPE '\\' OR tags LIKE ? ESCAPE '\\' OR natural LIKE ? ESCAPE '\\')"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as the index knows it.

    Attributes:
        width, height: Pixels after EXIF orientation; 0 when broken.
        reason: Why it cannot be used, "" when it can.
        content_hash: xxh3_128 of the file's bytes in hex, "" until hash_missing() has read it.
    """

    id: int
    path: str
    width: int
    height: int
    tags: str
    natural: str
    caption_problem: str
    reason: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found: files new, changed (picture or caption) and gone; and how many are broken now."""

    added: int
    changed: int
    removed: int
    broken: int


def index_path(folders: list[str], cache: Path) -> Path:
    """The index file of a set of folders below the cache folder; their order does not matter."""
    wanted = sorted({str(paths.resolve(folder)) for folder in folders})
    digest = xxhash.xxh3_64_hexdigest("\n".join(wanted).encode("utf-8", "surrogateescape"))
    return cache / "index" / f"{digest}.sqlite"


class Index:
    """One dataset's index. Use it in the thread that made it; several processes may have the same file open.

    A scan writes in transactions: after a kill the file is whole, and the next scan goes on where that one
    was. UserError for a disk that is full or a folder that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the index file (Path(":memory:") for one that is not kept). An index of another
        version, or a file that is no index, is replaced: it holds nothing that a scan does not find again."""
        self._path = path
        self._anchors: dict[str, dict[int, str]] = {}
        self._version = 0
        with self._told():
            if str(path) != ":memory:":
                path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._database = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                for ending in ("", "-wal", "-shm"):
                    path.with_name(path.name + ending).unlink(missing_ok=True)
                self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA cache_size = -64000")
            if database.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                database.execute("DROP TABLE IF EXISTS pictures")
            database.executescript(_TABLES)
            database.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the file; the index cannot be used after it."""
        self._database.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the disk refuses into a sentence for the user."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise UserError(
                f"The index {self._path} cannot be used ({error}). Check that its disk has room and may be "
                "written, or choose another hardware.cache_folder."
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        self._anchors.clear()

    def scan(self, folders: list[Path], progress: Progress | None = None) -> ScanResult:
        """Bring the index up to date with the folders; only files whose size or time changed are read.

        Args:
            progress: Called with (pictures done, pictures in all); may raise to stop, what was done is then
            kept.

        Raises:
            UserError: a folder is missing, no folder or unreadable, or there is no picture in any of them.
        """
        roots = check_folders(folders)
        total = count_pictures(roots)
        if total == 0:
            where = ", ".join(roots)
            kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
            raise UserError(f"There is no picture in {where}. Choose a folder that holds files of {kinds}.")
        highest = self._database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
        seen = bytearray(highest + 1)
        done = added = changed = 0
        with ThreadPoolExecutor(_THREADS) as pool:
            files = walk(roots)
            while batch := list(itertools.islice(files, _BATCH)):
                new, other = self._scan_batch(batch, seen, pool)
                added, changed, done = added + new, changed + other, done + len(batch)
                if progress is not None:
                    progress(done, max(done, total))
        removed = self._remove_unseen(seen)
        return ScanResult(added, changed, removed, self._count("reason != ''"))

    def _scan_batch(self, batch: list[Found], seen: bytearray, pool: ThreadPoolExecutor) -> tuple[int, int]:
        """Read and store what is new or changed; gives (added, changed), marks known pictures in `seen`."""
        marks = ", ".join("?" * len(batch))
        query = f"SELECT {_COLUMNS}, stamp, caption_stamp FROM pictures WHERE path IN ({marks})"
        known = {row[1]: row for row in self._database.execute(query, [found.path for found in batch])}
        work: list[tuple[Found, tuple[Any, ...] | None]] = []
        for found in batch:
            row = known.get(found.path)
            if row is not None and row[0] < len(seen):
                seen[row[0]] = 1
            if row is None or row[-2:] != (found.stamp, found.caption_stamp):
                work.append((found, row))
        rows = list(pool.map(_read, *zip(*work, strict=True))) if work else []
        if rows:
            with self._transaction():
                self._database.executemany(_STORE, rows)
        added = sum(row is None for _, row in work)
        return added, len(work) - added

    def _remove_unseen(self, seen: bytearray) -> int:
        rows = self._database.execute("SELECT id FROM pictures WHERE id < ?", [len(seen)])
        gone = [(number,) for (number,) in rows if not seen[number]]
        if gone:
            with self._transaction():
                self._database.executemany("DELETE FROM pictures WHERE id = ?", gone)
        return len(gone)

    def hash_missing(self, progress: Progress | None = None) -> None:
        """Fill in the content hash of every usable picture that has none; reads those files whole.

        A file that cannot be read any more becomes broken. `progress` as in scan().
        """
        total, done, last = self._count("reason = '' AND content_hash = ''"), 0, 0
        condition = "reason = '' AND content_hash = ''"
        query = f"SELECT id, path FROM pictures WHERE id > ? AND {condition} ORDER BY id LIMIT {_BATCH // 4}"
        with ThreadPoolExecutor(_THREADS) as pool:
            while total and (rows := self._database.execute(query, [last]).fetchall()):
                results = list(pool.map(_hash, [path for _, path in rows]))
                with self._transaction():
                    for (digest, reason), (number, path) in zip(results, rows, strict=True):
                        if reason:
                            self._set_broken(path, reason)
                        else:
                            self._database.execute(_SET_HASH, [digest, number])
                last, done = rows[-1][0], done + len(rows)
                if progress is not None:
                    progress(done, max(done, total))

    def mark_broken(self, path: str, reason: str) -> None:
        """Remember that a picture turned out to be unusable when it was decoded.

        Holds until its file changes; a reason that lies in the disk only until the next scan.
        """
        with self._transaction():
            self._set_broken(path, reason)

    def _set_broken(self, path: str, reason: str) -> None:
        self._database.execute("UPDATE pictures SET reason = ? WHERE path = ?", [reason, path])
        if may_pass(reason):
            self._database.execute("UPDATE pictures SET stamp = '' WHERE path = ?", [path])

    def pictures(self, broken: bool = False) -> Iterator[Picture]:
        """All usable pictures (or all broken ones) in order of path; the index may change meanwhile."""
        condition = "reason != ''" if broken else "reason = ''"
        query = f"SELECT {_COLUMNS} FROM pictures WHERE {condition} AND path > ? ORDER BY path LIMIT {_BATCH}"
        last = ""
        while rows := self._database.execute(query, [last]).fetchall():
            yield from itertools.starmap(Picture, rows)
            last = rows[-1][1]

    def broken(self) -> list[Picture]:
        """The broken pictures with their reasons, in order of path."""
        return list(self.pictures(broken=True))

    def count(self) -> int:
        """How many pictures are usable."""
        return self._count("reason = ''")

    def count_unhashed(self) -> int:
        """How many usable pictures hash_missing() would read."""
        return self._count("reason = '' AND content_hash = ''")

    def count_matching(self, text: str) -> int:
        """How many usable pictures have `text` in their path or captions (any case of ASCII letters)."""
        return self._count(f"reason = '' AND {_MATCHES}", _patterns(text)) if text else self.count()

    def page(self, offset: int, limit: int, text: str = "") -> list[Picture]:
        """Usable pictures number `offset` to `offset + limit` in order of path, of those that match `text`.

        Starts from the nearest page asked for before, so that scrolling does not count from the beginning
        each time.
        """
        version = self._database.execute("PRAGMA data_version").fetchone()[0]  # changes of other processes
        if version != self._version:
            self._version = version
            self._anchors.clear()
        anchors = self._anchors.setdefault(text, {0: ""})
        start = max(place for place in anchors if place <= offset)
        matches = f"AND {_MATCHES}" if text else ""
        query = (
            f"SELECT {_COLUMNS} FROM pictures WHERE reason = '' AND path > ? {matches} ORDER BY path LIMIT ? OFFSET ?"
        )
        values = [anchors[start], *(_patterns(text) if text else []), limit, offset - start]
        rows = self._database.execute(query, values).fetchall()
        if rows:
            anchors[offset + len(rows)] = rows[-1][1]
        return list(itertools.starmap(Picture, rows))

    def _count(self, condition: str, values: Iterable[Any] = ()) -> int:
        row = self._database.execute(f"SELECT count(*) FROM pictures WHERE {condition}", list(values)).fetchone()
        return int(row[0])


def _patterns(text: str) -> list[str]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return [f"%{escaped}%"] * 3


def _read(found: Found, row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The row of one picture, without its id; what did not change is taken over from the old row."""
    if row is not None and row[-2] == found.stamp:
        width, height, reason, digest = row[2], row[3], row[7], row[8]
    else:
        width, height, reason, digest = *_measure(found), ""
    captions = read_captions(Path(found.path)) if found.stamp else Captions("", "")
    text = (captions.tags, captions.natural, captions.problem)
    stamp = "" if may_pass(reason) else found.stamp
    caption_stamp = "?" if UNREADABLE in captions.problem else found.caption_stamp
    return (found.path, width, height, *text, reason, digest, stamp, caption_stamp)


def _measure(found: Found) -> tuple[int, int, str]:
    """(width, height, reason) of one picture file."""
    if found.reason:
        return 0, 0, found.reason
    try:
        return *measure(Path(found.path)), ""
    except PictureError as error:
        return 0, 0, str(error)


def _hash(path: str) -> tuple[str, str]:
    """(content hash, reason) of one picture file."""
    try:
        return content_hash(Path(path)), ""
    except OSError as error:
        return "", reason_of(error, Path(path))
