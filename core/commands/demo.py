"""The main job on the starter model and pictures, from nothing to a grid."""

from __future__ import annotations

import argparse
import json

from core.demo import run_demo
from core.screen import has_screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[--no-window] [--json]."""
    parser.add_argument("--no-window", action="store_true", help="do it in the terminal")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end (with --no-window)")


def run(options: argparse.Namespace) -> int:
    """In the window where there is a screen, else in the terminal."""
    if not options.no_window and not options.json and has_screen():
        return int(options.windows["demo"](options.set))
    run, grid, code = run_demo(options.set, quiet=options.json)
    state = run.state()[0]
    if options.json:
        print(json.dumps({"run": str(run.path), "grid": str(grid) if grid else "", "state": state}))
    elif code == 0 and grid:
        print(f"Done. The run, its checkpoints and samples: {run.path}")
        print(f"The grid of its checkpoints: {grid}")
        print("Look at both in the window: python3 main.py")
    return code
