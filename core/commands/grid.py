"""Draw a grid of pictures from checkpoints, as GRID.toml says."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from core import grid_job
from core.terminal import run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """GRID.toml [--set key=value]... [--out DIR]."""
    parser.add_argument("file", type=Path, help="the grid's settings")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--out", type=Path, metavar="DIR", help="make DIR the job's folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Draw; prints {"grid", "cells"} with --json."""
    settings = grid_job.load(options.file, tuple(options.set))
    job = grid_job.create(settings, folder=options.out)
    code, data = run_worker("grid", job, quiet=options.json)
    paths = [str(job.path / made.path) for made in data.grids]
    if options.json:
        cells = [{"path": str(job.path / c.path), "x": c.x, "y": c.y, "z": c.z, "seed": c.seed} for c in data.cells]
        print(json.dumps({"grid": paths[0] if paths else "", "cells": cells}))
    elif paths:
        print("\n".join(paths))
    return code
