"""What becomes of pictures that a scan did not meet again: moved ones keep what is known of them, others go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from core.data.index_schema import Store

#: Ids in one question and pictures in one transaction.
_MOST = 900

#: A picture that was not met again and a new one with the same signature and size are one picture that moved. Of
#: several alike, the first by name goes with the first.
_PAIRS = """
CREATE TEMP TABLE moved AS
WITH numbered AS (
    SELECT p.id, gone.id IS NOT NULL AS old, p.signature, p.width, p.height,
        row_number() OVER (
            PARTITION BY p.signature, p.width, p.height, gone.id IS NOT NULL ORDER BY p.name, p.id
        ) AS place
    FROM pictures p LEFT JOIN gone ON gone.id = p.id
    WHERE p.reason = '' AND (p.id > ? OR gone.id IS NOT NULL)
)
SELECT a.id AS old, b.id AS new FROM numbered a JOIN numbered b
    ON a.signature = b.signature AND a.width = b.width AND a.height = b.height AND a.place = b.place
WHERE a.old AND NOT b.old
"""

_TAKE_OVER = """
UPDATE pictures SET directory = ?, name = ?, flags = ?, stamp = ?, caption_stamp = ?, content = coalesce(content, ?),
    phash = coalesce(phash, ?), tokens = iif(?, tokens, ?) WHERE id = ?
"""


def _unseen(seen: bytearray) -> Iterator[list[int]]:
    """Ids that were not met, in lists; some of them may have been free before."""
    gone = np.flatnonzero(np.frombuffer(seen, dtype=np.uint8) == 0)
    gone = gone[gone > 0]
    for start in range(0, len(gone), _MOST):
        yield gone[start : start + _MOST].tolist()


def keep_moved(store: Store, seen: bytearray, floor: int) -> int:
    """Give the rows of moved files their new place; how many these are.

    Args:
        seen: 1 at the ids that were met by the scan; the moved ones are marked in it.
        floor: Rows of a higher id came in this scan, or in earlier ones that were not finished.
    """
    database = store.database
    newest = database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
    if newest <= floor or seen.count(0) <= 1:
        return 0
    with store.told():
        database.execute("DROP TABLE IF EXISTS temp.moved")
        database.execute("DROP TABLE IF EXISTS temp.gone")
        database.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY)")
        for ids in _unseen(seen):
            database.executemany("INSERT INTO gone VALUES (?)", [(number,) for number in ids])
        database.execute(_PAIRS, [floor])
        count = last = 0
        while pairs := database.execute(
            f"SELECT rowid, old, new FROM moved WHERE rowid > ? ORDER BY rowid LIMIT {_MOST}", [last]
        ).fetchall():
            with store.transaction():
                tags: Counter[str] = Counter()
                for _, old, new in pairs:
                    _move(store, old, new, tags)
                    seen[old] = 1
                store.add_tags(tags)
            last, count = pairs[-1][0], count + len(pairs)
        database.execute("DROP TABLE moved")
        database.execute("DROP TABLE gone")
    return count


def _move(store: Store, old: int, new: int, tags: Counter[str]) -> None:
    """Put what is known of `old` into the place of `new`, whose captions it gets."""
    database = store.database
    query = "SELECT directory, name, flags, stamp, caption_stamp, content, phash, tokens FROM pictures WHERE id = ?"
    row = database.execute(query, [new]).fetchone()
    if row is None:
        return
    texts = "SELECT tags, natural FROM captions WHERE id = ?"
    before, after = (database.execute(texts, [number]).fetchone() for number in (old, new))
    tags.update(store.remove_captions([old]))
    database.execute("UPDATE captions SET id = ? WHERE id = ?", [old, new])
    database.execute("DELETE FROM pictures WHERE id = ?", [new])
    database.execute(_TAKE_OVER, [*row[:-1], before == after, row[-1], old])


def forget_gone(store: Store, seen: bytearray) -> int:
    """Remove the pictures that were not met, and folders that hold none any more; how many pictures these were."""
    database = store.database
    removed = 0
    for ids in _unseen(seen):
        marks = ", ".join("?" * len(ids))
        gone = [row[0] for row in database.execute(f"SELECT id FROM pictures WHERE id IN ({marks})", ids)]
        if not gone:
            continue
        with store.transaction():
            store.add_tags(store.remove_captions(gone))
            database.executemany("DELETE FROM pictures WHERE id = ?", [(number,) for number in gone])
        removed += len(gone)
    with store.told():
        database.execute(
            "DELETE FROM directories WHERE NOT EXISTS (SELECT 1 FROM pictures WHERE directory = directories.id)"
        )
    return removed
