"""Tests of core/launch.py: how workers are started."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from core.launch import MEETING_PLACE, distributed_command, launch_lines, worker_command, worker_environment
from core.paths import ROOT


def test_the_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    found = worker_environment()
    assert found["HF_HUB_OFFLINE"] == "1" and "OMP_NUM_THREADS" not in found
    assert found["PYTHONPATH"].split(os.pathsep)[1:] == ["/mine"]
    assert worker_environment(beside_window=True)["OMP_NUM_THREADS"] == "7"
    assert "malloc.hugetlb" in found["GLIBC_TUNABLES"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    assert worker_environment(beside_window=True)["OMP_NUM_THREADS"] == "3"  # the user's own wish
    assert worker_environment()["GLIBC_TUNABLES"] == "glibc.malloc.check=3"


def test_a_worker_starts_from_any_folder_and_refuses_what_is_no_run(tmp_path: Path) -> None:
    command = worker_command("train", tmp_path / "none")
    found = subprocess.run(command, env=worker_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert "is not a run folder" in found.stderr and len(found.stderr.strip().splitlines()) == 1


def test_several_processes() -> None:
    command = distributed_command(Path("/run"), 3)
    assert command[0] == sys.executable and command[-4:] == ["-m", "core.worker", "train", "/run"]
    assert command[command.index("--nproc_per_node") + 1] == "3" and "torch.distributed.run" in command
    assert "--standalone" in command and "--nnodes" not in command


@pytest.mark.skipif(os.name == "nt", reason="another shell's quoting")
def test_launch_lines_are_quoted_and_name_the_meeting_place() -> None:
    place, line = launch_lines(Path("/my runs/a"), 2, machines=3, program="python3")
    assert place == f"cd {shlex.quote(str(ROOT))}"
    words = shlex.split(line)
    assert words[:3] == ["python3", "-m", "torch.distributed.run"] and words[-1] == "/my runs/a"
    assert words[words.index("--nnodes") + 1] == "3" and words[words.index("--rdzv_endpoint") + 1] == MEETING_PLACE
    assert words[words.index("--rdzv_id") + 1] == "a" and "--standalone" not in words


@pytest.mark.skipif(os.name == "nt", reason="another shell's quoting")
def test_one_process_needs_no_launcher() -> None:
    assert shlex.split(launch_lines(Path("/run"), 1, program="py")[1]) == ["py", "-m", "core.worker", "train", "/run"]
