"""How a worker process is started: one command line and environment for the window, the terminal and several GPUs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from core.paths import ROOT
from core.runs import Kind


def worker_command(kind: Kind, run_path: Path) -> list[str]:
    """Program and arguments of the worker of a run."""
    return [sys.executable, "-m", "core.worker", kind, str(run_path)]


def worker_environment(beside_window: bool = False) -> dict[str, str]:
    """The environment of a worker: no hub look-ups, and a core for the window beside it.

    torch's threads wait for each other at barriers, which makes all of them many times slower when a window takes one
    of their cores.
    """
    environment = dict(os.environ)
    if beside_window:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    environment["HF_HUB_OFFLINE"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH", "")) if p)
    return environment


def distributed_command(run_path: Path, processes: int) -> list[str]:
    """The line that starts a run on several GPUs (or CPU processes); shown to the user, who may copy it to a server.

    torchrun starts the processes; each of them finds its place by accelerate.
    """
    return [
        sys.executable,
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)),
        *("-m", "core.worker", "train", str(run_path)),
    ]
