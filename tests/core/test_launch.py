"""Tests of core/launch.py: how workers are started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.launch import distributed_command, worker_command, worker_environment


def test_the_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    found = worker_environment()
    assert found["HF_HUB_OFFLINE"] == "1" and "OMP_NUM_THREADS" not in found
    assert found["PYTHONPATH"].split(os.pathsep)[1:] == ["/mine"]
    assert worker_environment(beside_window=True)["OMP_NUM_THREADS"] == "7"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert worker_environment(beside_window=True)["OMP_NUM_THREADS"] == "3"  # the user's own wish


def test_a_worker_starts_from_any_folder_and_refuses_what_is_no_run(tmp_path: Path) -> None:
    command = worker_command("train", tmp_path / "none")
    found = subprocess.run(command, env=worker_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert "is not a run folder" in found.stderr and len(found.stderr.strip().splitlines()) == 1


def test_several_processes() -> None:
    command = distributed_command(Path("/run"), 3)
    assert command[0] == sys.executable and command[-4:] == ["-m", "core.worker", "train", "/run"]
    assert command[command.index("--nproc_per_node") + 1] == "3" and "torch.distributed.run" in command
