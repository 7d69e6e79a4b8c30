"""The verdict in words: plain sentences with the numbers behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.quantities import show_rounded

if TYPE_CHECKING:
    from core.advisor import Rate, Verdict

#: Relative differences below this are called none.
_NOTHING = 5e-4
#: A fall of more % of the loss is told for fewer steps.
_MOST_FORETOLD = 50


def sentences(verdict: Verdict) -> list[str]:
    """The verdict, the most important first."""
    said = [_head(verdict)]
    for part in (_range, _looking, _gap, _buckets, _rate):
        text = part(verdict)
        if text:
            said.append(text)
    return said


def loss_words(value: float) -> str:
    """A loss with four significant digits."""
    return f"{value:#.4g}"


def _steps(value: float) -> str:
    return f"{value:,.0f}"


def _many(steps: int) -> str:
    return "step" if steps == 1 else f"{steps} steps"


def _head(verdict: Verdict) -> str:
    if not verdict.points:
        return "There is no verdict, for no loss of held-out pictures was measured."
    if verdict.state == "too few points":
        many = "1 measurement" if verdict.points == 1 else f"{verdict.points} measurements"
        return f"Too few points to say anything: {many} of the held-out pictures, 5 are the least."
    if verdict.state == "diverging":
        return "The training runs away: the loss does not come back. Use an earlier checkpoint and a lower rate."
    low = verdict.minimum
    assert low is not None and verdict.first_loss is not None and verdict.last_loss is not None
    if verdict.state == "too noisy":
        return (
            f"Too noisy to say: the loss of the held-out pictures changes by no more than its noise "
            f"({loss_words(verdict.noise or 0)}). Hold out more pictures, or measure with more repeats."
        )
    if verdict.state == "still falling":
        return _falling(verdict)
    gain = 100 * (1 - low.lowest_loss / verdict.first_loss)
    where = f"step {_steps(low.lowest_step)}"
    if round(low.step_from) < round(low.step_to):
        where += f" (between {_steps(low.step_from)} and {_steps(low.step_to)})"
    text = f"The held-out pictures have their lowest loss, {loss_words(low.lowest_loss)}, at {where}"
    text += f", {show_rounded(gain, 2)} % below the first measurement." if gain > 0 else ", no lower than at the start."
    if verdict.turn_step is not None:
        text += f" From step {_steps(verdict.turn_step)} on it clearly rises: the model learns your pictures by heart."
    elif verdict.state == "settled":
        text += " It has levelled off: longer training gains nothing, and has not harmed yet."
    return text


def _falling(verdict: Verdict) -> str:
    """How fast it still falls: as exactly as the measurements tell, so in one digit where they are few and scatter.

    Per 100 steps, or fewer where the loss would be nearly gone by then: no curve falls on so steeply.
    """
    fall, error, steps = -(verdict.fall_per_100 or 0), verdict.fall_error or 0, 100
    sure = 10 * error < fall
    share = 100 * fall / (verdict.last_loss or 1)
    while share > _MOST_FORETOLD and steps > 1:
        fall, share, steps = fall / 10, share / 10, steps // 10
    return (
        f"Still learning: over the last {verdict.fall_points} measurements the loss of the held-out pictures falls by "
        f"{'' if sure else 'about '}{loss_words(fall) if sure else show_rounded(fall, 1)} "
        f"({show_rounded(share, 2 if sure else 1)} %) per {_many(steps)}. Train longer, there is no minimum yet."
    )


def _range(verdict: Verdict) -> str:
    if verdict.usable_from is None or verdict.usable_to is None:
        return ""
    first, last = _steps(verdict.usable_from), _steps(verdict.usable_to)
    if first == last:
        return ""
    if verdict.back_at_start:
        return f"Usable are steps {first} to {last}; there the loss is back where it began."
    return f"Usable are steps {first} to {last}, the end: the loss never came back to where it began."


def _looking(verdict: Verdict) -> str:
    if not verdict.look_at:
        return ""
    names = [_steps(step) for step in verdict.look_at]
    which = f"checkpoint {names[0]}" if len(names) == 1 else f"checkpoints {', '.join(names[:-1])} and {names[-1]}"
    return f"Look at {which}: draw a grid and trust your eyes."


def _gap(verdict: Verdict) -> str:
    gap = verdict.gap
    if gap is None or not verdict.first_loss:
        return ""
    grown = gap.last - gap.first
    if abs(grown) < _NOTHING * verdict.first_loss:
        return "Trained and held-out pictures changed alike: nothing was learnt by heart."
    if grown < 0:
        return f"The held-out pictures gained more than the trained ones (by {loss_words(-grown)})."
    ahead = (
        f"The trained pictures went ahead of the held-out ones by {loss_words(gap.at_minimum - gap.first)} up to the"
    )
    if gap.at_minimum == gap.last:
        return f"{ahead} end, where the minimum is so far."
    return f"{ahead} minimum and by {loss_words(grown)} up to the end."


def _buckets(verdict: Verdict) -> str:
    if len(verdict.buckets) < 2 or verdict.state not in ("turned", "settled"):
        return ""
    fine, coarse = verdict.buckets[0], verdict.buckets[-1]
    if fine == coarse:
        return ""
    return f"Fine detail is best at step {_steps(fine)}, composition at step {_steps(coarse)}."


_WHY = {
    "runs away": "The learning rate is too high; a third of it is a good next try.",
    "rises at once": "The loss only rises: the learning rate is too high, or the model knew such pictures before.",
    "at once": "Most of the gain came before the second measurement: measure more often, or take a lower rate.",
    "jumps": "The curve jumps from one measurement to the next; a lower learning rate or a larger batch calms it.",
    "little gained": "Little was gained so far: a learning rate two to three times higher would get there sooner.",
}


def _rate(verdict: Verdict) -> str:
    rate: Rate | None = verdict.rate
    if rate is None or rate.hint == "fits":
        return ""
    if rate.why != "early":
        return _WHY[rate.why]
    text = "The minimum came very early in the run: the learning rate is high for this length."
    if rate.factor:
        times = show_rounded(rate.factor, 1)
        text += f" With about {times} times the rate, or far fewer steps, it would be measured better."
    return text
