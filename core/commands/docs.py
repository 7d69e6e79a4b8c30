"""Make the reference of all settings from their declarations (--check: fail when it is stale)."""

from __future__ import annotations

import argparse
import sys

from core import atomic
from core.paths import RESOURCES
from core.reference import reference

_PATH = RESOURCES / "docs" / "settings.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--check."""
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 when the file is stale")


def run(options: argparse.Namespace) -> int:
    """Write or compare resources/docs/settings.md."""
    text = reference()
    if not options.check:
        atomic.write_text(_PATH, text)
        return 0
    if _PATH.exists() and _PATH.read_text(encoding="utf-8") == text:
        return 0
    print(f"{_PATH} is stale; run 'python3 main.py docs' and commit it.", file=sys.stderr)
    return 1
