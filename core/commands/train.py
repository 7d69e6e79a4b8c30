"""Train by a preset, or go on with a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from core import checks, presets, runs
from core.errors import UserError
from core.terminal import run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PRESET.toml [--set key=value]... [--run DIR] | --resume RUN."""
    parser.add_argument("preset", nargs="?", help="a preset file, or the name of a built-in preset")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--run", type=Path, metavar="DIR", help="make DIR the run's folder")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run: its folder, name or id")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end, and nothing else")


def preset_path(text: str) -> Path:
    """The file of a preset given as a path or as the name of a built-in one."""
    path = Path(text).expanduser()
    if path.exists() or path.suffix == ".toml":
        return path
    builtin = presets.builtin()
    if text in builtin:
        return builtin[text].path or path
    guess = presets.nearest(text, builtin)
    hint = f" Did you mean '{guess}'?" if guess else f" Built-in ones: {', '.join(builtin)}."
    raise UserError(f"There is no preset '{text}'.{hint}")


def run(options: argparse.Namespace) -> int:
    """Start or go on; prints {"run", "state", "step"} with --json."""
    if bool(options.preset) == bool(options.resume):
        raise UserError("Give either a preset or --resume RUN.")
    if options.resume:
        found = runs.find(options.resume)
        if options.set:
            settings = found.settings()
            values = {**presets.flat(settings), **presets.parse_changes(options.set)}
            presets.freeze(found.settings_path, presets.build(values, "--set"))
    else:
        path = preset_path(options.preset)
        settings = presets.load(path, options.set)
        checks.require_startable(settings)
        found = runs.create(settings, options.run, preset=path.stem)
    code, _ = run_worker("train", found, quiet=options.json)
    state, step = found.state()
    if options.json:
        print(json.dumps({"run": str(found.path), "state": state, "step": step}))
    elif code == 0:
        print(f"{state.capitalize()} at step {step:,}. The run is in {found.path}")
    return code
