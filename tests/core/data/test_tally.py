"""Tests of core/data/tally.py: the counts are numpy's, in pieces or not."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.tally import tally


@pytest.mark.parametrize("count", [0, 1, 1000, 700_001])
@pytest.mark.parametrize("bins", [1, 7, 20_000, 900_000])
def test_the_counts_are_numpys(count: int, bins: int) -> None:
    values = np.random.default_rng(count + bins).integers(0, bins, count).astype(np.int32)
    for least in (0, bins, bins + 3):
        assert np.array_equal(tally(values, least), np.bincount(values, minlength=least))
