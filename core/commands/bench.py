"""Measure one of the project's numbers; bench --list names them."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
from dataclasses import asdict

from core.errors import UserError
from core.paths import ROOT

_FOLDER = ROOT / "tests" / "benchmarks"
_NOT_BENCHMARKS = ("__init__", "common", "features")


def names() -> list[str]:
    """Names of the benchmarks."""
    return sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem not in _NOT_BENCHMARKS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME | --list."""
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Measure and print {"name", "figures", "machine"}; the status is 0 even where a figure falls short."""
    if options.list:
        print("\n".join(names()))
        return 0
    if options.name not in names():
        missing = f"There is no benchmark '{options.name}'. " if options.name else ""
        raise UserError(f"{missing}Choose one of {', '.join(names())}.")
    sys.path.insert(0, str(ROOT))
    figures = importlib.import_module(f"tests.benchmarks.{options.name}").run()
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        plain = {name: asdict(figure) for name, figure in figures.items()}
        print(json.dumps({"name": options.name, "figures": plain, "machine": machine}))
    else:
        for name, figure in figures.items():
            mark = "holds" if figure.holds else "FALLS SHORT"
            print(f"{name:<40} {figure.value:>10.4g} {figure.unit:<8} goal {figure.goal:<10} {mark}")
    return 0
