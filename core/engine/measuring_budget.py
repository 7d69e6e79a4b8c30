"""How often the stable loss may be measured: its share of a run's time is held below what the settings allow."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

#: Measurements whose median is what the next one is expected to take.
_RECENT = 3
#: So much of the limit is planned with: steps become faster behind the first ones, and the run shorter than foreseen.
_PLANNED = 0.9
#: However dear it is, so often in a run it is looked whether a measurement fits by now.
_LOOKS = 8


class MeasuringBudget:
    """Measures at every second, fourth, eighth ... of the steps asked for, where all of them would take too long.

    The share is that of the whole run: what was spent and what is still to come, over the time that the run will have
    worked. So the dear first measurement is paid over the whole run, not by a gap at its beginning, where the curve
    tells most. Powers of two keep the steps of runs beside each other: those of a dear run are among those of a cheap
    one, which lets Compare and sweeps set them side by side.

    Attributes:
        spent: Seconds measured over all parts of the run.
        stride: Every how many of the steps asked for it is measured now; a power of two.
        told: Whether the user was told that not every step asked for is measured.
    """

    def __init__(self, share: float, every: int) -> None:
        """
        Args:
            share: Of the run's time, 0 to 1; 0 sets no limit.
            every: Steps between two measurements, as asked for; 0 for none.
        """
        self.share = share
        self.every = every
        self.spent = 0.0
        self.stride = 1
        self.told = False
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._warm = False
        self._begun = (0, 0.0)

    @property
    def steps(self) -> int:
        """Steps between two measurements now."""
        return self.every * self.stride

    @property
    def expected(self) -> float:
        """Seconds that the next measurement will take; 0 where that is not known yet."""
        return statistics.median(self._recent) if self._recent else 0.0

    def begin(self, step: int, worked: float) -> None:
        """Steps are made from here on: after `step`, with `worked` seconds behind the run."""
        self._begun = (step, worked - self.spent)

    def is_due(self, step: int, total: int) -> bool:
        """Whether it is looked at a step of `total` if a measurement fits; the same in all processes."""
        if not self.every:
            return False
        stride = self.stride
        while stride > 1 and self.every * stride * _LOOKS > total:
            stride //= 2
        return step in (0, total) or step % (self.every * stride) == 0

    def allows(self, step: int, total: int, worked: float) -> bool:
        """Set the stride anew, and say whether to measure at a step that is due.

        Step 0 and the last one are always measured, and so is the first one whose cost nothing foretells: the very
        first measurement of a worker loads and compiles, and says little of those that follow.

        Args:
            worked: Seconds that the run has worked so far, measurements included.
        """
        if step in (0, total) or not self.share or not self.expected:
            return True
        whole = self._without_more(step, total, worked)
        self.stride = 1
        while self.steps < total and not self._fits(_count(step, total, self.steps), whole):
            self.stride *= 2
        return self.steps < total and step % self.steps == 0

    def note(self, seconds: float) -> None:
        """A measurement took so long."""
        self.spent += seconds
        if self._warm:
            self._recent.append(seconds)
        self._warm = True

    def share_asked(self, step: int, total: int, worked: float) -> float:
        """The share of the run that measuring at all steps asked for would take."""
        coming = _count(step, total, self.every) * self.expected
        whole = self._without_more(step, total, worked)
        return (self.spent + coming) / max(1e-9, whole + coming)

    def facts(self) -> dict[str, Any]:
        """What a resume needs."""
        return {"spent": self.spent, "stride": self.stride, "recent": list(self._recent), "told": self.told}

    def load(self, facts: Mapping[str, Any]) -> None:
        """Go on as facts() said; nothing for states that were saved without."""
        self.spent = float(facts.get("spent", 0.0))
        self.stride = int(facts.get("stride", 1))
        self.told = bool(facts.get("told", False))
        self._recent = deque(map(float, facts.get("recent", ())), maxlen=_RECENT)

    def _without_more(self, step: int, total: int, worked: float) -> float:
        """Seconds of the whole run if nothing more were measured.

        A step to come takes the mean time of those since begin(), with all that happens beside them but measurements.
        """
        first, before = self._begun
        each = max(0.0, worked - self.spent - before) / max(1, step - first)
        return worked + (total - step) * each

    def _fits(self, count: int, whole: float) -> bool:
        """Whether so many more measurements leave the share below the limit; `whole` seconds are the run without."""
        coming = count * self.expected
        return self.spent + coming <= _PLANNED * self.share * (whole + coming)


def _count(step: int, total: int, every: int) -> int:
    """Measurements from a step on, it and the last one included."""
    return (total - 1) // every - (step - 1) // every + 1
