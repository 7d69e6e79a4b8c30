"""What the index learns only when asked: how long captions are in tokens, and what pictures look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import xxhash
from numpy.typing import NDArray

from core.data import source
from core.data.caption_files import split_lines
from core.data.columns import PHASH_KNOWN
from core.data.phash import phash64
from core.data.pictures import PictureError, load_bytes
from core.data.reasons import reason_of
from core.data.tokens import open_tokenizer, tokenizer_folder

if TYPE_CHECKING:
    from core.data.captions import Captions
    from core.data.index import Index
    from core.settings import Settings

Progress = Callable[[int, int], None]

#: Captions per transaction, and pictures: what a killed job loses at most.
_CAPTIONS, _PICTURES = 4_000, 200
_THREADS = 4


def count_tokens(index: Index, settings: Settings, progress: Progress | None = None) -> None:
    """Count the tokens of every caption that was not counted yet, and keep the longest of each picture.

    Where the settings read tags and sentence together, both count together. `progress` may raise Stopped: what was
    counted is kept. UserError for a damaged tokenizer.
    """
    columns = index.columns()
    tokenizer = open_tokenizer(tokenizer_folder(settings.model.base))
    together = "then" in settings.data.captions
    for ids, done, total in _parts(columns.ids, columns.tokens < 0, _CAPTIONS):
        texts, owners = [], []
        for number, captions in zip(ids, index.captions_of(ids), strict=True):
            lines = _longest(captions, together)
            texts += lines
            owners += [number] * len(lines)
        longest = dict.fromkeys(ids, 0)
        for number, tokens in zip(owners, tokenizer.count(texts).tolist() if texts else [], strict=True):
            longest[number] = max(longest[number], tokens)
        index.set_tokens(longest.items())
        if progress is not None:
            progress(done, total)


def _longest(captions: Captions, together: bool) -> list[str]:
    """The texts of which the longest counts."""
    tags, natural = split_lines(captions.tags), split_lines(captions.natural)
    if together and tags and natural:
        return [f"{max(tags, key=len)}, {max(natural, key=len)}"]
    return [*tags, *natural]


def look_closely(index: Index, settings: Settings, progress: Progress | None = None) -> None:
    """Read every picture that nobody has looked at yet whole, and keep its content hash and its perceptual hash.

    Near duplicates can be found then. A picture that cannot be decoded becomes broken. `progress` as above.
    """
    columns = index.columns()
    with ThreadPoolExecutor(_THREADS) as pool:
        for ids, done, total in _parts(columns.ids, (columns.flags & PHASH_KNOWN) == 0, _PICTURES):
            pictures = index.by_ids(ids)
            found = list(pool.map(_seen, [picture.path for picture in pictures]))
            pairs = list(zip(pictures, found, strict=True))
            index.learned((picture.id, content, phash) for picture, (content, phash, reason) in pairs if not reason)
            for picture, (_, _, reason) in pairs:
                if reason:
                    index.mark_broken(picture.path, reason)
            if progress is not None:
                progress(done, total)


def _seen(path: str) -> tuple[str, int | None, str]:
    """(content hash, perceptual hash, reason why it cannot be used) of one picture."""
    try:
        data = source.read_bytes(path)
        return xxhash.xxh3_128_hexdigest(data), phash64(load_bytes(data)), ""
    except PictureError as error:
        return "", None, str(error)
    except OSError as error:
        return "", None, reason_of(error)


def _parts(ids: NDArray[np.int64], wanted: NDArray[np.bool_], size: int) -> Iterator[tuple[list[int], int, int]]:
    """(ids, how many are done with them, how many in all) of the pictures that are wanted."""
    rows = np.flatnonzero(wanted)
    for start in range(0, len(rows), size):
        yield ids[rows[start : start + size]].tolist(), min(start + size, len(rows)), len(rows)
