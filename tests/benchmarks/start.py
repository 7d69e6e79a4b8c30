"""What the bootstrap adds to a start with everything in place: main.py by a bare Python, and without the bootstrap."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from core.paths import ROOT
from tests.benchmarks.common import Figure

_ROUNDS = 7
_GOAL = 0.3


def run() -> dict[str, Figure]:
    """The medians of both ways to the same answer, and their difference."""
    arguments = [str(ROOT / "main.py"), "--help"]
    bare = getattr(sys, "_base_executable", sys.executable)
    through, direct = [], []
    for _ in range(_ROUNDS):  # by turns, so that a busy moment meets both
        through.append(_seconds([bare, *arguments]))
        direct.append(_seconds([sys.executable, "-c", _DIRECT]))
    first, second = statistics.median(through), statistics.median(direct)
    added = first - second
    return {
        "start_through_bootstrap": Figure(first, "s", "-", True),
        "start_in_the_environment": Figure(second, "s", "-", True),
        "added_by_bootstrap": Figure(added, "s", f"< {_GOAL}", added < _GOAL),
    }


#: The same help, without the bootstrap.
_DIRECT = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from core.cli import run; sys.exit(run(['--help'], {{}}))"


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
