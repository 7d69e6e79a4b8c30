"""Questions to the index: pictures by id, pages, searches, tags; all of them read only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.captions import Captions

#: Ids in one question: SQLite takes at least this many parameters.
_MOST = 900

#: Ids that a search looks at first, and at most, before it hands out what it found.
_FIRST_LOOK = 2_000
_LARGEST_LOOK = 256_000

COLUMNS = "p.id, d.path, p.name, p.width, p.height, c.tags, c.natural, c.problem, p.reason, p.content, p.signature"
TABLES = "pictures p JOIN directories d ON d.id = p.directory LEFT JOIN captions c ON c.id = p.id"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as the index knows it.

    Attributes:
        width, height: Pixels after EXIF orientation; 0 when broken.
        tags, natural, caption_problem: See captions.Captions; "" for a broken picture.
        reason: Why it cannot be used, "" when it can.
        content_hash: xxh3_128 of the file's bytes in hex, "" until it was read whole.
        signature: What stands for the content before that (headers.Header), in hex, "" when broken.
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
    signature: str = ""


def picture_of(row: Sequence[Any]) -> Picture:
    """A row of COLUMNS."""
    number, folder, name, width, height, tags, natural, problem, reason, content, signature = row
    path = os.path.join(folder, name)  # noqa: PTH118
    texts = (tags or "", natural or "", problem or "")
    return Picture(number, path, width, height, *texts, reason, (content or b"").hex(), signature.hex())


def by_ids(database: sqlite3.Connection, ids: Iterable[int]) -> list[Picture]:
    """The pictures of these ids, in this order; ids that there are not are left out."""
    found = _rows(database, f"SELECT {COLUMNS} FROM {TABLES} WHERE p.id", ids)
    return [picture_of(row) for row in found if row is not None]


def captions_of(database: sqlite3.Connection, ids: Iterable[int]) -> list[Captions]:
    """The captions of these ids, in this order; empty ones for ids without."""
    found = _rows(database, "SELECT id, tags, natural, problem FROM captions WHERE id", ids)
    return [Captions("", "") if row is None else Captions(*row[1:]) for row in found]


def caption_facts(database: sqlite3.Connection, ids: Iterable[int]) -> list[tuple[str, int, Captions] | None]:
    """(path of the picture, stamp of its caption files, captions) of these ids, in this order; None for unknown ids."""
    columns = "p.id, d.path, p.name, p.caption_stamp, c.tags, c.natural, c.problem"
    return [
        None
        if row is None
        else (os.path.join(row[1], row[2]), row[3], Captions(row[4] or "", row[5] or "", row[6] or ""))  # noqa: PTH118
        for row in _rows(database, f"SELECT {columns} FROM {TABLES} WHERE p.id", ids)
    ]


def _rows(database: sqlite3.Connection, query: str, ids: Iterable[int]) -> Iterator[tuple[Any, ...] | None]:
    wanted = [int(number) for number in ids]
    for start in range(0, len(wanted), _MOST):
        part = wanted[start : start + _MOST]
        rows = database.execute(f"{query} IN ({', '.join('?' * len(part))})", part)
        found = {row[0]: row for row in rows}
        yield from (found.get(number) for number in part)


def id_of(database: sqlite3.Connection, path: str) -> int | None:
    """The id of a picture by its path; None when it is not in the index."""
    place = len(path)
    while (place := path.rfind(os.sep, 0, place)) >= 0:  # a picture in an archive may have folders in its name
        row = database.execute(
            "SELECT p.id FROM pictures p JOIN directories d ON d.id = p.directory WHERE d.path = ? AND p.name = ?",
            [path[:place] or os.sep, path[place + 1 :]],
        ).fetchone()
        if row is not None:
            return int(row[0])
    return None


def ids_by_name(database: sqlite3.Connection, where: str) -> NDArray[np.int64]:
    """Ids of the pictures for which `where` holds, folder by folder in order of path, in it in order of name."""
    query = f"SELECT p.id FROM {TABLES} WHERE {where} ORDER BY d.path, p.name"
    return np.fromiter((row[0] for row in database.execute(query)), dtype=np.int64)


def matching(text: str) -> tuple[str, list[str]]:
    """A condition on TABLES and its values: `text` stands in the path or the captions (any case of ASCII letters)."""
    if not text:
        return "1", []
    pattern = _pattern(text)
    if "/" in text or os.sep in text:
        path, values = f"d.path || '{os.sep}' || p.name LIKE ? ESCAPE '\\'", [pattern]
    else:
        folders = "SELECT id FROM directories WHERE path LIKE ? ESCAPE '\\'"
        path, values = f"p.name LIKE ? ESCAPE '\\' OR p.directory IN ({folders})", [pattern] * 2
    return f"({path} OR c.tags LIKE ? ESCAPE '\\' OR c.natural LIKE ? ESCAPE '\\')", values + [pattern] * 2


def search(
    database: sqlite3.Connection, text: str, stop: Callable[[], bool] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Ids of the usable pictures that match `text`, in order of id, in parts as they are found.

    The first part comes at once, later ones cover more and more pictures; some may be empty. Ends early when `stop()`
    is true.
    """
    condition, values = matching(text)
    query = f"SELECT p.id FROM {TABLES} WHERE p.id > ? AND p.id <= ? AND p.reason = '' AND {condition}"
    highest = database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
    last, step = 0, _FIRST_LOOK
    while last < highest and not (stop is not None and stop()):
        rows = database.execute(f"{query} ORDER BY p.id", [last, last + step, *values])
        yield np.fromiter((row[0] for row in rows), dtype=np.int64)
        last, step = last + step, min(step * 2, _LARGEST_LOOK)


def tag_counts(database: sqlite3.Connection, top: int | None, like: str) -> dict[str, int]:
    """The `top` most frequent tags that contain `like` and in how many pictures they stand, equals by alphabet."""
    condition = "WHERE tag LIKE ? ESCAPE '\\'" if like else ""
    query = f"SELECT tag, count FROM tags {condition} ORDER BY count DESC, tag LIMIT ?"
    return dict(database.execute(query, [*([_pattern(like)] if like else []), -1 if top is None else top]))


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
