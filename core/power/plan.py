"""Which power limits to try, and which of the measured ones to choose; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import UserError
from core.power.limits import Card, require_in_range
from core.quantities import parse_number, show_share

#: Limits that are tried unless they are named, the least and the default among them.
_COUNT = 6
#: They are multiples of so many watts, but for the ends.
_STEP = 5
#: What a limit may cost in speed to count as nearly free.
SLACK = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """How a training ran under a limit: `images` in `seconds`, and the card's mean power in watts."""

    limit_watts: float
    images_per_second: float
    watts: float
    images: int = 0
    seconds: float = 0.0

    def images_per_kwh(self, rest_watts: float = 0.0) -> float:
        """Images for a kilowatt-hour of the card, or of the whole machine with the power of its rest."""
        power = self.watts + rest_watts
        return self.images_per_second * 3.6e6 / power if power > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Limits in watts.

    Attributes:
        best: Most images for a kWh of the whole machine (of the card, where the rest of the machine is not known): a
            slow card lets the rest wait, so this lies higher than the card's own best.
        best_for_card: Most images for a kWh of the card.
        nearly_free: Most images for a kWh of the whole machine among those that cost at most 5 % of the speed.
    """

    best: float
    best_for_card: float
    nearly_free: float


def limits_to_try(card: Card, count: int = _COUNT) -> list[float]:
    """Limits from the least to the default, evenly spaced."""
    low, high = card.least_watts, max(card.default_watts, card.least_watts)
    between = [low + (high - low) * place / (count - 1) for place in range(1, count - 1)]
    return sorted({low, *(float(_STEP * round(watts / _STEP)) for watts in between), high})


def parse_limits(text: str, card: Card) -> list[float]:
    """Watts from "200,250,300"; "now" is the present limit. UserError for what the card cannot have."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            watts = card.limit_watts if part == "now" else parse_number(part)
        except ValueError as error:
            raise UserError(f"--limits: {error}. Write watts with commas between: 200,250,300.") from None
        require_in_range(card, watts)
        found.append(watts)
    if not found:
        raise UserError("--limits: name at least one limit in watts: 200,250,300.")
    return sorted(set(found))


def choose(rows: Sequence[Measured], rest_watts: float = 0.0) -> Choice | None:
    """The limits to choose; None where nothing was measured. Of equal ones the lower, which is cooler and quieter."""
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row.limit_watts)
    fastest = max(row.images_per_second for row in ordered)
    quick = [row for row in ordered if row.images_per_second >= (1 - SLACK) * fastest]
    return Choice(
        best=max(ordered, key=lambda row: row.images_per_kwh(rest_watts)).limit_watts,
        best_for_card=max(ordered, key=lambda row: row.images_per_kwh()).limit_watts,
        nearly_free=max(quick, key=lambda row: row.images_per_kwh(rest_watts)).limit_watts,
    )


def sentence(rows: Sequence[Measured], rest_watts: float = 0.0) -> str:
    """What was found, for people; "" where nothing was measured."""
    found = choose(rows, rest_watts)
    if found is None:
        return ""
    by_limit = {row.limit_watts: row for row in rows}
    top = by_limit[max(by_limit)]
    if len(by_limit) == 1:
        return f"Only {top.limit_watts:.0f} W was measured; with other limits it can be compared."
    said = [_compared("Most images for a kWh", by_limit[found.best], top, rest_watts)]
    if found.nearly_free != found.best:
        said.append(_compared("Nearly free of loss", by_limit[found.nearly_free], top, rest_watts))
    if found.best_for_card != found.best:
        said.append(f"The card alone would be best at {found.best_for_card:.0f} W.")
    return " ".join(said)


def _compared(name: str, row: Measured, top: Measured, rest_watts: float) -> str:
    """One limit against the highest that was measured."""
    if row is top:
        return f"{name}: {row.limit_watts:.0f} W, the highest limit measured."
    more = row.images_per_kwh(rest_watts) / max(1e-12, top.images_per_kwh(rest_watts)) - 1
    speed = row.images_per_second / max(1e-12, top.images_per_second)
    return (
        f"{name}: {row.limit_watts:.0f} W, {show_share(more, sign=True)} images per kWh at {show_share(speed)} of "
        f"the speed of {top.limit_watts:.0f} W."
    )
