"""Whether a run of a sweep should end before its time: it diverges, or is clearly past its minimum. Pure functions."""

from __future__ import annotations

import re

import numpy as np

from core.advisor import judge_run
from core.run_data import RunData
from core.sweep.options import EndSection

#: How core/engine/guard.py tells of numbers that broke.
_BROKE = re.compile(r"\b(the loss|the gradient's length) is -?(nan|inf)\b")
#: So many points must lie after the lowest one and be clearly above it, whatever is asked for.
_LEAST_AFTER = 3


def reason_to_end(data: RunData, options: EndSection) -> str:
    """Why a living run should be ended now, in a sentence; "" when it should go on."""
    verdict = judge_run(data)
    if options.diverged and verdict.state == "diverging":
        last = f" ({verdict.last_loss:.4g} against {verdict.first_loss:.4g} at its start)" if verdict.last_loss else ""
        return f"It diverged: its stable loss ran away{last}."
    if options.past_minimum and verdict.state == "turned" and verdict.minimum is not None:
        steps = data.curve("stable/validation").steps
        after = int(np.count_nonzero(steps > verdict.minimum.lowest_step))
        if after >= max(options.past_minimum, _LEAST_AFTER):
            low = verdict.minimum
            return f"Its minimum, {low.lowest_loss:.5g} at step {low.lowest_step:,.0f}, lies {after} measurements back."
    return ""


def diverged(data: RunData) -> bool:
    """Whether a run's losses ran away, or its worker gave up because a number broke."""
    if data.ended is not None and data.ended.state == "failed" and _BROKE.search(data.ended.text):
        return True
    return judge_run(data).state == "diverging"
