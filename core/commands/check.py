"""Lint, types, import contracts and stale docs, one after the other; stops at nothing and sums up."""

from __future__ import annotations

import argparse
import subprocess
import sys

from core.launch import worker_environment
from core.paths import ROOT

_CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "import contracts": ["importlinter.cli"],
    "docs": [],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing."""


def run(options: argparse.Namespace) -> int:
    """Status 1 when one of them fails."""
    failed = []
    for name, arguments in _CHECKS.items():
        if name == "docs":
            command = [sys.executable, "main.py", "docs", "--check"]
        elif name == "import contracts":
            command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as c; c()"]
        else:
            command = [sys.executable, "-m", *arguments]
        print(f"== {name}", flush=True)
        if subprocess.call(command, cwd=ROOT, env=worker_environment()):
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all checks pass")
    return 1 if failed else 0
