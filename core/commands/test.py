"""Run the whole test suite; all arguments go to pytest."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from core.launch import worker_environment
from core.paths import ROOT

#: All arguments are pytest's.
RAW = True


def run(options: argparse.Namespace) -> int:
    """pytest in this environment, without a screen unless one is wished for."""
    environment = worker_environment()
    if not os.environ.get("BURNISH_TEST_SCREEN"):
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    command = [sys.executable, "-m", "pytest", *options.rest]
    return subprocess.call(command, cwd=ROOT, env=environment)
