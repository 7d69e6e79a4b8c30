"""The verdict on a run: what its stable losses say about when to stop, which checkpoints to look at, and the rate.

Pure functions of curves. The argument is that of the notes "demystifying sd finetuning": while the loss of held-out
pictures falls, the model learns what holds for new pictures; where it turns, it begins to learn the training pictures
by heart; from there to where it is back at its first value the checkpoints are usable. core.advice_words says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.curve_shape import WIDE, Minimum, Slope, end_slope, minimum, noise, smooth
from core.run_data import Curve, RunData

Floats = NDArray[np.float64]
State = Literal["too few points", "too noisy", "diverging", "still falling", "turned", "settled"]

#: Measurements without which nothing is said.
_LEAST = 5
#: A change counts when it is so many times the noise of one point; one between two extremes must be larger.
_SURE, _SURE_OF_EXTREMES = 3.0, 4.0
#: The share of the run whose slope says whether it still falls.
_END = 0.25
#: A loss that ends so many times above its start has run away; so has that of the trained pictures at this share.
_RAN_AWAY, _TRAIN_RAN_AWAY = 2.0, 1.05
#: The rate is called high when the minimum lies in this first share of the run or among the first measurements, or when
#: the first interval brings this share of all that is gained; and jumpy when the noise is this share of the gain.
_EARLY, _FIRST_ONES, _AT_ONCE, _JUMPY = 0.1, 2, 0.6, 0.2
#: The rate is called low when a whole run that still falls has gained less than this share of its first loss.
_LITTLE = 0.002
#: Where in the run the minimum is best: late enough to be measured well, early enough to see the turn.
_AIM = 0.4


@dataclass(frozen=True)
class Losses:
    """A stable loss over the steps, ascending.

    Attributes:
        steps, loss: (n,)
        buckets: (n, b), each timestep bucket by itself, or None.
        repeats: (n, r), each repeat of the draws by itself, or None; they widen the interval of the minimum.
    """

    steps: Floats
    loss: Floats
    buckets: Floats | None = None
    repeats: Floats | None = None


@dataclass(frozen=True)
class Gap:
    """Validation loss minus that of the trained pictures at the first measurement, the minimum and the last one."""

    first: float
    at_minimum: float
    last: float


@dataclass(frozen=True)
class Rate:
    """Whether the learning rate suits the run's length.

    Attributes:
        hint: "high" (the minimum comes too early to be measured well, or the curve jumps), "low", or "fits".
        why: "early", "at once", "jumps", "rises at once", "runs away", "little gained" or "".
        factor: Times which the rate would bring the minimum to a good place; 0 where that cannot be said.
    """

    hint: Literal["high", "low", "fits"]
    why: str = ""
    factor: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What the curves say; None where they do not say it.

    Attributes:
        state: "turned": fell and rises again; "settled": fell and is level; "still falling"; and so on.
        points: Measurements that were looked at.
        noise: Standard deviation of one measurement about a smooth curve, near the minimum.
        minimum: The lowest place with its interval.
        turn_step: From here on every measurement lies clearly above the minimum.
        usable_from, usable_to: From the minimum to where the loss is back at its first value, or to the run's end.
        back_at_start: Whether it came back within the run.
        fall_per_100: By how much the loss changes in 100 steps at the end (negative: it falls), with its standard
            error, out of `fall_points` measurements.
        gap: How far the trained pictures went ahead of the held-out ones.
        rate: About the learning rate.
        buckets: The step of the lowest loss of each timestep bucket, little noise first; empty without buckets.
        look_at: Steps of the checkpoints to look at: the nearest to the minimum, and the last one in the usable range.
    """

    state: State
    points: int
    first_loss: float | None = None
    last_loss: float | None = None
    last_step: float | None = None
    noise: float | None = None
    minimum: Minimum | None = None
    turn_step: float | None = None
    usable_from: float | None = None
    usable_to: float | None = None
    back_at_start: bool = False
    fall_per_100: float | None = None
    fall_error: float | None = None
    fall_points: int = 0
    gap: Gap | None = None
    rate: Rate | None = None
    buckets: tuple[float, ...] = ()
    look_at: tuple[int, ...] = ()

    def sentences(self) -> list[str]:
        """The verdict for someone who does this for fun, with the numbers behind it."""
        from core.advice_words import sentences

        return sentences(self)


def judge_run(data: RunData, checkpoints: Sequence[int] = ()) -> Verdict:
    """The verdict on a run's curves, live or old."""
    validation, train = (data.curves.get(f"stable/{split}", Curve()) for split in ("validation", "train"))
    columns: list[Floats] = []
    while (part := data.curves.get(f"stable/validation/{len(columns)}")) is not None:
        if len(part) != len(validation):
            break
        columns.append(part.values)
    return judge(
        Losses(validation.steps, validation.values, np.stack(columns, axis=1) if columns else None),
        Losses(train.steps, train.values) if len(train) else None,
        checkpoints,
    )


def judge(validation: Losses, train: Losses | None = None, checkpoints: Sequence[int] = ()) -> Verdict:
    """The verdict on the losses of the held-out pictures; `train` are those of the trained ones, measured alike."""
    finite = np.isfinite(validation.loss)
    steps, loss = validation.steps[finite], validation.loss[finite]
    if len(loss) < len(validation.loss) and (not len(loss) or not finite[-1]):
        return Verdict("diverging", len(validation.loss), rate=Rate("high", "runs away"))
    if len(loss) < _LEAST:
        return Verdict("too few points", len(loss))
    low = _with_repeats(minimum(steps, loss), validation, finite)
    near = _near_noise(steps, loss, low)
    slope = end_slope(steps, loss, _END)
    state = _state(steps, loss, low, near, slope, train)
    turn = _turn(steps, loss, low, near) if state in ("turned", "diverging") else None
    usable, back = _usable(steps, loss, low, near) if state in ("turned", "settled") else (None, False)
    return Verdict(
        state=state,
        points=len(loss),
        first_loss=float(loss[0]),
        last_loss=float(loss[-1]),
        last_step=float(steps[-1]),
        noise=near,
        minimum=low,
        turn_step=turn,
        usable_from=usable[0] if usable else None,
        usable_to=usable[1] if usable else None,
        back_at_start=back,
        fall_per_100=100 * slope.per_step,
        fall_error=100 * slope.error,
        fall_points=slope.points,
        gap=_gap(steps, loss, train, low),
        rate=_rate(state, steps, loss, low, near),
        buckets=_bucket_minima(validation, finite),
        look_at=_look_at(state, low, usable, float(steps[-1]), checkpoints),
    )


def _near_noise(steps: Floats, loss: Floats, low: Minimum) -> float:
    """Noise of the measurements up to a little behind the minimum: a curve that has run off jumps more than it did."""
    end = int(np.searchsorted(steps, max(low.lowest_step, low.step_to), side="right"))
    count = max(2 * _LEAST, end + _LEAST)
    return noise(steps[:count], loss[:count])


def _state(steps: Floats, loss: Floats, low: Minimum, near: float, slope: Slope, train: Losses | None) -> State:
    """What the curve is like as a whole."""
    if loss[-1] > _RAN_AWAY * loss[0] or _ran_away(train):
        return "diverging"
    even = smooth(loss)
    gained = float(max(loss[0], even[0]) - even.min())
    lost = float(even[-1] - even.min())
    if max(gained, lost) < _SURE_OF_EXTREMES * near:
        return "too noisy"
    if lost >= _SURE * near and _turn(steps, loss, low, near) is not None:
        return "turned"
    falls = slope.falls and -slope.per_step * _END * float(np.ptp(steps)) > near
    return "still falling" if falls else "settled"


def _ran_away(train: Losses | None) -> bool:
    """Whether the model has lost what it knew: even the pictures that it is trained on are worse than at the start."""
    if train is None or len(train.loss) < _LEAST:
        return False
    if not np.isfinite(train.loss[-1]):
        return True
    finite = np.isfinite(train.loss)
    known = train.loss[finite]
    last = float(np.median(known[-3:]))
    first = float(known[0])
    return last > _TRAIN_RAN_AWAY * first and last - first > _SURE * noise(train.steps[finite], known)


def _turn(steps: Floats, loss: Floats, low: Minimum, near: float) -> float | None:
    """The step from which on every measurement lies clearly above the minimum; None when fewer than two do."""
    limit = min(low.loss, low.lowest_loss + near) + _SURE * near
    below = np.flatnonzero(loss <= limit)
    after = int(below[-1]) + 1 if len(below) else 0
    return float(steps[after]) if len(loss) - after >= 2 else None


def _usable(steps: Floats, loss: Floats, low: Minimum, near: float) -> tuple[tuple[float, float] | None, bool]:
    """((minimum, where the evened loss is back at its first value or the run's end), whether it came back)."""
    if low.lowest_loss >= loss[0] - near:
        return None, False
    even = smooth(loss)
    later = np.flatnonzero((steps > low.lowest_step) & (even >= loss[0]))
    if not len(later):
        return (low.lowest_step, float(steps[-1])), False
    after = int(later[0])
    below, above = even[after - 1], even[after]
    share = (loss[0] - below) / (above - below) if above > below else 1.0
    place = float(steps[after - 1] + min(1.0, max(0.0, share)) * (steps[after] - steps[after - 1]))
    return (low.lowest_step, max(low.lowest_step, place)), True


def _gap(steps: Floats, loss: Floats, train: Losses | None, low: Minimum) -> Gap | None:
    """The gap between the two splits; None without two measurements of the trained pictures."""
    if train is None:
        return None
    known = np.isfinite(train.loss)
    if known.sum() < 2:
        return None
    apart = loss - np.interp(steps, train.steps[known], train.loss[known])
    return Gap(float(apart[0]), float(apart[int(loss.argmin())]), float(apart[-1]))


def _rate(state: State, steps: Floats, loss: Floats, low: Minimum, near: float) -> Rate | None:
    """What the place of the minimum, the first fall and the jumps say about the rate; None when nothing can be said."""
    if state == "diverging":
        return Rate("high", "runs away")
    if state == "too noisy":
        return None
    gained = float(loss[0] - low.lowest_loss)
    place = int(loss.argmin())
    length = float(steps[-1] - min(0.0, steps[0]))
    if state == "turned":
        if place == 0:
            return Rate("high", "rises at once")
        if low.lowest_step < _EARLY * length or place <= _FIRST_ONES:
            factor = max(low.lowest_step, low.step) / (_AIM * length)
            return Rate("high", "early", factor if factor < 1 else 0.0)
        if near > _JUMPY * (loss[0] - low.loss):
            return Rate("high", "jumps")
    if gained > 0 and place > 1 and loss[0] - loss[1] > _AT_ONCE * gained and loss[0] - loss[1] > _SURE * near:
        return Rate("high", "at once")
    if state == "still falling" and gained < _LITTLE * loss[0]:
        return Rate("low", "little gained")
    return Rate("fits")


def _bucket_minima(validation: Losses, finite: NDArray[np.bool_]) -> tuple[float, ...]:
    """Where the evened loss of each timestep bucket is lowest."""
    if validation.buckets is None:
        return ()
    steps = validation.steps[finite]
    columns = validation.buckets[finite].T
    return tuple(float(steps[int(np.nanargmin(smooth(column)))]) for column in columns if np.isfinite(column).all())


def _with_repeats(low: Minimum, validation: Losses, finite: NDArray[np.bool_]) -> Minimum:
    """The minimum with an interval that also holds what other draws of noise and timesteps would have changed."""
    if validation.repeats is None or validation.repeats.shape[1] < 2:
        return low
    steps = validation.steps[finite]
    each = [minimum(steps, column) for column in validation.repeats[finite].T if np.isfinite(column).all()]
    if len(each) < 2:
        return low
    root = np.sqrt(len(each))
    apart = WIDE * float(np.std([found.step for found in each], ddof=1)) / root
    loss_apart = WIDE * float(np.std([found.loss for found in each], ddof=1)) / root
    return Minimum(
        low.lowest_step,
        low.lowest_loss,
        low.step,
        low.loss,
        max(float(steps[0]), min(low.step_from, low.step - apart)),
        min(float(steps[-1]), max(low.step_to, low.step + apart)),
        max(low.loss_error, loss_apart),
    )


def _look_at(
    state: State, low: Minimum, usable: tuple[float, float] | None, end: float, checkpoints: Sequence[int]
) -> tuple[int, ...]:
    """The checkpoint nearest to the minimum and the last usable one; the last of all where the loss still falls."""
    if not checkpoints or state in ("diverging", "too noisy"):
        return ()
    nearest = _nearest(checkpoints, end if state == "still falling" else low.lowest_step)
    within = [step for step in checkpoints if usable and nearest < step <= usable[1]]
    return (nearest, max(within)) if within else (nearest,)


def _nearest(checkpoints: Sequence[int], place: float) -> int:
    return int(min(checkpoints, key=lambda step: (abs(step - place), step)))


def out_of_patience(losses: Mapping[int, float], patience: int) -> bool:
    """Whether the lowest validation loss lies `patience` measurements back; `losses` by step, patience 0 never.

    Losses that are no numbers count as measurements that brought nothing.
    """
    if patience <= 0:
        return False
    values = [losses[step] for step in sorted(losses)]
    known = [value for value in values if np.isfinite(value)]
    lowest = values.index(min(known)) if known else -1
    return len(values) - 1 - lowest >= patience
