"""The index's scan: streams the folders, has what is new or changed read, and stores it batch by batch."""

# Plain strings and os functions: at millions of files, Path objects cost more time than the disk.

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import filelock

from core.data import caption_files, walk
from core.data.columns import CAPTION_PROBLEM, HAS_ALPHA, HAS_NATURAL, HAS_TAGS, METADATA_ASKED
from core.data.index_hashes import UNSURE, Progress
from core.data.index_moves import forget_gone, keep_moved
from core.data.index_schema import Store
from core.data.readers import Readers
from core.data.reading import Answer, HeadJob, Read, Want
from core.data.reasons import may_pass
from core.data.walk import Directory, Found
from core.errors import UserError

#: Pictures per transaction: what a killed scan loses at most, times the jobs under way.
BATCH = 2_000

#: Names in one question to SQLite.
_MOST = 900

_CAPTION_FLAGS = HAS_TAGS | HAS_NATURAL | CAPTION_PROBLEM | METADATA_ASKED

_ADD = "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, NULL, ?, ?)"
_SET_PICTURE = f"""
UPDATE pictures SET width = ?, height = ?, reason = ?, signature = ?, content = NULL, phash = NULL,
    flags = flags & {_CAPTION_FLAGS} | ?, stamp = ? WHERE id = ?
"""
SET_CAPTION = (
    f"UPDATE pictures SET flags = flags & ~{_CAPTION_FLAGS} | ?, tokens = NULL, caption_stamp = ? WHERE id = ?"
)
ADD_CAPTION = "INSERT OR REPLACE INTO captions VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found: files new, changed (picture or caption), gone and moved; and how many are broken now."""

    added: int
    changed: int
    removed: int
    broken: int
    moved: int = 0


@dataclass(slots=True)
class _Change:
    """A picture that is new or changed; `row` is what is known of it: id, name, stamp, caption_stamp, reason."""

    found: Found
    row: tuple[Any, ...] | None

    @property
    def picture(self) -> bool:
        """Whether the picture file is another one than before."""
        return self.row is None or self.row[2] != self.found.stamp or self.found.reason != ""

    @property
    def captions(self) -> bool:
        """Whether its captions are to be read: they changed, or were not kept as the picture was broken."""
        if self.row is None:
            return True
        if self.row[4]:
            return self.picture
        return bool(self.row[3] != self.found.caption_stamp)


@dataclass(slots=True)
class _Batch:
    """Pictures of one directory on their way into the index."""

    directory: str
    size: int
    changes: list[_Change]
    answer: Future[Answer] | None


class Scan:
    """One scan of some folders into a store."""

    def __init__(self, store: Store, progress: Progress | None, readers: Readers | None = None) -> None:
        self._store = store
        self._database = store.database
        self._progress = progress
        self._readers = readers or Readers()
        self._total = self._done = self._added = self._changed = 0
        self._fresh = False
        self._seen = bytearray()
        self._waiting: deque[_Batch] = deque()

    def run(self, roots: Sequence[str]) -> ScanResult:
        """Bring the store up to date; see Index.scan."""
        found = list(walk.directories(roots))
        self._total = sum(directory.pictures + bool(directory.reason) for directory in found)
        if self._total == 0:
            kinds = ", ".join(sorted(extension[1:] for extension in walk.EXTENSIONS))
            raise UserError(f"There is no picture in {', '.join(roots)}. Choose a folder that holds files of {kinds}.")
        with self._alone():
            floor = self._begin()
            with self._readers:
                for directory in found:
                    for batch in self._batches(directory):
                        self._take(*batch)
                while self._waiting:
                    self._store_batch(self._waiting.popleft())
            self._store.make_places()
            moved = keep_moved(self._store, self._seen, floor)
            removed = forget_gone(self._store, self._seen)
            with self._store.told():
                self._database.execute("UPDATE state SET scan_floor = NULL")
        broken = self._database.execute("SELECT count(*) FROM pictures WHERE reason != ''").fetchone()[0]
        return ScanResult(self._added - moved, self._changed, removed, broken, moved)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One scan of an index at a time: another process's is waited for, which leaves little to do."""
        if self._store.in_memory:
            yield
            return
        lock = filelock.FileLock(self._store.path.with_name(self._store.path.name + ".lock"))
        while True:
            with self._store.told(), contextlib.suppress(filelock.Timeout):
                lock.acquire(timeout=0.2)
                break
            self._tell()
        try:
            yield
        finally:
            lock.release()

    def _begin(self) -> int:
        """Get ready; gives the highest id of the last scan that was finished."""
        highest = self._database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
        self._seen = bytearray(highest + 1)
        self._fresh = highest == 0
        if self._fresh:
            self._store.drop_places()
        else:
            self._store.make_places()
        with self._store.told():
            self._database.execute("UPDATE state SET scan_floor = coalesce(scan_floor, ?)", [highest])
        return int(self._database.execute("SELECT scan_floor FROM state").fetchone()[0])

    def _batches(self, directory: Directory) -> Iterator[tuple[str, list[Found]]]:
        """(directory, pictures in it) in batches; a folder that cannot be opened stands as a picture in its parent."""
        reason = directory.reason
        if directory.pictures:
            try:
                for found in walk.pictures(directory, BATCH):
                    yield directory.path, found
            except OSError as error:
                reason = walk.cannot_open(error, directory.archive)
        if reason:
            parent, name = os.path.split(directory.path)
            yield parent, [Found(walk.printable(name), None, 0, (), reason)]

    def _take(self, directory: str, batch: list[Found]) -> None:
        """Send what is new or changed in a batch to be read, and store what is ready."""
        known = {} if self._fresh else self._known(directory, batch)
        changes = []
        for found in batch:
            row = known.get(found.name)
            if row is not None:
                if row[0] < len(self._seen):
                    self._seen[row[0]] = 1
                same = row[2] == found.stamp and row[3] == found.caption_stamp
                if same and (not found.reason or found.reason == row[4]):
                    continue
            changes.append(_Change(found, row))
        if not changes:
            self._count(len(batch))
            return
        wants = [
            Want(change.found.name, change.picture, change.found.captions if change.captions else ())
            for change in changes
            if not change.found.reason
        ]
        answer = self._readers.submit(HeadJob(directory, wants)) if wants else None
        self._waiting.append(_Batch(directory, len(batch), changes, answer))
        while len(self._waiting) > self._readers.room or (self._waiting and _is_ready(self._waiting[0])):
            self._store_batch(self._waiting.popleft())

    def _known(self, directory: str, batch: list[Found]) -> dict[str, tuple[Any, ...]]:
        """What the index holds of these pictures: id, name, stamp, caption_stamp, reason by name."""
        path = walk.printable(directory)
        place = self._database.execute("SELECT id FROM directories WHERE path = ?", [path]).fetchone()
        if place is None:
            return {}
        known = {}
        for start in range(0, len(batch), _MOST):
            names = [found.name for found in batch[start : start + _MOST]]
            marks = ", ".join("?" * len(names))
            query = "SELECT id, name, stamp, caption_stamp, reason FROM pictures WHERE directory = ? AND name IN"
            for row in self._database.execute(f"{query} ({marks})", [place[0], *names]):
                known[row[1]] = row
        return known

    def _store_batch(self, batch: _Batch) -> None:
        """Write a batch into the index as soon as it is read."""
        answer = batch.answer.result() if batch.answer else Answer([])
        reads = iter(answer.reads)
        pairs = [(c, Read(reason=c.found.reason) if c.found.reason else next(reads)) for c in batch.changes]
        with self._store.transaction():
            writer = _Writer(self._store, walk.printable(batch.directory))
            for change, read in pairs:
                writer.add(change, read)
            writer.write(answer.tags)
        added = sum(change.row is None for change in batch.changes)
        self._added += added
        self._changed += len(batch.changes) - added
        self._count(batch.size)

    def _count(self, pictures: int) -> None:
        self._done += pictures
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))


def _is_ready(batch: _Batch) -> bool:
    return batch.answer is None or batch.answer.done()


class _Writer:
    """Collects the rows of a batch and writes them; inside a transaction."""

    def __init__(self, store: Store, directory: str) -> None:
        self._store = store
        self._directory = store.directory(directory)
        highest = store.database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
        self._next = highest + 1
        self._new: list[tuple[Any, ...]] = []
        self._pictures: list[tuple[Any, ...]] = []
        self._captions: list[tuple[Any, ...]] = []
        self._texts: list[tuple[int, str, str, str]] = []
        self._stale: list[int] = []

    def add(self, change: _Change, read: Read) -> None:
        """Take one picture in."""
        found, row = change.found, change.row
        stamp = UNSURE if may_pass(read.reason) and found.stamp is not None else found.stamp
        caption_stamp = UNSURE if caption_files.UNREADABLE in read.problem else found.caption_stamp
        alpha = HAS_ALPHA if read.alpha else 0
        flags = caption_flags(read.tags, read.natural, read.problem)
        if row is None:
            number, self._next = self._next, self._next + 1
            size = (read.width, read.height, read.reason, read.signature)
            self._new.append((number, self._directory, found.name, *size, flags | alpha, stamp, caption_stamp))
        else:
            number = row[0]
            if change.picture:
                rest = (read.reason, read.signature, alpha, stamp)
                self._pictures.append((read.width, read.height, *rest, number))
            if change.captions or read.reason:
                self._captions.append((flags, caption_stamp, number))
                self._stale.append(number)
            elif row[3] != caption_stamp:  # a broken picture's captions are not kept
                self._captions.append((0, caption_stamp, number))
        if flags:
            self._texts.append((number, read.tags, read.natural, read.problem))

    def write(self, tags: Counter[str]) -> None:
        """Write all; `tags` are those of the captions read."""
        database = self._store.database
        if self._stale:
            tags.update(self._store.remove_captions(self._stale))
        database.executemany(_ADD, self._new)
        database.executemany(_SET_PICTURE, self._pictures)
        database.executemany(SET_CAPTION, self._captions)
        database.executemany(ADD_CAPTION, self._texts)
        self._store.add_tags(tags)


def caption_flags(tags: str, natural: str, problem: str) -> int:
    """The flags of a picture's captions."""
    return HAS_TAGS * bool(tags) | HAS_NATURAL * bool(natural) | CAPTION_PROBLEM * bool(problem)
