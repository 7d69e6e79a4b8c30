"""A run's events as curves: numpy columns that grow by doubling, the same for a live run and an old one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from core import events as ev

Floats = NDArray[np.float64]

#: x axes that a curve can be drawn over.
AXES = ("step", "images", "epoch", "hours", "kwh")

#: Numbers of a step event that become curves of the same name.
_STEP_TAGS = ("loss", "grad_norm", "speed", "images", "epoch", "seconds")
_step_numbers = attrgetter("step", *_STEP_TAGS)
_step_rates = attrgetter("rates")

#: Beginning of the tags of curves that tell how long the measurements of the stable loss took.
MEASURING = "measuring/"

#: Numbers of a GPU's reading that become curves "gpu0/...".
_GPU_TAGS = ("vram_bytes", "watts", "celsius", "utilisation", "limit_watts")
_gpu_numbers = attrgetter(*_GPU_TAGS)

#: Pictures of a captioning job whose words are kept for showing, the latest.
_MOST_CAPTIONED = 1000


class Column:
    """A float64 array with room to grow; `array` is a view of what is filled."""

    __slots__ = ("_buffer", "length")

    def __init__(self, filled: Floats | None = None) -> None:
        """`filled` is taken as it is, without a copy, until more is appended."""
        self._buffer: Floats = np.empty(1024, dtype=np.float64) if filled is None else filled
        self.length = 0 if filled is None else len(filled)

    @property
    def array(self) -> Floats:
        """The filled part, without a copy."""
        return self._buffer[: self.length]

    def extend(self, values: Sequence[float] | Floats) -> None:
        """Append values."""
        need = self.length + len(values)
        if need > len(self._buffer):
            grown = np.empty(max(need, 2 * len(self._buffer)), dtype=np.float64)
            grown[: self.length] = self.array
            self._buffer = grown
        self._buffer[self.length : need] = values
        self.length = need

    def append(self, value: float) -> None:
        """Append one value."""
        if self.length == len(self._buffer):
            self.extend((value,))
        else:
            self._buffer[self.length] = value
            self.length += 1

    def cut(self, length: int) -> None:
        """Forget all but the first `length` values."""
        self.length = min(self.length, length)


class Curve:
    """Values against steps (ascending).

    Attributes:
        cuts: How often points were taken back; what was computed from the curve before the last cut is stale.
    """

    __slots__ = ("_steps", "_values", "cuts")

    def __init__(self) -> None:
        self._steps = Column()
        self._values = Column()
        self.cuts = 0

    @classmethod
    def of(cls, steps: Floats, values: Floats, cuts: int = 0) -> Curve:
        """A curve of arrays that are there already; they are not copied."""
        made = cls()
        made._steps, made._values, made.cuts = Column(steps), Column(values), cuts
        return made

    def __len__(self) -> int:
        return self._steps.length

    @property
    def steps(self) -> Floats:
        """Steps of the points."""
        return self._steps.array

    @property
    def values(self) -> Floats:
        """Values of the points; nan where the run had none."""
        return self._values.array

    def extend(self, steps: Sequence[float] | Floats, values: Sequence[float] | Floats) -> None:
        """Append points."""
        self._steps.extend(steps)
        self._values.extend(values)

    def append(self, step: float, value: float) -> None:
        """Append one point."""
        self._steps.append(step)
        self._values.append(value)

    def cut_after(self, step: float) -> None:
        """Forget the points after `step`."""
        length = int(np.searchsorted(self.steps, step, side="right"))
        self.cuts += length < len(self)
        self._steps.cut(length)
        self._values.cut(length)


@dataclass
class RunData:
    """All that a run's events say, ready to be drawn.

    Attributes:
        curves: By tag: "loss", "grad_norm", "speed", "images", "epoch", "seconds", "rate/unet", "stable/train",
            "stable/validation", "stable/validation/0" (a timestep bucket), "raw/validation" (of the trained weights
            beside an average), "measuring/validation" (seconds of each measurement), "measuring/raw/validation",
            "gpu0/vram_bytes", "gpu0/watts", "gpu0/celsius", "gpu0/utilisation", "gpu0/limit_watts", "cpu_percent",
            "ram_bytes", "kwh", "cost", "co2_grams" (where it is set).
        samples, checkpoints, messages, cells: Events in order, those of repeated steps replaced.
    """

    curves: dict[str, Curve] = field(default_factory=dict)
    samples: list[ev.Sample] = field(default_factory=list)
    checkpoints: list[ev.Checkpoint] = field(default_factory=list)
    messages: list[ev.Message] = field(default_factory=list)
    cells: list[ev.Cell] = field(default_factory=list)
    grids: list[ev.GridMade] = field(default_factory=list)
    captioned: deque[ev.Captioned] = field(default_factory=lambda: deque(maxlen=_MOST_CAPTIONED))
    caption_totals: ev.CaptionTotals | None = None
    started: ev.Started | None = None
    progress: ev.Progress | None = None
    telemetry: ev.Telemetry | None = None
    ended: ev.Ended | None = None
    paused: bool = False
    last_step: int = 0
    seconds: float = 0.0

    def curve(self, tag: str) -> Curve:
        """The curve of a tag, empty when nothing was said of it yet."""
        found = self.curves.get(tag)
        if found is None:
            found = self.curves[tag] = Curve()
        return found

    def feed(self, events: Iterable[ev.AnyEvent]) -> None:
        """Take in events in the order in which they were written.

        Steps are kept until the block's end, for columns are filled much faster in long stretches; only a restart,
        which takes points back, must find them filled.
        """
        steps: list[ev.Step] = []
        for kind, stretch in groupby(events, type):
            if kind is ev.Step:
                steps.extend(cast(Iterable[ev.Step], stretch))
                self.progress = None
                self.paused = False
                continue
            if kind is ev.Started and steps:
                self._feed_steps(steps)
                steps = []
            handler = _HANDLERS.get(kind)
            if handler:
                for event in stretch:
                    handler(self, event)
        if steps:
            self._feed_steps(steps)

    def _feed_steps(self, events: list[ev.Step]) -> None:
        """Append a stretch of steps, column by column."""
        width = 1 + len(_STEP_TAGS)
        numbers = chain.from_iterable(map(_step_numbers, events))
        table = np.fromiter(numbers, np.float64, width * len(events)).reshape(-1, width)
        steps = table[:, 0]
        for column, tag in enumerate(_STEP_TAGS, 1):
            self.curve(tag).extend(steps, table[:, column])
        for group in events[-1].rates:
            self.curve(f"rate/{group}").extend(steps, _rates(events, group))
        self.last_step = events[-1].step
        self.seconds = max(self.seconds, events[-1].seconds)

    def _feed_started(self, event: ev.Started) -> None:
        """A resume goes back to its state's step: what came after it is drawn anew."""
        self.started = event
        self.ended = None
        self.paused = False
        for curve in self.curves.values():
            curve.cut_after(event.step)
        self.samples = [s for s in self.samples if s.step <= event.step]
        self.last_step = event.step
        worked = self.curve("seconds").values
        self.seconds = float(worked[-1]) if len(worked) else 0.0

    def _feed_evaluated(self, event: ev.Evaluated) -> None:
        self._point(measuring_tag(event), event.step, event.duration)
        if event.weights:
            self._point(f"{event.weights}/{event.split}", event.step, event.loss)
            return
        self._point(f"stable/{event.split}", event.step, event.loss)
        for number, value in enumerate(event.buckets):
            self._point(f"stable/{event.split}/{number}", event.step, value)

    @property
    def measuring_seconds(self) -> float:
        """Seconds that the measurements of the stable loss have taken."""
        return float(sum(curve.values.sum() for tag, curve in self.curves.items() if tag.startswith(MEASURING)))

    @property
    def measuring_share(self) -> float:
        """Their share of the seconds worked, 0 to 1; nan where the run tells of neither."""
        if not self.seconds or not any(tag.startswith(MEASURING) for tag in self.curves):
            return float("nan")
        return min(1.0, self.measuring_seconds / self.seconds)

    def _feed_points(self, event: ev.Points) -> None:
        """A stretch of an imported curve; what it says anew replaces what was there."""
        if not event.steps:
            return
        curve = self.curve(event.tag)
        if len(curve) and curve.steps[-1] >= event.steps[0]:
            curve.cut_after(np.nextafter(event.steps[0], -np.inf))
        curve.extend(event.steps, event.values)
        self.last_step = max(self.last_step, int(event.steps[-1]))
        if event.tag == "seconds":
            self.seconds = event.values[-1]

    def _point(self, tag: str, step: int, value: float) -> None:
        """Append one point; the same step again (after a resume) replaces it."""
        curve = self.curve(tag)
        if len(curve) and curve.steps[-1] >= step:
            curve.cut_after(step - 1)
        curve.append(step, value)

    def _feed_telemetry(self, event: ev.Telemetry) -> None:
        self.telemetry = event
        self.seconds = max(self.seconds, event.seconds)
        # A worker that resumes reads its sensors (at step 0) before it knows its step; no curve may go back by that.
        before = self.curve("kwh").steps
        step = max(event.step, before[-1]) if len(before) else event.step
        self.curve("cpu_percent").append(step, event.cpu_percent)
        self.curve("ram_bytes").append(step, event.ram_bytes)
        self.curve("kwh").append(step, event.kwh)
        self.curve("cost").append(step, event.cost)
        if event.co2_grams:
            self.curve("co2_grams").append(step, event.co2_grams)
        for gpu in event.gpus:
            for name, value in zip(_GPU_TAGS, _gpu_numbers(gpu), strict=True):
                self.curve(f"gpu{gpu.index}/{name}").append(step, value if value >= 0 else np.nan)

    def _feed_progress(self, event: ev.Progress) -> None:
        self.progress = event

    def _feed_checkpoint(self, event: ev.Checkpoint) -> None:
        self.checkpoints = [c for c in self.checkpoints if c.path != event.path]
        self.checkpoints.append(event)

    def _feed_removed(self, event: ev.CheckpointRemoved) -> None:
        self.checkpoints = [c for c in self.checkpoints if c.path != event.path]

    def _feed_sample(self, event: ev.Sample) -> None:
        self.samples = [s for s in self.samples if s.path != event.path]
        self.samples.append(event)

    def _feed_ended(self, event: ev.Ended) -> None:
        self.ended = event
        self.progress = None
        self.paused = False

    def _feed_totals(self, event: ev.CaptionTotals) -> None:
        self.caption_totals = event

    def _feed_paused(self, event: ev.Paused) -> None:
        self.paused = True

    def _feed_continued(self, event: ev.Continued) -> None:
        self.paused = False

    def x_of(self, steps: Floats, axis: str) -> Floats:
        """Steps in the unit of an axis of AXES, interpolated between the readings."""
        if axis == "step" or not len(steps):
            return steps
        tag = "seconds" if axis == "hours" else axis
        curve = self.curves.get(tag)
        if curve is None or not len(curve):
            return np.zeros_like(steps)
        ground, values = curve.steps, curve.values
        x = np.interp(steps, ground, values)
        before = steps < ground[0]
        if before.any():
            x[before] = values[0] * steps[before] / ground[0]
        return x / 3600.0 if axis == "hours" else x

    def summary(self) -> dict[str, Any]:
        """{tag: {points, first, last, min}} of every curve, as `runs show --json` prints it."""
        found = {}
        for tag, curve in sorted(self.curves.items()):
            known = np.isfinite(curve.values)
            if not len(curve) or not known.any():
                continue
            steps, values = curve.steps[known], curve.values[known]
            low = int(values.argmin())
            places = {"first": 0, "last": len(values) - 1, "min": low}
            points = {n: {"step": int(steps[i]), "value": float(values[i])} for n, i in places.items()}
            found[tag] = {"points": len(curve), **points}
        return found


def measuring_tag(event: ev.Evaluated) -> str:
    """The curve of a measurement's duration."""
    return f"{MEASURING}{event.weights}/{event.split}" if event.weights else f"{MEASURING}{event.split}"


def _rates(events: list[ev.Step], group: str) -> Sequence[float] | Floats:
    """One group's learning rate at every step; nan where a step does not name the group."""
    try:
        return np.fromiter(map(itemgetter(group), map(_step_rates, events)), np.float64, len(events))
    except KeyError:
        return [event.rates.get(group, np.nan) for event in events]


_HANDLERS: dict[type, Any] = {
    ev.Started: RunData._feed_started,
    ev.Evaluated: RunData._feed_evaluated,
    ev.Points: RunData._feed_points,
    ev.Telemetry: RunData._feed_telemetry,
    ev.Progress: RunData._feed_progress,
    ev.Checkpoint: RunData._feed_checkpoint,
    ev.CheckpointRemoved: RunData._feed_removed,
    ev.Sample: RunData._feed_sample,
    ev.Ended: RunData._feed_ended,
    ev.Paused: RunData._feed_paused,
    ev.Continued: RunData._feed_continued,
    ev.Message: lambda data, event: data.messages.append(event),
    ev.Cell: lambda data, event: data.cells.append(event),
    ev.GridMade: lambda data, event: data.grids.append(event),
    ev.Captioned: lambda data, event: data.captioned.append(event),
    ev.CaptionTotals: RunData._feed_totals,
}


def read_run(path: Any) -> RunData:
    """All of an events.jsonl at once."""
    data = RunData()
    follower = ev.Follower(path)
    while events := follower.read() or follower.behind():
        if isinstance(events, list):
            data.feed(events)
    return data
