"""What a validation curve says: where it is least, and how far the model stays usable after that."""

from __future__ import annotations

import numpy as np

from core.run_data import Floats

#: Points after the minimum before it is taken for one.
_SURE = 2


def minimum(steps: Floats, values: Floats) -> tuple[float, float] | None:
    """(step, value) of the least value; None when there is none."""
    if not len(values):
        return None
    place = int(np.argmin(values))
    if np.isnan(values[place]):  # argmin finds a nan before any number
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            return None
        place = int(known[np.argmin(values[known])])
    return float(steps[place]), float(values[place])


def usable_range(steps: Floats, values: Floats) -> tuple[float, float] | None:
    """Steps from the minimum to where the loss is back at its start value (or to the end, when it never is).

    None while the curve has no minimum after its start that later points confirm: there is nothing to choose from yet.
    """
    known = np.isfinite(values)
    if not known.all():
        steps, values = steps[known], values[known]
    if len(steps) < 3:
        return None
    place = int(values.argmin())
    if place == 0 or place > len(values) - 1 - _SURE or not values[place] < values[0]:
        return None
    start = values[0]
    above = values[place:] >= start
    after = place + int(above.argmax())
    if after == place:
        return float(steps[place]), float(steps[-1])
    low, high = values[after - 1], values[after]
    share = (start - low) / (high - low)
    return float(steps[place]), float(steps[after - 1] + share * (steps[after] - steps[after - 1]))
