"""What the settings make of all pictures, for looking at them: buckets, duplicates, split; and what hands decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.data.assignment import assign
from core.data.picture_filter import Facts
from core.data.rules import LEFT_OUT

if TYPE_CHECKING:
    from core.data.columns import Columns
    from core.settings import Settings


def learn(columns: Columns, settings: Settings) -> Facts:
    """The facts that filters and badges need; some seconds for ten million pictures.

    Raises UserError when the settings leave no bucket, or a rule or a signature is wrong.
    """
    given = assign(columns, settings)
    part = np.full(len(columns), -1, dtype=np.int8)
    for number, rows in enumerate((given.parts.train, given.parts.validation, given.parts.probe)):
        part[rows] = number
    part[given.roles == LEFT_OUT] = -1
    return Facts(given.fits, given.same, part, int(settings.data.max_tokens), settings.data.smallest)


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
