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


def worker_environment() -> dict[str, str]:
    """The environment of a worker: no hub look-ups; threads that sleep at barriers when another process has the core.

    GNU OpenMP spins at its barriers, which makes two torch threads many times slower beside a busy window.
    """
    environment = dict(os.environ)
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    environment["HF_HUB_OFFLINE"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH", "")) if p)
    return environment


def distributed_command(run_path: Path, processes: int, on_cpu: bool) -> list[str]:
    """The accelerate launch line of a run on several GPUs (or CPU processes); shown to the user, who may copy it."""
    device = ["--cpu"] if on_cpu else ["--multi_gpu"]
    return [
        sys.executable,
        *("-m", "accelerate.commands.launch"),
        *device,
        *("--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", "0"),
        *("-m", "core.worker", "train", str(run_path)),
    ]
