"""Train by a preset, or go on with a run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from core import checks, energy, presets, runs
from core.effects import effects
from core.errors import UserError
from core.launch import MEETING_PLACE, launch_lines
from core.paths import resolve
from core.runs import Run
from core.terminal import run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PRESET.toml [--set key=value]... [--run DIR] | --resume RUN; [--print-launch [--machines N]]."""
    parser.add_argument("preset", nargs="?", help="a preset file, or the name of a built-in preset")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--run", type=Path, metavar="DIR", help="make DIR the run's folder")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run: its folder, name or id")
    parser.add_argument("--print-launch", action="store_true", help="make the run and print how to start it elsewhere")
    parser.add_argument("--machines", type=int, default=1, metavar="N", help="for --print-launch: on so many machines")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end, and nothing else")


def preset_path(text: str) -> Path:
    """The file of a preset given as a path or as the name of a built-in one."""
    path = resolve(text)
    if path.exists() or path.suffix == ".toml":
        return path
    builtin = presets.builtin()
    if text in builtin:
        return builtin[text].path or path
    guess = presets.nearest(text, builtin)
    hint = f" Did you mean '{guess}'?" if guess else f" Built-in ones: {', '.join(builtin)}."
    raise UserError(f"There is no preset '{text}'.{hint}")


def _to_resume(name: str, changes: list[str]) -> Run:
    """The run that is to go on, with its settings changed; UserError when it cannot."""
    found = runs.find(name)
    if found.facts()["kind"] != "train":
        raise UserError(f"{found.path} is not a training run, so it cannot go on.")
    if found.worker_pid() is not None:
        raise UserError(f"{found.path}: another worker is at this run already. Wait for it or stop it.")
    settings = found.settings()
    if changes:
        settings = presets.build({**presets.flat(settings), **presets.parse_changes(changes)}, "--set")
    checks.require_startable(settings, goes_on=bool(found.states()))
    if changes:
        lines = effects(presets.flat(found.settings()), presets.flat(settings))
        print("\n".join(lines) or "Nothing changes: the run has these settings already.", file=sys.stderr)
        presets.freeze(found.settings_path, runs.freeze_paths(settings))
    return found


def run(options: argparse.Namespace) -> int:
    """Start or go on; prints {"run", "state", "step"} with --json."""
    if bool(options.preset) == bool(options.resume):
        raise UserError("Give either a preset or --resume RUN.")
    if options.machines < 1 or (options.machines > 1 and not options.print_launch):
        raise UserError("--machines N goes with --print-launch, and N is 1 or more: each machine starts its own part.")
    if options.resume:
        if options.run:
            raise UserError("--run is for a new run; one that goes on stays in its folder. Leave --run out.")
        found = _to_resume(options.resume, options.set)
    else:
        path = preset_path(options.preset)
        settings = presets.load(path, options.set)
        checks.require_startable(settings)
        found = runs.create(settings, options.run, preset=path.stem)
    if options.print_launch:
        return _print_launch(found, options.machines, options.json)
    code, data = run_worker("train", found, quiet=options.json)
    state, step = found.state()
    if options.json:
        print(json.dumps({"run": str(found.path), "state": state, "step": step}))
    elif code == 0:
        print(f"{state.capitalize()} at step {step:,}. The run is in {found.path}")
        print("".join(f"{line}\n" for line in energy.sentences(energy.spent(data))), end="")
    return code


def _print_launch(found: Run, machines: int, as_json: bool) -> int:
    """Print the lines that start a run by hand; {"run", "launch", "machines"} with --json. Starts nothing."""
    lines = launch_lines(found.path, found.settings().hardware.processes, machines)
    if as_json:
        print(json.dumps({"run": str(found.path), "launch": lines, "machines": machines}))
        return 0
    if machines > 1:
        place = MEETING_PLACE.partition(":")[0]
        print(
            f"# On each of the {machines} machines, with the address of the first one for {place}. The run, the",
            file=sys.stderr,
        )
        print(
            "# pictures, the model and hardware.cache_folder must be on a disk that all of them see.", file=sys.stderr
        )
    print("\n".join(lines))
    return 0
