"""Export: an index as kohya's metadata, JSON or JSONL, with the bucket of every picture (meta_lat.json)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xxhash

from core.data import kohya_meta
from core.data.buckets import plan_fits
from core.data.index import Index
from core.data.kohya_meta import Entry
from core.errors import UserError
from core.settings import Settings

#: Pictures fetched at once.
_BATCH = 2_000


def export_metadata(
    index: Index,
    settings: Settings,
    path: Path,
    stems: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write captions, tags, size and bucket of all usable pictures, in order of path; gives how many.

    Args:
        settings: Their data page decides the buckets, as for a training.
        stems: Keys are names without the extension instead of paths, as kohya's scripts write them by default.
        progress: Called with (pictures done, in all); may raise to stop, nothing is left then.

    Raises:
        UserError: the file exists, or with `stems` several pictures have one name.
    """
    columns = index.columns()
    fits = plan_fits(columns, settings)
    keys = array("Q")

    def entries() -> Iterator[Entry]:
        for start in range(0, len(columns), _BATCH):
            rows = columns.by_name[start : start + _BATCH]
            places = {int(number): int(row) for number, row in zip(columns.ids[rows], rows, strict=True)}
            for picture in index.by_ids(columns.ids[rows].tolist()):
                bucket = fits.buckets[int(fits.bucket[places[picture.id]])]
                key = Path(picture.path).stem if stems else picture.path
                if stems:
                    keys.append(xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")))
                yield Entry(key, picture.natural, picture.tags, (picture.width, picture.height), bucket)
            if progress is not None:
                progress(min(start + _BATCH, len(columns)), len(columns))
        shared = len(keys) - len(np.unique(np.array(keys, np.uint64)))
        if shared:
            raise UserError(
                f"{shared:,} pictures share their name with another, so their names cannot be the keys. "
                "Say --keys path."
            )

    return kohya_meta.write(path, entries(), overwrite)
