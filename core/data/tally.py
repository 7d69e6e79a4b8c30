"""Counts numbers of millions of pictures in pieces: numpy's bincount holds Python's lock until it is through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers counted without a pause, a millisecond's work or two, so that a window beside it stays fluid. Into few bins
#: they are counted by themselves and added; into many only the bins that they meet are. np.add.at() would be shorter,
#: but between its calls a waiting thread gets the lock after 15 ms at best.
_PIECE = 1 << 16
_FEW = 1 << 14


def tally(values: NDArray[np.integer], bins: int = 0) -> NDArray[np.int64]:
    """int64 (at least `bins`,): how often each number occurs, as np.bincount() counts; all must be 0 or more."""
    count = max(bins, int(values.max()) + 1 if len(values) else 0)
    found = np.zeros(count, dtype=np.int64)
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        if count <= _FEW:
            found += np.bincount(piece, minlength=count)
        else:
            met, times = np.unique(piece, return_counts=True)
            found[met] += times
    return found
