"""Draw every page of the window with a real run in it, as PNG files."""

from __future__ import annotations

import argparse
from pathlib import Path

from core import runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """OUT_DIR [--theme light|dark] [--run RUN]."""
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--theme", choices=["light", "dark"], default="light")
    parser.add_argument("--run", help="the run to show (default: the newest one; one is made when there is none)")


def run(options: argparse.Namespace) -> int:
    """Draw and print the paths."""
    from core.demo import example_run

    shown = runs.find(options.run) if options.run else example_run()
    for path in options.windows["screenshots"](options.out, options.theme, shown.path):
        print(path)
    return 0
