"""The index's tables: opened, made anew where they are of another version, written in transactions."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from core.data.caption_files import distinct_tags
from core.errors import UserError

#: Raised when the tables change; an older index is then made anew.
VERSION = 3

#: Small changes that are remembered one by one; more of them are a large one.
_MOST_CHANGES = 100_000

#: All numbers of the pictures are in one table of small rows, which is read whole; texts lie apart. That each
#: (directory, name) comes once is the work of an index of its own, which a first scan makes at its end: kept up to date
#: in between it costs more than all the rest, as names come in no order.
_TABLES = """
CREATE TABLE IF NOT EXISTS directories (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS pictures (
    id INTEGER PRIMARY KEY,
    directory INTEGER NOT NULL,
    name TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    reason TEXT NOT NULL,
    signature BLOB NOT NULL,
    content BLOB,
    phash INTEGER,
    flags INTEGER NOT NULL,
    tokens INTEGER,
    stamp INTEGER,
    caption_stamp INTEGER
);
CREATE INDEX IF NOT EXISTS unusable ON pictures (directory, name) WHERE reason != '';
CREATE TABLE IF NOT EXISTS captions (
    id INTEGER PRIMARY KEY, tags TEXT NOT NULL, natural TEXT NOT NULL, problem TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tags (tag TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
    birth TEXT NOT NULL, structure INTEGER NOT NULL, generation INTEGER NOT NULL, logged INTEGER NOT NULL,
    scan_floor INTEGER
);
CREATE TABLE IF NOT EXISTS changes (generation INTEGER NOT NULL, id INTEGER NOT NULL);
"""

_DROP = "".join(
    f"DROP TABLE IF EXISTS {t};" for t in ("pictures", "directories", "captions", "tags", "state", "changes")
)

_PLACES = "CREATE UNIQUE INDEX IF NOT EXISTS places ON pictures (directory, name)"
_ONCE = "DELETE FROM pictures WHERE id NOT IN (SELECT min(id) FROM pictures GROUP BY directory, name)"

_ADD_TAG = "INSERT INTO tags VALUES (?, ?) ON CONFLICT (tag) DO UPDATE SET count = count + excluded.count"


class Generation(NamedTuple):
    """What names the content of an index: its birth, its last change that was no small one, and the last of all."""

    birth: str
    structure: int
    generation: int

    def __str__(self) -> str:
        return f"{self.birth}-{self.structure}-{self.generation}"


def generation_of(database: sqlite3.Connection) -> Generation:
    """The generation of an open index."""
    return Generation(*database.execute("SELECT birth, structure, generation FROM state").fetchone())


def sentence(path: Path, error: Exception) -> UserError:
    """What the disk's refusal means for the user."""
    return UserError(
        f"The index {path} cannot be used ({error}). Check that its disk has room and may be "
        "written, or choose another hardware.cache_folder."
    )


class Store:
    """The open index file: transactions, and the counters that every change keeps right."""

    def __init__(self, path: Path) -> None:
        """See Index.__init__."""
        self.path = path
        with self.told():
            if not self.in_memory:
                path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.database = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                for ending in ("", "-wal", "-shm"):
                    path.with_name(path.name + ending).unlink(missing_ok=True)
                self.database = self._open()

    @property
    def in_memory(self) -> bool:
        """Whether the index is not kept."""
        return str(self.path) == ":memory:"

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA cache_size = -16000")
            database.execute("PRAGMA temp_store = FILE")
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                self._create(database)
        except BaseException:
            database.close()
            raise
        return database

    def _create(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:  # nobody else was faster
            for statement in (_DROP + _TABLES).split(";"):
                database.execute(statement)
            database.execute("INSERT INTO state VALUES (?, 0, 0, 0, NULL)", [secrets.token_hex(8)])
            database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn what the disk refuses into a sentence for the user."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise sentence(self.path, error) from error

    @contextlib.contextmanager
    def transaction(self, only: Sequence[int] | None = None) -> Iterator[None]:
        """All that is done inside is kept, or nothing; raises the generation.

        Args:
            only: The pictures of which only content, phash, flags or tokens are changed, so that their columns can be
                mended; None for any other change.
        """
        with self.told():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._count_change(only)
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    def _count_change(self, only: Sequence[int] | None) -> None:
        logged = self.database.execute("SELECT logged FROM state").fetchone()[0]
        if only is not None and logged + len(only) <= _MOST_CHANGES:
            self.database.execute("UPDATE state SET generation = generation + 1, logged = logged + ?", [len(only)])
            self.database.executemany(
                "INSERT INTO changes SELECT generation, ? FROM state", [(number,) for number in only]
            )
            return
        self.database.execute("UPDATE state SET generation = generation + 1, structure = generation + 1, logged = 0")
        if logged:
            self.database.execute("DELETE FROM changes")

    def generation(self) -> str:
        """A name for what the index holds now: another one after every change, and in every other index."""
        return str(generation_of(self.database))

    def add_tags(self, differences: Counter[str]) -> None:
        """Count tags up and down; inside a transaction."""
        changes = [(tag, count) for tag, count in differences.items() if count]
        self.database.executemany(_ADD_TAG, changes)
        fewer = [(tag,) for tag, count in changes if count < 0]
        self.database.executemany("DELETE FROM tags WHERE tag = ? AND count <= 0", fewer)

    def tag_texts(self, ids: Iterable[int]) -> Iterator[str]:
        """The tags that are kept of these pictures, without the empty ones."""
        for number in ids:
            row = self.database.execute("SELECT tags FROM captions WHERE id = ?", [number]).fetchone()
            if row is not None and row[0]:
                yield row[0]

    def remove_captions(self, ids: Sequence[int]) -> Counter[str]:
        """Remove the captions of these pictures; what that changes in the counts of tags. Inside a transaction."""
        changes: Counter[str] = Counter()
        for text in self.tag_texts(ids):
            changes.subtract(distinct_tags(text))
        self.database.executemany("DELETE FROM captions WHERE id = ?", [(number,) for number in ids])
        return changes

    def directory(self, path: str) -> int:
        """The number of a directory, which gets one if it has none; inside a transaction."""
        row = self.database.execute("SELECT id FROM directories WHERE path = ?", [path]).fetchone()
        if row is None:
            row = [self.database.execute("INSERT INTO directories (path) VALUES (?)", [path]).lastrowid]
        return int(row[0])

    def has_places(self) -> bool:
        """Whether pictures can be found by directory and name."""
        return self.database.execute("SELECT 1 FROM sqlite_master WHERE name = 'places'").fetchone() is not None

    def make_places(self) -> None:
        """Make pictures findable by directory and name, each once."""
        if self.has_places():
            return
        with self.transaction():
            try:
                self.database.execute(_PLACES)
            except sqlite3.IntegrityError:  # a folder that was changed while it was read may name a file twice
                self.database.execute(_ONCE)
                self.database.execute("DELETE FROM captions WHERE id NOT IN (SELECT id FROM pictures)")
                self.database.execute(_PLACES)

    def drop_places(self) -> None:
        """Do without it for a first scan."""
        with self.transaction():
            self.database.execute("DROP INDEX IF EXISTS places")
