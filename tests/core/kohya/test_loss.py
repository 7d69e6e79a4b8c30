"""Tests of core/kohya/loss.py: losses, weightings, noise and timesteps."""

from __future__ import annotations

from pathlib import Path

from core import presets
from tests.fixtures.kohya import FINE, imported, verdicts


def test_loss_and_noise(tmp_path: Path) -> None:
    flags = "--min_snr_gamma 4 --noise_offset 0.05 --min_timestep 100 --max_timestep 900 --loss_type l1 --huber_c 0.2"
    found = imported(tmp_path, FINE + flags)
    names = ("loss.weighting", "min_snr.gamma", "loss.noise_offset", "loss.min_timestep", "loss.max_timestep")
    assert [found.values[name] for name in names] == ["min_snr", 4.0, 0.05, 100, 899]
    assert verdicts(found)["loss_type"] == ("unknown", "")
    found = imported(tmp_path, FINE + "--multires_noise_iterations 6 --ip_noise_gamma 0.1")
    if "loss.pyramid_levels" in presets.entries():
        names = ("loss.pyramid_levels", "loss.pyramid_noise", "loss.input_perturbation")
        assert [found.values[name] for name in names] == [6, 0.3, 0.1]
