"""Tests of core/engine/sharding.py: two processes hold their rows, and train and save what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.launch import worker_environment


def test_two_processes_hold_a_share_each_and_save_what_one_saves(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_shares.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**worker_environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["rows"], second["rows"]) == ([2, 2, 1, 1], [1, 1, 0, 0])
    assert (first["in_optimizer"], second["in_optimizer"]) == (4, 2)
    assert first["numbers"] == [0, 1, 2, 3]
    assert first["weights"] < 1e-6 and first["state"] < 1e-6
    for found in (first, second):
        assert found["norm"] < 1e-6 and found["loaded"] < 1e-6
        assert found["split_again"] and found["rate"] == pytest.approx(0.1)
        assert found["complaint"] == "not the same"
    assert os.environ.get("RANK") is None
