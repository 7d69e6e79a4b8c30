"""What the panels of the Dataset page ask the index; each is done in the reader's thread and can be given up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError

if TYPE_CHECKING:
    from core.data.columns import Columns
    from core.data.index import Index
    from core.data.picture_filter import Facts
    from gui.widgets.caption_edits import Picked

Stop = Callable[[], bool]
#: Gets the index, its columns, what is known of the pictures, and whether nobody waits any more.
Question = Callable[["Index", "Columns", "Facts", Stop], Any]

#: So many pictures can be held out by hand at once: each is a line in the settings.
MOST_BY_HAND = 10_000
_MOST_TWINS = 12
_MOST_TAGS = 300


def tags(like: str) -> Question:
    """The most frequent tags that contain a text, and their counts."""
    return lambda index, columns, facts, stop: index.tag_counts(_MOST_TAGS, like)


def beside(tag: str) -> Question:
    """The tags that stand beside one: core.data.tag_table.Together."""

    def work(index: Index, columns: Columns, facts: Facts, stop: Stop) -> Any:
        from core.data.tag_table import together

        return together(index, tag, stop)

    return work


def twins(row: int) -> Question:
    """The tiles of the pictures that are the same as that of a row, or nearly; itself among them."""

    def work(index: Index, columns: Columns, facts: Facts, stop: Stop) -> Any:
        import numpy as np

        from gui.widgets.picture_views import Marker

        if facts.groups is None or row >= len(facts.groups):
            return []
        rows = np.flatnonzero(facts.groups == facts.groups[row])[:_MOST_TWINS]
        if len(rows) < 2:
            return []
        ids = columns.ids[rows].tolist()
        found = {picture.id: picture for picture in index.by_ids(ids)}
        return [tile for tile in Marker(columns, facts).tiles([found.get(one) for one in ids], rows) if tile]

    return work


def signatures(picked: Picked) -> Question:
    """The signatures of some pictures, as the settings hold them; UserError for too many."""

    def work(index: Index, columns: Columns, facts: Facts, stop: Stop) -> Any:
        from core.data.rules import hex_of

        if picked.count > MOST_BY_HAND:
            raise UserError(
                f"{picked.count:,} pictures are too many to choose by hand, {MOST_BY_HAND:,} can be. Give their folder "
                "a role instead."
            )
        found = []
        for start, stop_at in picked.ranges:
            rows = picked.view.rows_at(start, stop_at)
            found += [hex_of(one) for one in picked.view.columns.signature[rows]]
        return found

    return work


def written(number: int, picture: str) -> Question:
    """Let the index know the captions that were just written beside a picture."""

    def work(index: Index, columns: Columns, facts: Facts, stop: Stop) -> Any:
        from core.data.captions import read_captions

        captions = read_captions(Path(picture))
        index.set_captions(number, captions.tags, captions.natural)
        return None

    return work
