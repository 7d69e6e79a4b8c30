"""How a worker process is started: one command line and environment for the window, the terminal and several GPUs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.paths import ROOT
from core.runs import Kind

#: No hub look-ups, and no warning of forked tokenizers.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
#: Variable of a worker's environment that names a process (core.processes.own_name) with which it ends, at once.
END_WITH = "BURNISH_END_WITH"
#: glibc's malloc asks Linux for large pages: a step on a processor meets a fifteenth of the page faults.
_LARGE_PAGES = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
#: Stands in a launch line for the address of the first machine, and the port at which the others find it.
MEETING_PLACE = "FIRST_MACHINE:29500"


def worker_command(kind: Kind, run_path: Path) -> list[str]:
    """Program and arguments of the worker of a run."""
    return [sys.executable, "-m", "core.worker", kind, str(run_path)]


def worker_environment(beside_window: bool = False) -> dict[str, str]:
    """The environment of a worker: no hub look-ups, large pages, and a core for the window beside it.

    torch's threads wait for each other at barriers, which makes all of them many times slower when a window takes one
    of their cores.
    """
    environment = dict(os.environ)
    if beside_window:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
    environment.update(OFFLINE)
    environment.setdefault(*_LARGE_PAGES)
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH", "")) if p)
    return environment


class Detached(subprocess.Popen[bytes]):
    """A process that is meant to outlive this object, so that its end without having been waited for is no warning."""

    def __del__(self) -> None:
        """Leave the process alone."""
        self.returncode = self.returncode if self.returncode is not None else 0
        super().__del__()


def start_detached(command: list[str], environment: Mapping[str, str], console: Path) -> Detached:
    """Start a process in a session of its own, which outlives this one, with its output at the end of a file.

    Not by QProcess: PySide6 keeps the process number of startDetached() to itself, and without it nobody can tell a
    worker that died at once from one that is still loading. OSError when it cannot be started.
    """
    alone: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        alone = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    with console.open("ab") as output:
        return Detached(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            close_fds=True,
            **alone,
        )


def distributed_command(run_path: Path, processes: int, machines: int = 1, program: str = sys.executable) -> list[str]:
    """The line that starts a run on several GPUs (or CPU processes), to be given on each of the machines.

    torchrun starts `processes` on each machine; machines find each other at the meeting place, which must be filled in.
    """
    meeting = ["--standalone"]
    if machines > 1:
        meeting = ["--nnodes", str(machines), "--rdzv_backend", "c10d", "--rdzv_endpoint", MEETING_PLACE]
        meeting += ["--rdzv_id", run_path.name]
    return [
        program,
        *("-m", "torch.distributed.run", *meeting, "--nproc_per_node", str(processes)),
        *("--signals-to-handle", "SIGTERM"),  # of a ctrl-C it would end all; rank 0 hears it itself and saves
        *("-m", "core.worker", "train", str(run_path)),
    ]


def launch_lines(run_path: Path, processes: int, machines: int = 1, program: str = sys.executable) -> list[str]:
    """What to type, or to put into a batch job, to start a run by hand. Quoted for this system's shell.

    One process on one machine needs no launcher.
    """
    alone = processes == machines == 1
    command = [program, *worker_command("train", run_path)[1:]]
    if not alone:
        command = distributed_command(run_path, processes, machines, program)
    if os.name == "nt":
        return [subprocess.list2cmdline(["cd", "/d", str(ROOT)]), subprocess.list2cmdline(command)]
    return [f"cd {shlex.quote(str(ROOT))}", shlex.join(command)]
