"""Run the tests, the whole suite on two cores or more at once; all arguments go to pytest."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from core.launch import worker_environment
from core.paths import ROOT

#: All arguments are pytest's.
RAW = True
#: Processes that share the whole suite, at most: each loads torch, and a window's test needs a core to answer on.
_MOST_PROCESSES = 4


def run(options: argparse.Namespace) -> int:
    """pytest in this environment, without a screen unless one is wished for."""
    environment = worker_environment()
    if not os.environ.get("BURNISH_TEST_SCREEN"):
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    command = [sys.executable, "-m", "pytest", *_shared(environment, options.rest)]
    return subprocess.call(command, cwd=ROOT, env=environment)


def _shared(environment: dict[str, str], arguments: list[str]) -> list[str]:
    """pytest's arguments; without any, the files of the suite are shared out to several processes.

    Each process gets its part of the cores: threads of torch that wait for each other on a core that is taken make a
    step ten times as long.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = min(cores, _MOST_PROCESSES)
    if arguments or processes < 2:
        return arguments
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    return ["-n", str(processes), "--dist", "loadfile"]
