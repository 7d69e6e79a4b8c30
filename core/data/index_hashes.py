"""Fills in what the index can only learn by reading pictures whole: content hashes and perceptual hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xxhash

from core.data import index_query as query
from core.data import source
from core.data.columns import HAS_ALPHA
from core.data.headers import content_hash
from core.data.index_query import Picture
from core.data.index_schema import Store
from core.data.readers import Readers
from core.data.reading import LookJob
from core.data.reasons import may_pass, reason_of

Progress = Callable[[int, int], None]

#: The stamp of a file that the next scan reads again: no file has it.
UNSURE = -1

#: Pictures per transaction.
_BATCH = 500
_LOOKS = 100

#: Files hashed at once: hides the latency of disks and networks.
_THREADS = 4

UNHASHED = "reason = '' AND content IS NULL"
_UNSEEN = "reason = '' AND phash IS NULL"


def hash_missing(store: Store, progress: Progress | None) -> None:
    """See Index.hash_missing."""
    told = _Told(store, UNHASHED, progress)
    with ThreadPoolExecutor(_THREADS) as pool:
        for pictures in _lacking(store, UNHASHED, _BATCH):
            _take_in(store, pictures, pool.map(_hash, [picture.path for picture in pictures]))
            told.more(len(pictures))


def _hash(path: str) -> tuple[bytes, int | None, str]:
    """(content hash, nothing, reason) of one picture file."""
    try:
        if source.split(path) is None:
            return bytes.fromhex(content_hash(Path(path))), None, ""
        return xxhash.xxh3_128_digest(source.read_bytes(path)), None, ""
    except (OSError, ValueError) as error:
        return b"", None, reason_of(error)


def find_phashes(store: Store, progress: Progress | None) -> None:
    """See Index.find_phashes."""
    told = _Told(store, _UNSEEN, progress)
    lacking = _lacking(store, _UNSEEN, _LOOKS)
    with Readers(alone=_LOOKS) as readers:
        jobs = ((pictures, LookJob([picture.path for picture in pictures])) for pictures in lacking)
        for pictures, answers in readers.in_order(jobs):
            _take_in(store, pictures, answers)
            told.more(len(pictures))


def _take_in(store: Store, pictures: list[Picture], answers: Iterable[tuple[bytes, int | None, str]]) -> None:
    """Keep (content hash, perceptual hash, reason) of some pictures; those with a reason become broken."""
    pairs = list(zip(pictures, answers, strict=True))
    rows = [(picture.id, content, phash) for picture, (content, phash, reason) in pairs if not reason]
    broken = [(picture.id, reason) for picture, (_, _, reason) in pairs if reason]
    with store.transaction(None if broken else [number for number, _, _ in rows]):
        _keep(store, rows)
        for number, reason in broken:
            set_broken(store, number, reason)


def learned(store: Store, rows: Sequence[tuple[int, bytes, int | None]]) -> None:
    """Keep (id, content hash, perceptual hash or None for unknown); the columns can be mended by it."""
    with store.transaction([number for number, _, _ in rows]):
        _keep(store, rows)


def _keep(store: Store, rows: Sequence[tuple[int, bytes, int | None]]) -> None:
    store.database.executemany(
        "UPDATE pictures SET content = ?, phash = coalesce(?, phash) WHERE id = ? AND reason = ''",
        [(content, None if phash is None else signed(phash), number) for number, content, phash in rows],
    )


def signed(value: int) -> int:
    """64 bits as SQLite's signed integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


def set_broken(store: Store, number: int, reason: str) -> None:
    """Call a picture broken; its captions are not kept. Inside a transaction."""
    store.add_tags(store.remove_captions([number]))
    store.database.execute(
        f"UPDATE pictures SET reason = ?, flags = flags & {HAS_ALPHA}, tokens = NULL WHERE id = ?", [reason, number]
    )
    if may_pass(reason):
        store.database.execute("UPDATE pictures SET stamp = ? WHERE id = ?", [UNSURE, number])


def _lacking(store: Store, condition: str, most: int) -> Iterator[list[Picture]]:
    """The pictures for which the condition holds, in order of id."""
    last = 0
    wanted = f"SELECT id FROM pictures WHERE id > ? AND {condition} ORDER BY id LIMIT {most}"
    while ids := [row[0] for row in store.database.execute(wanted, [last])]:
        yield query.by_ids(store.database, ids)
        last = ids[-1]


class _Told:
    """Counts for a progress function."""

    def __init__(self, store: Store, condition: str, progress: Progress | None) -> None:
        self._progress = progress
        self._done = 0
        self._total = store.database.execute(f"SELECT count(*) FROM pictures WHERE {condition}").fetchone()[0]

    def more(self, pictures: int) -> None:
        """So many are done."""
        self._done += pictures
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))
