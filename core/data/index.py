"""The index: every picture of a dataset, its size, captions and content hash, in SQLite; survives a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from core import paths
from core.data import index_hashes as hashes
from core.data import index_query as query
from core.data import walk
from core.data.caption_files import distinct_tags
from core.data.caption_reading import read_settled
from core.data.captions import Captions
from core.data.columns import Columns, columns_of
from core.data.index_hashes import Progress as Progress
from core.data.index_query import Picture as Picture
from core.data.index_scan import ADD_CAPTION, SET_CAPTION, Scan, caption_flags
from core.data.index_scan import ScanResult as ScanResult
from core.data.index_schema import Store

#: Pictures looked up at once.
_BATCH = 500


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
        self._store = Store(path)
        self._database = self._store.database
        self._columns: tuple[str, Columns] | None = None

    @property
    def store(self) -> Store:
        """The open file, for what changes the index from a file of its own (metadata_captions)."""
        return self._store

    def close(self) -> None:
        """Close the file; the index cannot be used after it."""
        self._database.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scan(self, folders: list[Path], progress: Progress | None = None) -> ScanResult:
        """Bring the index up to date with the folders; only files whose size or time changed are read.

        A file under a new path that has the signature and size of one that is gone keeps its id and what was learned
        of it. Another scan of the same index is waited for.

        Args:
            progress: Called with (pictures done, pictures in all); may raise to stop, what was done is then
            kept.

        Raises:
            UserError: a folder is missing, no folder or unreadable, or there is no picture in any of them.
        """
        return Scan(self._store, progress).run(walk.check_folders(folders))

    def columns(self) -> Columns:
        """The numbers of all usable pictures, mapped from files; made anew only when something changed since."""
        with self._store.told():
            generation = self._store.generation()
            if self._columns is None or self._columns[0] != generation:
                folder = None if self._store.in_memory else self._store.path.with_suffix(".columns")
                self._columns = columns_of(self._database, folder)
        return self._columns[1]

    def by_ids(self, ids: Sequence[int] | NDArray[np.int64]) -> list[Picture]:
        """The pictures of these ids, in this order; ids that there are not are left out."""
        return query.by_ids(self._database, ids)

    def captions_of(self, ids: Sequence[int] | NDArray[np.int64]) -> list[Captions]:
        """The captions of these pictures, in this order; empty ones for pictures without and for unknown ids."""
        return query.captions_of(self._database, ids)

    def present_captions(self, ids: Sequence[int] | NDArray[np.int64]) -> list[Captions]:
        """The captions of these pictures as their files are now, whatever the last scan saw; see read_settled()."""
        found = query.caption_facts(self._database, ids)
        return [Captions("", "") if facts is None else read_settled(*facts) for facts in found]

    def search(self, text: str, stop: Callable[[], bool] | None = None) -> Iterator[NDArray[np.int64]]:
        """Ids of the usable pictures with `text` in path or captions (any case of ASCII letters), in order of id.

        They come in parts as they are found, the first at once; ends early when `stop()` is true.
        """
        return query.search(self._database, text, stop)

    def tag_counts(self, top: int | None = 100, like: str = "") -> dict[str, int]:
        """The most frequent tags that contain `like`: in how many usable pictures each stands, most frequent first."""
        return query.tag_counts(self._database, top, like)

    def learned(self, rows: Iterable[tuple[int, str, int | None]]) -> None:
        """Keep what decoding found: (id, content hash in hex, perceptual hash of 64 bits or None for unknown)."""
        hashes.learned(self._store, [(number, bytes.fromhex(content), phash) for number, content, phash in rows])

    def set_tokens(self, rows: Iterable[tuple[int, int]]) -> None:
        """Keep (id, token count of the longest caption); forgotten when the captions change."""
        values = [(tokens, number) for number, tokens in rows]
        with self._store.transaction([number for _, number in values]):
            self._database.executemany("UPDATE pictures SET tokens = ? WHERE id = ?", values)

    def set_captions(self, number: int, tags: str, natural: str) -> None:
        """Take over captions that were just written into the files of a picture, so that no scan is needed."""
        found = self.by_ids([number])
        if not found or found[0].reason:
            return
        stamp = walk.caption_stamp(found[0].path)
        with self._store.transaction([number]):
            counts = self._store.remove_captions([number])
            if tags or natural:
                self._database.execute(ADD_CAPTION, [number, tags, natural, ""])
            self._database.execute(SET_CAPTION, [caption_flags(tags, natural, ""), stamp, number])
            counts.update(distinct_tags(tags))
            self._store.add_tags(counts)

    def hash_missing(self, progress: Progress | None = None) -> None:
        """Fill in the content hash of every usable picture that has none; reads those files whole.

        A file that cannot be read any more becomes broken. `progress` as in scan().
        """
        hashes.hash_missing(self._store, progress)

    def find_phashes(self, progress: Progress | None = None) -> None:
        """Fill in the perceptual hash of every usable picture that has none, and its content hash, as it is read whole.

        Near duplicates can be found then. Decodes small versions of the pictures, in processes of its own where these
        are many. A picture that cannot be decoded becomes broken. `progress` as in scan().
        """
        hashes.find_phashes(self._store, progress)

    def mark_broken(self, path: str, reason: str) -> None:
        """Remember that a picture turned out to be unusable when it was decoded.

        Holds until its file changes; a reason that lies in the disk only until the next scan.
        """
        number = query.id_of(self._database, path)
        if number is not None:
            with self._store.transaction():
                hashes.set_broken(self._store, number, reason)

    def pictures(self, broken: bool = False) -> Iterator[Picture]:
        """All usable pictures (or all broken ones) folder by folder in order of path, in a folder by name.

        The index may change meanwhile; what is removed then is passed over.
        """
        ids = query.ids_by_name(self._database, "p.reason != ''" if broken else "p.reason = ''")
        for start in range(0, len(ids), _BATCH):
            yield from self.by_ids(ids[start : start + _BATCH])

    def broken(self) -> list[Picture]:
        """The broken pictures with their reasons, in order of path."""
        return list(self.pictures(broken=True))

    def count(self) -> int:
        """How many pictures are usable."""
        return self._count("1") - self._count("reason != ''")

    def count_unhashed(self) -> int:
        """How many usable pictures hash_missing() would read."""
        return self._count(hashes.UNHASHED)

    def _count(self, condition: str, values: Iterable[Any] = ()) -> int:
        row = self._database.execute(f"SELECT count(*) FROM pictures WHERE {condition}", list(values)).fetchone()
        return int(row[0])
