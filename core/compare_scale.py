"""Curves of several runs laid over one of them by scaling x, beside what the square-root rule foretells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.coincide import Match, coincide, exponent
from core.compare import Compared, Difference, line
from core.errors import UserError
from core.run_data import Floats

#: Longer curves are averaged to so many points first: the search asks for thousands of comparisons.
_MOST_POINTS = 1000


@dataclass(frozen=True)
class Laid:
    """One run against the reference.

    Attributes:
        match: How its curve lies there; None for the reference itself and where it cannot be said.
        scale: What its x is multiplied by to be drawn there (1 for the reference).
        foretold: The factor that the square-root rule gives; None where rate or batch is not known.
        agrees: Whether the curve lies on the reference with the foretold factor too.
        problem: Why there is no match.
    """

    run: str
    match: Match | None
    scale: float
    foretold: float | None
    agrees: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Rule:
    """scale = constant * value^power over the runs, for a setting in which they differ."""

    key: str
    label: str
    power: float
    error: float


def lay_over(runs: Sequence[Compared], metric: str, axis: str, reference: int = 0) -> list[Laid]:
    """Every run laid over the reference. UserError for fewer than two runs, or a reference without a curve."""
    if len(runs) < 2:
        raise UserError("Only several curves can be laid over each other; choose two runs or more.")
    ground = _curve(runs[reference], metric, axis)
    if len(ground[0]) < 5:
        raise UserError(f"{runs[reference].label} has too few points of this curve to lay others over it.")
    found = []
    for place, run in enumerate(runs):
        told = foretold(runs[reference], run, axis)
        if place == reference:
            found.append(Laid(run.id, None, 1.0, 1.0))
            continue
        try:
            x, y = _curve(run, metric, axis)
            (match,) = coincide([ground, (x, y)])
            agrees = told is not None and coincide([ground, (x * told, y)])[0].coincides_unscaled
            found.append(Laid(run.id, match, match.scale, told, agrees))
        except UserError as error:
            found.append(Laid(run.id, None, 1.0, told, problem=str(error)))
    return found


def foretold(reference: Compared, run: Compared, axis: str) -> float | None:
    """The factor by which the square-root rule lets a run's x be scaled to the reference's.

    With Adam the progress of a step goes with rate * sqrt(batch): the step has the length of the rate, and the share of
    it that is signal and not noise grows with sqrt(batch) (Malladi et al. 2022). An axis other than steps is brought
    in by what each run has of it in a step.
    """
    mine, theirs = run.result, reference.result
    if not (mine.rate and theirs.rate) or bool(mine.batch) != bool(theirs.batch):
        return None
    # Imported runs of a sweep over rates do not say their batch: it is the same.
    scale = (mine.rate / theirs.rate) * math.sqrt((mine.batch or 1) / (theirs.batch or 1))
    a_step = [_a_step(one, axis) for one in (reference, run)]
    return scale * a_step[0] / a_step[1] if min(a_step) > 0 else None


def rules(found: Sequence[Laid], varied: Sequence[Difference]) -> list[Rule]:
    """With which power of each numeric setting the factors go; settings with fewer than three usable runs are left."""
    made = []
    for one in varied:
        if not one.is_number:
            continue
        pairs = [
            (float(one.values[place]), laid.scale)
            for place, laid in enumerate(found)
            if not laid.problem and one.values[place] and float(one.values[place]) > 0
        ]
        if len({value for value, _ in pairs}) < 3:
            continue
        power, error = exponent([value for value, _ in pairs], [scale for _, scale in pairs])
        made.append(Rule(one.key, one.label, power, error))
    return made


def words(found: Sequence[Laid], told: Sequence[Rule]) -> list[str]:
    """What the factors say, in sentences."""
    matches = [laid.match for laid in found if laid.match is not None]
    if not matches:
        return ["None of these curves could be laid over the first one."]
    together = sum(match.coincides for match in matches)
    plain = sum(match.coincides_unscaled for match in matches)
    of = f"{len(matches)} curves" if len(matches) > 1 else "the other curve"
    if plain == len(matches):
        said = ["They coincide as they are: no scaling is needed."]
    elif together == len(matches):
        said = [f"Scaled, {'all ' if len(matches) > 1 else ''}{of} coincide with the first: only noise is left."]
    else:
        differ = "the others differ" if together else "they differ"
        said = [f"Scaled, {together} of {len(matches)} coincide with the first; {differ} by more than their noise."]
    for rule in told:
        off = f" ± {2 * rule.error:.2f}" if math.isfinite(rule.error) else ""
        said.append(f"The factor goes with ({rule.label})^{rule.power:.2f}{off}: {_power_words(rule)}.")
    known = [laid for laid in found if laid.match is not None and laid.foretold is not None]
    if known:
        right = sum(laid.agrees for laid in known)
        said.append(f"With the factors that the square-root rule foretells, {right} of {len(known)} coincide.")
    return said


def _power_words(rule: Rule) -> str:
    """What a power means."""
    near = {0.0: "it hardly depends on it", 0.5: "with its square root", 1.0: "in proportion", -1.0: "inversely"}
    wide = max(0.1, 2 * rule.error if math.isfinite(rule.error) else 0.0)
    found = min(near, key=lambda power: abs(power - rule.power))
    if abs(found - rule.power) <= wide:
        return near[found]
    return "more than in proportion" if rule.power > 1 else "neither in proportion nor with the square root"


def _curve(run: Compared, metric: str, axis: str) -> tuple[Floats, Floats]:
    """(x, y) in the unit of the axis, of a bearable length."""
    steps, values = line(run.data, metric)
    x, y = run.data.x_of(steps, axis), values
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    many = -(-len(x) // _MOST_POINTS)
    if many <= 1:
        return x, y
    whole = len(x) // many * many
    return x[:whole].reshape(-1, many).mean(axis=1), y[:whole].reshape(-1, many).mean(axis=1)


def _a_step(run: Compared, axis: str) -> float:
    """What a run has of an axis in one step."""
    last = float(run.data.last_step)
    if axis == "step" or not last:
        return 1.0
    return float(run.data.x_of(np.array([last]), axis)[0]) / last
