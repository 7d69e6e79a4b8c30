"""What the settings make of all pictures, for looking at them: buckets, duplicates, split; and what hands decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.data.applied import Applied
from core.data.picture_filter import Facts
from core.data.rules import LEFT_OUT
from core.data.tally import tally

if TYPE_CHECKING:
    from core.data.columns import Columns
    from core.settings import Settings


def learn(columns: Columns, settings: Settings, applied: Applied | None = None) -> Facts:
    """The facts that filters and badges need; some seconds for ten million pictures.

    Args:
        applied: Shares the work with the report of the same pictures.

    Raises UserError when the settings leave no bucket, a rule or a signature is wrong, or the tokenizer is damaged.
    """
    applied = applied or Applied()
    given = applied.assignment(columns, settings, "facts")
    part = np.full(len(columns), -1, dtype=np.int8)
    for number, rows in enumerate((given.parts.train, given.parts.validation, given.parts.probe)):
        part[rows] = number
    part[given.roles == LEFT_OUT] = -1
    around = applied.around(given, settings)
    counts = tuple(tally(given.fits.bucket, len(given.fits.buckets)).tolist())
    return Facts(given.fits, given.same, part, int(settings.data.max_tokens), settings.data.smallest, around, counts)


def by_hand(
    chosen: Sequence[str], never: Sequence[str], signatures: Iterable[str], hold: bool | None
) -> tuple[list[str], list[str]]:
    """validation.chosen and validation.never after a hand decided about some pictures.

    Args:
        signatures: As core.data.rules.hex_of() writes them.
        hold: True: never trained on; False: never held out; None: left to chance again.
    """
    meant = list(dict.fromkeys(signatures))
    lists = [[one for one in old if one not in set(meant)] for old in (chosen, never)]
    if hold is not None:
        lists[0 if hold else 1] += meant
    return lists[0], lists[1]
