"""Energy, money and CO2 of a run from its curves: in all, for 1,000 images, and at its end if it goes on like this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.run_data import RunData

#: A course is foreseen from this many steps on; before, loading and the first measurements are most of what was used.
_LEAST_STEPS = 10


@dataclass(frozen=True, slots=True)
class Amount:
    """Energy (kWh), what it costs (in the run's currency) and the CO2 it stands for (grams, 0 where not set)."""

    kwh: float
    cost: float
    co2: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has used so far.

    Attributes:
        kwh: Energy of the GPUs that it works on, and its share of the rest of the machine.
        cost: That energy's price, in `currency`.
        co2_grams: CO2 of that energy; 0 where hardware.co2_per_kwh gives none.
        source: How it was measured, as core.events.Telemetry has it; "none": not at all, and all else is 0 or None.
        per_1000_images: All that was used over the trained pictures that the run has to show for it; None before the
            first one. Loading, caching, measuring, and steps that a resume did again are in it.
        projected: At the last step, if it goes on as in the later half of its steps; None where nothing tells.
    """

    kwh: float = 0.0
    cost: float = 0.0
    currency: str = ""
    co2_grams: float = 0.0
    source: str = "none"
    per_1000_images: Amount | None = None
    projected: Amount | None = None


def spent(data: RunData) -> Spent:
    """What a run has used by its last reading, and will have used at its end."""
    reading = data.telemetry
    if reading is None or (reading.energy_source == "none" and not reading.kwh):
        return Spent(currency=reading.currency if reading else "")
    whole = Amount(reading.kwh, reading.cost, reading.co2_grams)
    images = data.curve("images").values
    each = _times(whole, 1000 / float(images[-1])) if len(images) and images[-1] > 0 else None
    end = _kwh_at_end(data)
    return Spent(
        kwh=whole.kwh,
        cost=whole.cost,
        currency=reading.currency,
        co2_grams=whole.co2,
        source=reading.energy_source,
        per_1000_images=each,
        projected=None if end is None or whole.kwh <= 0 else _times(whole, end / whole.kwh),
    )


def _times(amount: Amount, factor: float) -> Amount:
    return Amount(amount.kwh * factor, amount.cost * factor, amount.co2 * factor)


def _kwh_at_end(data: RunData) -> float | None:
    """Energy at the last step, by the slope over the later half of the steps; None where that is not known.

    Not in proportion to all steps: what was used before the first one (loading, encoding pictures) comes once.
    """
    curve, total = data.curve("kwh"), data.started.total_steps if data.started else 0
    if data.ended is not None and data.ended.state == "finished":
        return float(curve.values[-1]) if len(curve) else None
    if not total or data.last_step < min(_LEAST_STEPS, total) or not len(curve):
        return None
    # Not from before a resume, which goes back in steps but not in energy. Several readings share a step; the last of
    # them is nearest to the next step.
    steps, last = curve.steps, len(curve) - 1
    low = max(data.started.step if data.started else 0, data.last_step / 2)
    first = min(last, int(np.searchsorted(steps, low, side="left")))
    first = int(np.searchsorted(steps, steps[first], side="right")) - 1
    if steps[last] - steps[first] < min(_LEAST_STEPS, total) / 2:
        return None
    slope = float(curve.values[last] - curve.values[first]) / float(steps[last] - steps[first])
    return float(curve.values[last]) + max(0.0, slope) * max(0.0, total - float(steps[last]))


def co2_words(grams: float) -> str:
    """Grams of CO2 for people: "120 g CO2", "3.4 kg CO2"; "" for 0, which means that nobody has set it."""
    if grams <= 0:
        return ""
    return f"{grams:.0f} g CO2" if grams < 1000 else f"{grams / 1000:,.1f} kg CO2"


def taken_words(kwh: float, cost: float | None, co2_grams: float | None, currency: str) -> str:
    """amount_words() of numbers by themselves; None counts as 0."""
    return amount_words(Amount(kwh, cost or 0, co2_grams or 0), currency)


def amount_words(amount: Amount, currency: str) -> str:
    """An amount on one line: "1.24 kWh, 0.37 EUR, 470 g CO2"; small energies in Wh."""
    used = f"{amount.kwh:,.2f} kWh" if amount.kwh >= 0.1 else f"{amount.kwh * 1000:,.3g} Wh"
    money = f"{amount.cost:,.2f}" if amount.cost >= 0.1 or amount.cost == 0 else f"{amount.cost:.2g}"
    return ", ".join(filter(None, (used, f"{money} {currency}".strip(), co2_words(amount.co2))))


def sentences(found: Spent) -> list[str]:
    """What a run has used, one thing a line; [] where nothing measured it."""
    if not found.kwh:
        return []
    said = [f"Energy: {taken_words(found.kwh, found.cost, found.co2_grams, found.currency)}"]
    if found.per_1000_images is not None:
        said.append(f"For 1,000 images: {amount_words(found.per_1000_images, found.currency)}")
    if found.projected is not None and found.projected.kwh > found.kwh:
        said.append(f"At its end: {amount_words(found.projected, found.currency)}")
    return said
