"""The settings applied to all pictures once, for all in a process who ask: the report, and the filters and badges."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.data.around import Opener, tokens_around
from core.data.assignment import Assignment, assign, batch_of
from core.data.tokens import open_tokenizer

if TYPE_CHECKING:
    from core.data.columns import Columns
    from core.settings import Settings


class Applied:
    """Gives the same Assignment to both who need it: of ten million pictures it takes seconds.

    It is let go of when both had it, as parts of it are as large as the columns and wanted by nobody any more.

    Attributes:
        turn: To be held while all pictures are worked on; two threads that do it would leave a window none of Python's
            turns, and the second one finds here what the first made.
    """

    def __init__(self, opener: Opener = open_tokenizer) -> None:
        """`opener`: opens tokenizers; a window has them in another process (core/data/token_jobs.py)."""
        self.turn = threading.Lock()
        self._opener = opener
        self._kept: tuple[str, str, Assignment] | None = None

    def assignment(self, columns: Columns, settings: Settings, asker: str) -> Assignment:
        """What assign() gives; taken over when another asker has just had it of the same columns and settings.

        Raises as assign().
        """
        key = _key(columns, settings)
        kept = self._kept
        if kept is None or not key or kept[0] != key:
            kept = key, asker, assign(columns, settings)
        self._kept = kept if key and kept[1] == asker else None
        return kept[2]

    def around(self, given: Assignment, settings: Settings) -> NDArray[np.int32] | None:
        """int32 (N,): tokens that stand around each picture's caption; None for none. UserError as tokens_around()."""
        counts = tokens_around(given.rules, settings, self._opener)
        return counts[given.rule] if counts.any() else None


def _key(columns: Columns, settings: Settings) -> str:
    """Names all that assign() looks at; "" for columns that cannot be told from others."""
    pages = settings.data.model_dump_json(), settings.validation.model_dump_json(), str(batch_of(settings))
    return "\n".join((columns.version, *pages)) if columns.version else ""
