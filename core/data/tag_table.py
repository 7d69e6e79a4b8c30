"""Which tags stand together: counted over the captions that have a tag, of a sample where there are very many."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.data.caption_files import distinct_tags
from core.errors import Stopped

if TYPE_CHECKING:
    from core.data.index import Index

#: Captions that are looked at, at most; the shares of a sample of so many are right to a fifth of a percent.
_MOST = 200_000
_AT_ONCE = 900


@dataclass(frozen=True, slots=True)
class Together:
    """The tags beside one tag.

    Attributes:
        tag: The one that was asked for.
        pictures: How many have it.
        looked_at: How many of them were counted; fewer for a sample.
        counts: In how many of those each other tag stands, most frequent first.
    """

    tag: str
    pictures: int
    looked_at: int
    counts: dict[str, int]


def together(index: Index, tag: str, stop: Callable[[], bool], top: int = 40, most: int = _MOST) -> Together:
    """Count the tags of the pictures that have `tag`; Stopped when stop() says so."""
    found = [ids for ids in index.search(tag, stop) if len(ids)]
    if stop():
        raise Stopped
    ids = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    sample = ids if len(ids) <= most else np.sort(np.random.default_rng(0).choice(ids, most, replace=False))
    counter: Counter[str] = Counter()
    for start in range(0, len(sample), _AT_ONCE):
        if stop():
            raise Stopped
        for captions in index.captions_of(sample[start : start + _AT_ONCE].tolist()):
            tags = distinct_tags(captions.tags)
            if tag in tags:  # the search finds it within other words too
                counter.update(tags)
    looked_at = counter.pop(tag, 0)
    best = heapq.nsmallest(top, counter.items(), key=lambda item: (-item[1], item[0]))
    pictures = looked_at if len(sample) == len(ids) else round(looked_at / len(sample) * len(ids))
    return Together(tag, pictures, looked_at, dict(best))
