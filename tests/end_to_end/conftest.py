"""What the tests with real child processes share: run folders of short trainings, workers that never outlive a test."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import presets, runs
from core.launch import worker_command, worker_environment
from core.runs import Run
from tests.fixtures.pictures import tiny_pictures
from tests.fixtures.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model."""
    return make_tiny_model(tmp_path_factory.mktemp("worker") / "model")


@pytest.fixture
def make_run(model: Path, tmp_path: Path) -> Callable[..., Run]:
    """A run folder of a short training; keyword arguments are changes with "__" for the dot."""
    pictures = tiny_pictures(tmp_path / "pictures", 8)

    def make(name: str = "run", **changes: Any) -> Run:
        values: dict[str, Any] = {
            "model.base": str(model),
            "data.folders": [str(pictures)],
            "data.resolution": 64,
            "data.bucket_step": 32,
            "data.min_side": 32,
            "data.max_side": 128,
            "training.method": "full",
            "training.batch_size": 2,
            "training.max_steps": 8,
            "training.precision": "fp32",
            "validation.every_steps": 4,
            "validation.most_share": 0.0,
            "validation.share": 0.2,
            "output.save_every_steps": 2,
            "output.precision": "fp32",
            "hardware.device": "cpu",
            "hardware.telemetry_seconds": 0.2,
            "hardware.cache_folder": str(tmp_path / "cache"),
        }
        values.update({key.replace("__", "."): value for key, value in changes.items()})
        return runs.create(presets.build(values, "test"), tmp_path / name)

    return make


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start workers; whatever still runs at the end is killed with its children."""
    children = []

    def begin(run: Run, kind: runs.Kind = "train") -> subprocess.Popen[bytes]:
        environment = {**worker_environment(), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(worker_command(kind, run.path), env=environment, start_new_session=True)
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
