"""Tests of core/timestep_views.py: what is followed piece by piece equals what is read at once, after a resume too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import timestep_views
from core.run_data import RunData
from core.timestep_losses import RECORD, Recorder, Records, debiased
from core.timestep_views import BINS, Draws, DrawsReader, gap, imported_records


def records(first: int, last: int, images: int = 4, seed: int = 0) -> Records:
    """Draws of steps `first` to `last`: an exponential over the timestep, with noise."""
    chance = np.random.default_rng((seed, first))
    made = np.empty((last - first + 1) * images, RECORD)
    made["step"] = np.repeat(np.arange(first, last + 1), images)
    made["timestep"] = chance.integers(0, 1000, len(made))
    made["loss"] = 0.7 * np.exp(-0.005 * made["timestep"] + 0.1 * chance.normal(size=len(made)))
    return made


def look(reader: DrawsReader) -> Draws:
    found = reader.look()
    assert found is not None
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timestep_losses.bin"


def test_a_run_without_draws_shows_none(path: Path) -> None:
    assert DrawsReader(path).look() is None


def test_all_is_found_and_nothing_new_is_told_once(path: Path) -> None:
    made = records(1, 500)
    Recorder(path, 0).append(made)
    reader = DrawsReader(path)
    draws = look(reader)
    assert draws.count == len(made) == draws.bins.sum() == len(draws.steps)
    np.testing.assert_array_equal(draws.bins, np.histogram(made["timestep"], BINS, (0, 1000))[0])
    assert draws.fit is not None
    np.testing.assert_allclose(draws.fit.expected(np.array([500.0])), 0.7 * np.exp(-2.5), rtol=0.1)
    steps, values = debiased(made, draws.fit)
    np.testing.assert_array_equal(draws.debiased.steps, steps)
    np.testing.assert_allclose(draws.debiased.values, values)
    assert reader.look() is None


def test_pieces_equal_the_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a piece ends in the middle of a step, and where more comes than is taken in at once."""
    monkeypatch.setattr(timestep_views, "_AT_ONCE", 97)
    made, recorder, reader = records(1, 600), Recorder(path, 0), DrawsReader(path)
    for start, stop in ((0, 2000), (2000, 2003), (2003, 2010), (2010, 2010 + 30), (2040, len(made))):
        recorder.append(made[start:stop])
        draws = look(reader)
    assert draws.fit is not None
    steps, values = debiased(made, draws.fit)
    np.testing.assert_array_equal(draws.debiased.steps, steps)
    np.testing.assert_allclose(draws.debiased.values, values)
    np.testing.assert_array_equal(draws.bins, np.histogram(made["timestep"], BINS, (0, 1000))[0])


def test_the_curve_keeps_its_fit_until_the_run_has_grown(path: Path) -> None:
    recorder, reader = Recorder(path, 0), DrawsReader(path)
    recorder.append(records(1, 500))
    first = look(reader)
    recorder.append(records(501, 510))
    second = look(reader)
    assert second.fit is first.fit and second.fit_number == first.fit_number
    np.testing.assert_array_equal(second.debiased.values[:499], first.debiased.values[:499])
    recorder.append(records(511, 600))
    third = look(reader)
    assert third.fit is not first.fit and third.fit_number != first.fit_number


def test_a_resume_takes_steps_back(path: Path) -> None:
    Recorder(path, 0).append(records(1, 400))
    reader = DrawsReader(path)
    look(reader)
    again = records(201, 450, seed=1)
    Recorder(path, 200).append(again)
    draws = look(reader)
    kept = np.concatenate([records(1, 400)[: 4 * 200], again])
    assert draws.count == len(kept) and draws.fit is not None
    np.testing.assert_array_equal(draws.bins, np.histogram(kept["timestep"], BINS, (0, 1000))[0])
    steps, values = debiased(kept, draws.fit)
    np.testing.assert_array_equal(draws.debiased.steps, steps)
    np.testing.assert_allclose(draws.debiased.values, values)


def test_few_draws_have_no_fit_yet(path: Path) -> None:
    Recorder(path, 0).append(records(1, 10))
    draws = look(DrawsReader(path))
    assert draws.count == 40 and draws.fit is None and not len(draws.debiased)


def test_what_is_drawn_stays_small_and_spans_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestep_views, "_SHOWN", 100)
    Recorder(path, 0).append(records(1, 900))
    draws = look(DrawsReader(path))
    assert len(draws.steps) == 100 and (np.diff(draws.steps) >= 0).all()
    assert (draws.steps[0], draws.steps[-1]) == (1, 900)


def test_another_programs_curves_are_draws_too(path: Path) -> None:
    data = RunData()
    made = records(1, 300, images=1)
    data.curve("loss").extend(made["step"].astype(float), made["loss"])
    assert imported_records(data) is None
    data.curve("timestep").extend(made["step"][10:].astype(float), made["timestep"][10:])
    found = imported_records(data)
    assert found is not None
    np.testing.assert_array_equal(found, made[10:])
    draws = look(DrawsReader(path, found))
    assert draws.count == 290 and draws.fit is not None


def test_the_signal_to_noise_ratio_names_the_timestep() -> None:
    """The notes' file: its first ratios are those of Stable Diffusion 1.5 at the timesteps 0, 1, 2 and 999."""
    data = RunData()
    data.curve("loss").extend([0.0, 1.0, 2.0, 3.0, 4.0], [0.9, 0.8, 0.7, 0.1, 0.1])
    data.curve("snr").extend([0.0, 1.0, 2.0, 3.0, 4.0], [1175.44055, 585.862182, 389.331146, 0.00468191, 800.0])
    found = imported_records(data)
    assert found is not None
    assert found["timestep"].tolist() == [0, 1, 2, 999], "800 is no ratio of the schedule"


def test_the_gap_is_told_where_both_were_measured() -> None:
    data = RunData()
    data.curve("stable/validation").extend([0.0, 10.0, 20.0, 40.0], [5.0, 4.0, 3.5, 3.0])
    assert not len(gap(data)[0])
    data.curve("stable/train").extend([0.0, 20.0, 30.0, 40.0], [5.0, 3.0, 2.0, 1.0])
    steps, values = gap(data)
    assert steps.tolist() == [0, 20, 40] and values.tolist() == [0, 0.5, 2]
