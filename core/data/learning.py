"""What the index learns only when asked: how long captions are in tokens, and what pictures look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.data import rules
from core.data.caption_files import split_lines
from core.data.dataset import with_rule
from core.data.readers import Readers
from core.data.token_jobs import TokenJob, token_job
from core.data.tokens import NO_LIMIT, tokenizer_folder

if TYPE_CHECKING:
    from core.data.captions import Captions
    from core.data.columns import Columns
    from core.data.index import Index
    from core.settings import Settings

Progress = Callable[[int, int], None]

#: Captions per transaction: what a killed job loses at most.
_CAPTIONS = 4_000


def count_tokens(index: Index, settings: Settings, progress: Progress | None = None) -> None:
    """Count the tokens of every caption that was not counted yet, and keep the longest of each picture.

    Where the settings read tags and sentence together, both count together. Counted in processes of their own, which
    leave the program's threads alone. `progress` may raise Stopped: what was counted is kept. UserError for a damaged
    tokenizer.
    """
    columns = index.columns()
    folder, together = tokenizer_folder(settings.model.base), _together(columns, settings)
    wanted = np.flatnonzero(columns.tokens < 0)
    done = 0

    def jobs() -> Iterator[tuple[tuple[list[int], list[int]], TokenJob]]:
        for rows in _parts(wanted):
            ids = columns.ids[rows].tolist()
            texts, owners = _texts(index, ids, together[columns.directory[rows]].tolist())
            yield (ids, owners), token_job(folder, texts, NO_LIMIT)

    with Readers(alone=0, processes=1 if len(wanted) <= _CAPTIONS else 0) as readers:
        for (ids, owners), answer in readers.in_order(jobs()):
            longest = dict.fromkeys(ids, 0)
            for number, tokens in zip(owners, answer.known().tokens, strict=True):
                longest[number] = max(longest[number], tokens)
            index.set_tokens(longest.items())
            done += len(ids)
            if progress is not None:
                progress(done, len(wanted))


def _together(columns: Columns, settings: Settings) -> NDArray[np.bool_]:
    """bool (directories,): whether tags and sentence of the pictures there can be read together."""
    every, of_directory = rules.of_directories(columns.directories, settings)
    pages = [with_rule(settings.data, rule) for rule in every]
    both = ["then" in page.captions or (page.captions == "either" and page.both_share > 0) for page in pages]
    return np.array(both)[of_directory]


def _texts(index: Index, ids: list[int], together: list[bool]) -> tuple[list[str], list[int]]:
    """(texts to count, the id that each belongs to)."""
    texts: list[str] = []
    owners: list[int] = []
    for number, captions, both in zip(ids, index.captions_of(ids), together, strict=True):
        lines = _longest(captions, both)
        texts += lines
        owners += [number] * len(lines)
    return texts, owners


def _longest(captions: Captions, together: bool) -> list[str]:
    """The texts of which the longest counts."""
    tags, natural = split_lines(captions.tags), split_lines(captions.natural)
    if together and tags and natural:
        return [f"{max(tags, key=len)}, {max(natural, key=len)}"]
    return [*tags, *natural]


def look_closely(index: Index, settings: Settings, progress: Progress | None = None) -> None:
    """Index.find_phashes(), called as the others here are: near duplicates can be found then. `progress` as above."""
    index.find_phashes(progress)


def _parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows, some thousand at a time."""
    for start in range(0, len(rows), _CAPTIONS):
        yield rows[start : start + _CAPTIONS]
