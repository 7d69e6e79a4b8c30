"""The findings of the notes on stable losses, from their own event files; skipped where these are not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.advisor import Losses, judge
from core.coincide import coincide, exponent
from core.paths import ROOT
from core.timestep_fit import debias, exponential_fit, smooth_fit, spread
from core.tools.tensorboard_import import import_folder
from core.tools.tfevents import read_folder

FILES = ROOT.parent / "shared" / "data" / "tfevents"
pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason="the notes' event files are not here")

#: Rate -> (lowest validation loss, its step).
MINIMA = {
    1e-7: (0.05737, 8100),
    2e-7: (0.05739, 4400),
    3e-7: (0.05738, 2700),
    5e-7: (0.05740, 2100),
    1e-6: (0.05745, 500),
    5e-6: (0.05735, 400),
}


def validation(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found = read_folder(folder)["test/val"]
    return found.steps, found.values


def sweep() -> dict[float, tuple[np.ndarray, np.ndarray]]:
    folders = sorted((FILES / "long_lr_sweep").iterdir(), key=lambda path: float(path.name))
    return {float(folder.name): validation(folder) for folder in folders}


def test_the_sweeps_minima() -> None:
    for rate, (steps, loss) in sweep().items():
        verdict = judge(Losses(steps, loss))
        assert verdict.state == "turned" and verdict.minimum is not None
        assert (round(verdict.minimum.lowest_loss, 5), verdict.minimum.lowest_step) == MINIMA[rate]
        assert verdict.minimum.step_from <= MINIMA[rate][1] <= verdict.minimum.step_to
        assert verdict.rate is not None
        assert verdict.rate.hint == ("high" if rate >= 1e-6 else "fits"), rate


def test_minima_are_nearly_equal_while_their_step_falls_with_the_rate() -> None:
    found = {rate: judge(Losses(*curve)).minimum for rate, curve in sweep().items()}
    lowest = np.array([low.lowest_loss for low in found.values() if low])
    assert np.ptp(lowest) / lowest.mean() < 0.002
    steps = [low.lowest_step for low in found.values() if low]
    assert steps == sorted(steps, reverse=True)
    power, error = exponent(list(found), steps)
    assert power == pytest.approx(-0.85, abs=0.3) and error < 0.2


def test_the_sweeps_curves_coincide_when_steps_are_scaled_by_the_rate() -> None:
    curves = sweep()
    matches = coincide(list(curves.values()))
    assert all(match.coincides and not match.coincides_unscaled for match in matches)
    rates = np.array(list(curves)[1:]) / 1e-7
    assert [match.scale for match in matches] == pytest.approx(rates, rel=0.15) or matches[-1].scale > 15
    power, _ = exponent(list(curves), [1.0, *(match.scale for match in matches)])
    assert power == pytest.approx(0.8, abs=0.2)


def test_batches_coincide_with_the_square_root_rule() -> None:
    """Their steps are logged as pictures seen: they coincide as they are, and per step the scale is the batch."""
    batches = [1, 2, 4]
    curves = [validation(FILES / "batch_size_sqrt" / str(batch)) for batch in batches]
    for match in coincide(curves):
        assert match.coincides and match.coincides_unscaled
        assert match.scale == pytest.approx(1, abs=0.08)
    by_step = coincide([(steps / batch, loss) for batch, (steps, loss) in zip(batches, curves, strict=True)])
    power, error = exponent(batches, [1.0, *(match.scale for match in by_step)])
    assert power == pytest.approx(1, abs=0.1) and error < 0.1
    assert not any(match.coincides_unscaled for match in by_step)


def test_the_loss_over_the_timestep() -> None:
    found = read_folder(FILES / "loss_snr" / "original_train")["loss"]
    plain, logarithmic = (exponential_fit(found.steps, found.values, logarithmic=log) for log in (False, True))
    assert (round(plain.a, 3), round(plain.b, 5)) == (0.633, 0.00515)
    assert (round(logarithmic.a, 3), round(logarithmic.b, 5)) == (0.678, 0.00501)
    smooth = smooth_fit(found.steps, found.values)
    assert smooth.r2 > 0.99 > plain.r2 and smooth.r2_log > 0.999 > logarithmic.r2_log
    spreads = [spread(debias(found.values, found.steps, fit)) for fit in (plain, logarithmic, smooth)]
    assert spread(found.values) > 5 * spreads[0] > 5 * spreads[1] > 50 * spreads[2]


def test_all_ten_runs_are_imported() -> None:
    made, empty = import_folder(FILES)
    assert len(made) == 10 and not empty
    assert {run.name for run in made} >= {"long_lr_sweep/1.0e-07", "batch_size_sqrt/4", "loss_snr/original_train"}
