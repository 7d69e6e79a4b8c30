"""Will it fit: memory, disk, time and energy of a preset before anything starts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core import presets
from core.commands.train import preset_path
from core.energy import taken_words
from core.errors import UserError
from core.quantities import parse_number, show_bytes, show_number, show_share

if TYPE_CHECKING:
    from core.data.report import Report
    from core.estimate.report import Estimate
    from core.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PRESET.toml [--set key=value]... [--gpu-memory 24GiB]."""
    parser.add_argument("preset", help="a preset file, or the name of a built-in preset")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--gpu-memory", metavar="24GiB", help="look for changes after which a card of this size does")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Print the estimate; the status is 0 whether it fits or not."""
    from core.estimate.report import estimate

    card = _card_bytes(options.gpu_memory) if options.gpu_memory else None
    settings = presets.load(preset_path(options.preset), options.set)
    report = look_at_pictures(settings)
    per_step = settings.training.accumulation * settings.hardware.processes
    found = estimate(
        settings,
        report.train if report else None,
        report.steps_per_epoch * per_step if report else None,
        cached_pictures=report.train + report.validation if report else None,
        card_bytes=card,
    )
    measured = _power_limits(settings)
    if options.json:
        print(json.dumps({**found.to_json(), "power_limits": measured}))
    else:
        print("\n".join([*lines(found, settings, card), *(f"{row['gpu']}: {row['text']}" for row in measured)]))
    return 0


def _power_limits(settings: Settings) -> list[dict[str, Any]]:
    """What 'power --find' measured with a training like this one, for each kind of card."""
    from core.power import kept, plan
    from core.power.job import key_of

    key = key_of(settings)
    return [
        {
            "gpu": result.name,
            **asdict(chosen),
            "text": plan.sentence(result.rows, result.rest_watts),
        }
        for result in kept.results()
        if result.key == key and (chosen := plan.choose(result.rows, result.rest_watts))
    ]


def _card_bytes(text: str) -> float:
    """Bytes of a card; a plain number means GiB, as cards are sold."""
    try:
        number = parse_number(text)
    except ValueError as error:
        raise UserError(f"--gpu-memory: {error}.") from None
    number *= 2**30 if number <= 1024 else 1
    if number < 2**30:
        raise UserError(f"--gpu-memory {text}: a card has more memory than that; write it like 24GiB.")
    return number


def look_at_pictures(settings: Settings) -> Report | None:
    """The report of the preset's pictures; None when it names none."""
    if not settings.data.folders:
        return None
    from core.data.report import make_report
    from core.data.scanning import open_index, scan

    with open_index(settings) as index:
        scan(settings, index)
        return make_report(index, settings)


def lines(found: Estimate, settings: Settings, card: float | None) -> list[str]:
    """The estimate for people."""
    where = "GPU" if found.device == "cuda" else "processor"
    each = f" on each of {found.processes} {where}s" if found.processes > 1 else f" on the {where}"
    said = [
        f"Trained      {found.trained:,} of {found.weights:,} weights, {show_share(found.trainable_share, 1)}",
        f"Memory       {show_bytes(found.memory.total)}{each}, most of all while {found.memory.phase}",
        *(f"  {name:<18} {show_bytes(count):>10}" for name, count in found.memory.components.items()),
        f"Fits         {', '.join(f'{size} GB: {_yes(does)}' for size, does in found.fits.items())}",
        f"RAM          {show_bytes(found.ram_bytes)}",
        f"Disk         {show_bytes(found.disk_bytes)}",
        f"Steps        {show_number(found.steps) if found.steps else 'not set'}",
        *_time_lines(found, settings),
    ]
    if found.factor != 1.0:
        said.append(f"Earlier runs here needed {found.factor:.2f} times what was counted for activations and overhead.")
    return [*said, *_change_lines(found, card)]


def _time_lines(found: Estimate, settings: Settings) -> list[str]:
    if found.hours is None:
        return ["Time         unknown until a run of this kind was made here, or its length is set"]
    said = [f"Time         {found.hours:.2f} h, by the speed of '{found.speed_from}'"]
    if found.kwh is not None:
        taken = taken_words(found.kwh, found.cost, found.co2_grams, settings.hardware.currency)
        said.append(f"Energy       {taken}")
    return said


def _change_lines(found: Estimate, card: float | None) -> list[str]:
    from core.estimate.report import fits_card

    if card is not None and fits_card(found, card):
        return [f"A card with {show_bytes(card)} is enough."]
    if card is not None:
        head = f"A card with {show_bytes(card)} is not enough. It would be with:"
        if not found.changes:
            return [f"A card with {show_bytes(card)} is not enough, and no change that is known here helps."]
    else:
        head = "What would save memory, the cheapest first:"
    said = [head] if found.changes else []
    for change in found.changes:
        what = ", ".join(f"{key} = {_toml(value)}" for key, value in change.settings.items())
        said.append(f"  {what}: {show_bytes(change.saves_bytes)} less ({change.price})")
    return said


def _yes(does: bool) -> str:
    return "yes" if does else "no"


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
