"""What the index learns only when asked: how long captions are in tokens, and what pictures look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.data.caption_files import split_lines
from core.data.tokens import open_tokenizer, tokenizer_folder

if TYPE_CHECKING:
    from core.data.captions import Captions
    from core.data.index import Index
    from core.settings import Settings

Progress = Callable[[int, int], None]

#: Captions per transaction: what a killed job loses at most.
_CAPTIONS = 4_000


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
    """Index.find_phashes(), called as the others here are: near duplicates can be found then. `progress` as above."""
    index.find_phashes(progress)


def _parts(ids: NDArray[np.int64], wanted: NDArray[np.bool_], size: int) -> Iterator[tuple[list[int], int, int]]:
    """(ids, how many are done with them, how many in all) of the pictures that are wanted."""
    rows = np.flatnonzero(wanted)
    for start in range(0, len(rows), size):
        yield ids[rows[start : start + size]].tolist(), min(start + size, len(rows)), len(rows)
