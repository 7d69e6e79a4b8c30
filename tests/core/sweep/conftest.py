"""Sweeps whose runs a pretending worker does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import presets
from core.sweep import folder
from core.sweep.file import Sweep
from core.sweep.folder import SweepFolder
from core.sweep.options import SweepOptions
from core.sweep.plan import plan

MakeSweep = Callable[..., SweepFolder]


@pytest.fixture
def ground(tmp_path: Path) -> dict[str, Any]:
    """Settings that could start."""
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "pictures").mkdir()
    values = {
        "model.base": str(tmp_path / "model.safetensors"),
        "data.folders": [str(tmp_path / "pictures")],
        "training.max_steps": 20,
        "training.method": "full",
        "hardware.device": "cpu",
    }
    return presets.flat(presets.build(values, "ground"))


@pytest.fixture
def make_sweep(tmp_path: Path, ground: dict[str, Any]) -> MakeSweep:
    """Makes a sweep's folder: rates, and options and fixed settings as keywords ("end__past_minimum")."""

    def make(rates: list[float], fixed: dict[str, Any] | None = None, **options: Any) -> SweepFolder:
        flat = {key.replace("__", "."): value for key, value in options.items()}
        sweep = Sweep(
            name="Rates",
            vary={"training.learning_rate": list(rates)},
            fixed=fixed or {},
            options=presets.build(flat, "options", SweepOptions),
        )
        return folder.create(sweep, plan(sweep, ground), tmp_path / "sweep")

    return make
