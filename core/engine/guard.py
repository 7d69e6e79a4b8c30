"""Watches for a loss or gradient that is no number, and for spikes; the sentences for steps that went wrong."""

from __future__ import annotations

import math

#: So many bad steps in a row, or returns to a saved state, are the end of a run.
PATIENCE = 10
#: Share of the typical gradient length that the newest step makes up.
_NEW = 0.05


class Guard:
    """Judges steps by their loss and gradient length.

    Attributes:
        typical: Running mean of the gradient's length over the good steps; 0 before the first.
        bad: Bad steps in a row.
    """

    def __init__(self, spike_factor: float) -> None:
        """`spike_factor`: a gradient so many times as long as the typical one is a spike; 0 looks for none."""
        self._factor = spike_factor
        self.typical = 0.0
        self.bad = 0

    def complaint(self, loss: float, norm: float) -> str:
        """What is wrong with a step, as "the loss is nan"; "" for a good one."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the gradient's length is {norm}"
        if self._factor and self.typical and norm > self._factor * self.typical:
            return f"the gradient is {norm / self.typical:.0f} times as long as usual"
        return ""

    def note(self, norm: float, complaint: str) -> None:
        """Take a step in: a good one moves what is typical."""
        if complaint:
            self.bad += 1
            return
        self.bad = 0
        self.typical = norm if not self.typical else (1 - _NEW) * self.typical + _NEW * norm


def advice(complaint: str, step: int, saved: int) -> str:
    """The sentence for a run that ends because of a bad step; `saved` is the step of its last state, 0 for none."""
    back = f"Its last good state is step {saved:,}: resume there" if saved else "No state was saved yet: start anew"
    return (
        f"At step {step:,} {complaint}, so the run was stopped. {back} with a lower training.learning_rate, "
        "or with training.precision bf16 or fp32; training.on_nan can also skip such steps or go back by itself."
    )


def compile_advice(error: Exception) -> str:
    """The sentence for a machine on which torch.compile does not work."""
    reason = str(error).strip().partition("\n")[0][:200]
    return f"hardware.compile does not work on this machine ({reason}). Switch it off, then resume the run."
