"""Captions from metadata files for the pictures of an index that have no caption file of their own."""

from __future__ import annotations

import itertools
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from core import paths
from core.data import kohya_meta
from core.data.caption_files import distinct_tags
from core.data.columns import HAS_NATURAL, HAS_TAGS, METADATA_ASKED
from core.data.index import Index
from core.data.index_schema import Store
from core.data.kohya_meta import Entry
from core.data.walk import EXTENSIONS
from core.errors import UserError
from core.settings.data import DataSettings

#: Entries that are looked up and stored together.
_BATCH = 20_000

#: Pictures whose flags are changed in one transaction.
_RANGE = 100_000

#: Names of pictures that are told.
_EXAMPLES = 5

_TABLE = "CREATE TABLE IF NOT EXISTS metadata (number INTEGER PRIMARY KEY, path TEXT NOT NULL, stamp TEXT NOT NULL)"

#: Pictures that have no caption file; what text they have is from metadata.
_OURS = "reason = '' AND caption_stamp = 0"


@dataclass(slots=True)
class MetadataResult:
    """What came of the metadata files.

    Attributes:
        entries: Entries read; 0 where nothing was to be done.
        applied: Entries whose text some picture has now.
        own: Entries of pictures that have caption files of their own, which count more.
        unknown: Entries of pictures that are not in the index.
        ambiguous: Entries by a name that several pictures in different folders have; none of them got the text.
        examples: Keys of some of the ambiguous ones.
    """

    entries: int = 0
    applied: int = 0
    own: int = 0
    unknown: int = 0
    ambiguous: int = 0
    examples: list[str] = field(default_factory=list)


def apply_metadata(
    index: Index, files: Sequence[Path], progress: Callable[[int, int], None] | None = None
) -> MetadataResult:
    """Give the pictures without caption files the captions and tags that metadata files hold for them.

    To be called after each scan. The files are read only when one of them changed, or when there are pictures for which
    they were not asked yet. What they gave before and do not hold any more is taken away; without files, all of it. A
    later file adds to an earlier one and replaces what both hold. After a kill the next call does it all again.

    A key is compared with a picture's path without the extension (a relative one from the metadata's folder), then with
    the last folder and the name, then with the name alone.

    Args:
        progress: Called with (entries read, pictures to be served); may raise to stop.

    Raises:
        UserError: a file is missing or damaged; what came before that place is applied.
    """
    store = index.store
    stamps = [(number, str(path), _stamp(path)) for number, path in enumerate(files)]
    with store.told():
        store.database.execute(_TABLE)
        if store.database.execute("SELECT number, path, stamp FROM metadata ORDER BY number").fetchall() != stamps:
            _forget(store)
            with store.transaction():
                store.database.execute("DELETE FROM metadata")
                store.database.executemany("INSERT INTO metadata VALUES (?, ?, ?)", stamps)
    unasked = f"SELECT count(*) FROM pictures WHERE {_OURS} AND flags & {METADATA_ASKED} = 0"
    todo = store.database.execute(unasked).fetchone()[0] if files else 0
    result = MetadataResult()
    if todo:
        names = _Names(store)
        for path in files:
            rows = kohya_meta.read(path)
            while batch := list(itertools.islice(rows, _BATCH)):
                _take(store, names, path, batch, result)
                if progress is not None:
                    progress(result.entries, max(todo, result.entries))
        _change_flags(store, f"flags = flags | {METADATA_ASKED}")
    return result


def apply_settings(index: Index, data: DataSettings, progress: Callable[[int, int], None] | None = None) -> str:
    """apply_metadata() with the files of data.metadata; what is to be told of it, "" when all is well."""
    return told(apply_metadata(index, [paths.resolve(file) for file in data.metadata], progress))


def told(result: MetadataResult) -> str:
    """The sentence on entries that were not used because several pictures have their name; "" where there are none."""
    if not result.ambiguous:
        return ""
    some = ", ".join(result.examples)
    return (
        f"{result.ambiguous:,} entries of the metadata name several pictures and were not used, for instance {some}. "
        "Use paths as keys."
    )


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(
            f"The metadata {path} cannot be read ({error.strerror or error}). Check data.metadata."
        ) from error
    return f"{status.st_size}:{status.st_mtime_ns}"


def _forget(store: Store) -> None:
    """Take all texts away that came from metadata."""
    query = f"SELECT id FROM pictures WHERE {_OURS} AND flags & {HAS_TAGS | HAS_NATURAL} AND id > ? ORDER BY id LIMIT ?"
    last = 0
    while ids := [row[0] for row in store.database.execute(query, [last, _BATCH])]:
        with store.transaction():
            store.add_tags(store.remove_captions(ids))
            store.database.executemany(
                f"UPDATE pictures SET flags = flags & ~{HAS_TAGS | HAS_NATURAL}, tokens = NULL WHERE id = ?",
                [(number,) for number in ids],
            )
        last = ids[-1]
    _change_flags(store, f"flags = flags & ~{METADATA_ASKED}")


def _change_flags(store: Store, change: str) -> None:
    highest = store.database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
    for start in range(0, highest + 1, _RANGE):
        with store.transaction():
            store.database.execute(
                f"UPDATE pictures SET {change} WHERE {_OURS} AND id >= ? AND id < ?", [start, start + _RANGE]
            )


def _take(store: Store, names: _Names, file: Path, batch: list[Entry], result: MetadataResult) -> None:
    """Look a batch of entries up and store their texts."""
    rows: dict[int, tuple[str, str]] = {}
    folder = str(file.absolute().parent)
    for entry, found in zip(batch, names.find([_forms(entry.key, folder) for entry in batch]), strict=True):
        result.entries += 1
        if found is None:
            result.ambiguous += 1
            if len(result.examples) < _EXAMPLES:
                result.examples.append(entry.key)
            continue
        ours = [number for number in found if names.is_ours(number)]
        result.unknown += not found
        result.own += bool(found) and not ours
        if entry.tags or entry.caption:
            result.applied += bool(ours)
            for number in ours:
                before = rows.get(number, ("", ""))
                rows[number] = entry.tags or before[0], entry.caption or before[1]
    if rows:
        with store.transaction():
            _store(store, rows)


def _store(store: Store, rows: dict[int, tuple[str, str]]) -> None:
    """Store (tags, natural) of pictures; an empty one of them leaves what is there. Inside a transaction."""
    before = {}
    for number in rows:
        found = store.database.execute("SELECT tags, natural FROM captions WHERE id = ?", [number]).fetchone()
        if found is not None:
            before[number] = found
    texts = []
    for number, (tags, natural) in rows.items():
        older = before.get(number, ("", ""))
        texts.append((number, tags or older[0], natural or older[1], ""))
    counts: Counter[str] = store.remove_captions(list(before))
    store.database.executemany("INSERT INTO captions VALUES (?, ?, ?, ?)", texts)
    flags = [(HAS_TAGS * bool(row[1]) | HAS_NATURAL * bool(row[2]), row[0]) for row in texts]
    store.database.executemany("UPDATE pictures SET flags = flags | ?, tokens = NULL WHERE id = ?", flags)
    for row in texts:
        counts.update(distinct_tags(row[1]))
    store.add_tags(counts)


def _forms(key: str, folder: str) -> tuple[str, str, str]:
    """A key as whole path, as last folder and name, and as name, all without the picture's extension.

    Args:
        folder: Where a relative key starts.
    """
    key = key.replace("\\", "/")
    stem, suffix = os.path.splitext(key)  # noqa: PTH122
    key = stem if suffix.lower() in EXTENSIONS else key
    whole = os.path.normpath(os.path.join(folder, key)).replace("\\", "/")  # noqa: PTH118
    parts = key.rsplit("/", 2)
    return whole, "/".join(parts[-2:]) if len(parts) > 1 and parts[-2] else "", parts[-1]


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


class _Names:
    """The names of all usable pictures as sorted hashes: 45 bytes a picture, half a gigabyte for twelve million."""

    def __init__(self, store: Store) -> None:
        folders = {
            number: path.replace("\\", "/") if os.sep == "\\" else path
            for number, path in store.database.execute("SELECT id, path FROM directories")
        }
        ids, ours = array("q"), array("b")
        hashes = array("Q"), array("Q"), array("Q")
        query = f"SELECT id, directory, name, {_OURS} FROM pictures WHERE reason = '' ORDER BY id"
        for number, directory, name, is_ours in store.database.execute(query):
            whole = f"{folders[directory]}/{os.path.splitext(name)[0]}"  # noqa: PTH122
            parts = whole.rsplit("/", 2)
            for column, text in zip(hashes, (whole, "/".join(parts[-2:]), parts[-1]), strict=True):
                column.append(_hash(text))
            ids.append(number)
            ours.append(is_ours)
        self._ids: NDArray[np.int64] = np.frombuffer(ids, np.int64) if ids else np.empty(0, np.int64)
        self._ours = ours
        self._whole: NDArray[np.uint64] = np.array(hashes[0], np.uint64)
        self._forms = [_Sorted(np.array(column, np.uint64)) for column in hashes]

    def is_ours(self, number: int) -> bool:
        """Whether a picture has no caption file of its own."""
        return bool(self._ours[int(np.searchsorted(self._ids, number))])

    def find(self, forms: Sequence[tuple[str, str, str]]) -> Iterator[list[int] | None]:
        """The ids of the pictures that each key means, none or (of one name in one folder) several; None: ambiguous."""
        levels = []
        for level, sorted_hashes in enumerate(self._forms):
            wanted = np.array([_hash(form[level]) for form in forms], np.uint64)
            levels.append(sorted_hashes.ranges(wanted))
        for place, form in enumerate(forms):
            for level, (low, high) in enumerate(levels):
                if form[level] and low[place] < high[place]:
                    rows = self._forms[level].rows(int(low[place]), int(high[place]))
                    same = len(rows) == 1 or bool((self._whole[rows] == self._whole[rows[0]]).all())
                    yield self._ids[rows].tolist() if same else None
                    break
            else:
                yield []


class _Sorted:
    """Hashes in order, with the rows that they came from."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._order]

    def ranges(self, wanted: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Between which places each wanted hash stands; two equal ones where it does not."""
        return np.searchsorted(self._hashes, wanted, "left"), np.searchsorted(self._hashes, wanted, "right")

    def rows(self, low: int, high: int) -> NDArray[np.int32]:
        """The rows of some places."""
        return self._order[low:high]
