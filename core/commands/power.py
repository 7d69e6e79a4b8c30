"""Look at the GPUs' power limits, set one, or find the one that makes most images of a kilowatt-hour."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from core import demo, presets, runs
from core.commands.train import preset_path
from core.errors import UserError
from core.power import kept, plan
from core.power.find import Search, Trial, set_back
from core.power.job import Job, key_of, shortened
from core.power.kept import Result
from core.power.limits import Card, Limiter, card_of, cards, require_in_range, soon_forgotten
from core.quantities import parse_number
from core.settings import Settings
from core.telemetry import Nvml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[--list] | --limit W | --reset | --find [--preset P | --run RUN] [--set ...] [--limits ...] [--seconds S]."""
    parser.add_argument("--list", action="store_true", help="show limits and what was measured (as without options)")
    parser.add_argument("--gpu", type=int, default=0, metavar="N", help="which GPU, as nvidia-smi counts them")
    parser.add_argument("--limit", metavar="WATTS", help="limit the GPU to so many watts")
    parser.add_argument("--reset", action="store_true", help="give the GPU its default limit")
    parser.add_argument("--find", action="store_true", help="measure a small training under several limits")
    parser.add_argument("--preset", help="train by this preset while measuring, instead of the starter model")
    parser.add_argument("--run", metavar="RUN", help="train by the settings of a run: its folder, name or id")
    parser.add_argument(
        "-s", "--set", action="append", default=[], metavar="group.field=value", help="change a setting"
    )
    parser.add_argument("--limits", metavar="W,W,...", help="watts to try; 'now' is the present limit")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="how long each limit is measured")
    parser.add_argument("--sudo", action="store_true", help="set limits by 'sudo nvidia-smi' (Linux)")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace, nvml: Nvml | None = None) -> int:
    """Do what was asked for; tests give an `nvml` whose driver is a stand-in."""
    asked = [name for name in ("list", "limit", "reset", "find") if getattr(options, name) not in (None, False)]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]} do not go together; give one of them.")
    if options.seconds < 1:
        raise UserError("--seconds: a measurement takes at least a second; 30 is a good length.")
    nvml = nvml or Nvml()
    limiter = Limiter(nvml, options.sudo)
    try:
        _tidy(nvml, limiter)
        if options.find:
            return _find(options, nvml, limiter)
        if options.limit is not None or options.reset:
            return _set(options, nvml, limiter)
        return _list(options.json, nvml)
    finally:
        nvml.close()


def _tidy(nvml: Nvml, limiter: Limiter) -> None:
    """First set back what a killed measurement left; where that is forbidden, say so and go on."""
    try:
        for line in set_back(nvml, limiter):
            print(line, file=sys.stderr)
    except UserError as error:
        print(f"A measurement was killed and left a limit behind. {error}", file=sys.stderr)


def _list(as_json: bool, nvml: Nvml) -> int:
    rows = [(card, kept.latest(card.uuid)) for card in cards(nvml)]
    if as_json:
        shown = [{**asdict(card), "measured": document(result) if result else None} for card, result in rows]
        print(json.dumps({"gpus": shown, "why_not": nvml.why_not}))
        return 0
    if not rows:
        print(f"There is no power limit to show: {nvml.why_not or 'there is no NVIDIA GPU'}.")
    for card, result in rows:
        print(_card_line(card))
        if result is not None:
            print("\n".join(f"    {line}" for line in table(result)))
    return 0


def _card_line(card: Card) -> str:
    if not card.has_limit:
        return f"GPU {card.index}  {card.name}: no power limit that a program could set"
    return (
        f"GPU {card.index}  {card.name}: {card.limit_watts:.0f} W of {card.default_watts:.0f} W by default, "
        f"{card.least_watts:.0f} to {card.most_watts:.0f} W possible"
    )


def _set(options: argparse.Namespace, nvml: Nvml, limiter: Limiter) -> int:
    """Set a limit; {"gpu", "former_watts", "limit_watts"} with --json."""
    if kept.measuring_pid() is not None:
        raise UserError("A measurement sets the limits of its own now; wait until it is done.")
    card = card_of(nvml, options.gpu)
    watts = card.default_watts if options.reset else _watts(options.limit)
    require_in_range(card, watts)
    holds = limiter.set(card, watts)
    if options.json:
        print(json.dumps({"gpu": card.index, "former_watts": card.limit_watts, "limit_watts": holds}))
    else:
        print(
            f"GPU {card.index} ({card.name}): {holds:.0f} W (before: {card.limit_watts:.0f} W), until the next restart."
        )
    if not card.persistent:
        print(soon_forgotten(card), file=sys.stderr)
    return 0


def _watts(text: str) -> float:
    try:
        return parse_number(text)
    except ValueError as error:
        raise UserError(f"--limit: {error}. Write watts: --limit 250.") from None


def _find(options: argparse.Namespace, nvml: Nvml, limiter: Limiter) -> int:
    """Measure; the document of the result with --json."""
    card = card_of(nvml, options.gpu)
    settings, name = _training(options.preset, options.run, options.set)
    if settings.hardware.device == "cpu":
        raise UserError("hardware.device is cpu: a training on the processor does not feel the power limit of a GPU.")
    limits = plan.parse_limits(options.limits, card) if options.limits else plan.limits_to_try(card)
    short = shortened(settings)
    rest = settings.hardware.rest_watts
    result = Result(card.uuid, card.name, name, key_of(short), rest, card.default_watts)
    search = Search(nvml, limiter, say=lambda line: print(line, file=sys.stderr, flush=True))
    found = search.run(Trial(card, limits, options.seconds), lambda: Job(short, card), result)
    print(json.dumps(document(found)) if options.json else "\n".join(table(found)))
    return 0


def _training(preset: str | None, run_name: str | None, changes: Sequence[str]) -> tuple[Settings, str]:
    """(settings of the training that is measured, what it is called)."""
    if preset and run_name:
        raise UserError("Give either --preset or --run, not both.")
    if run_name:
        found = runs.find(run_name)
        settings, name = found.settings(), found.name
    else:  # the small model that ships with Burnish tells little of a large card, but needs nothing
        path = preset_path(preset) if preset else demo.PRESET
        settings, name = presets.load(path, []), path.stem
    if changes:
        settings = presets.build({**presets.flat(settings), **presets.parse_changes(list(changes))}, "--set")
    return settings, name


def document(result: Result) -> dict[str, Any]:
    """A result as JSON has it, with what is chosen."""
    found = plan.choose(result.rows, result.rest_watts)
    rows = [
        {
            **asdict(row),
            "images_per_kwh": row.images_per_kwh(result.rest_watts),
            "images_per_kwh_card": row.images_per_kwh(),
        }
        for row in result.rows
    ]
    chosen = asdict(found) if found else None
    return {**asdict(result), "rows": rows, "choice": chosen, "text": plan.sentence(result.rows, result.rest_watts)}


def table(result: Result) -> list[str]:
    """A result for people."""
    rest = f", with {result.rest_watts:.0f} W for the rest of the machine" if result.rest_watts else ""
    said = [f"Measured with '{result.job}'{rest}:", "  limit     images/s      power    images per kWh"]
    for row in result.rows:
        said.append(
            f"  {row.limit_watts:4.0f} W  {row.images_per_second:10.2f}  {row.watts:7.0f} W  "
            f"{row.images_per_kwh(result.rest_watts):16,.0f}"
        )
    return [*said, plan.sentence(result.rows, result.rest_watts)]
