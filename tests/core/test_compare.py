"""Runs beside each other: curves, minima, settings that differ, maps, CSV; on made runs whose answers are known."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import numpy as np
import pytest

from core import compare, run_notes
from core import events as ev
from core.compare import Compared, differences, leaders, named
from core.compare_map import settings_map
from core.errors import UserError
from tests.fixtures.run_folders import new_run, started, telemetry, write_events
from tests.fixtures.run_folders import step as a_step


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))


def _run(path: Path, bottom: float = 0.1, at: int = 50, noise: float = 1e-5, **settings: object) -> Path:
    """A run of 100 steps whose validation loss is a parabola with its bottom at a step."""
    run = new_run(path, **settings)
    wild = np.random.default_rng(0).normal(size=101) * noise
    events: list[ev.Event] = [started()]
    for number in range(101):
        if number:
            events.append(a_step(number))
        if number % 5 == 0:
            loss = bottom + 1e-5 * (number - at) ** 2 + float(wild[number])
            for split, add in (("validation", 0.0), ("train", -1e-4 * number)):
                events.append(ev.Evaluated(step=number, split=split, loss=loss + add, buckets=[loss], duration=1))
            events.append(telemetry(number, 0.01 * number))
    write_events(run, [*events, ev.Ended(state="finished", step=100)])
    return run.path


def _load(*paths: Path) -> list[Compared]:
    return named([compare.load(path) for path in paths])


def test_a_run_is_read_with_its_minimum_and_what_it_took(tmp_path: Path) -> None:
    (run,) = _load(_run(tmp_path / "a", noise=0.0, training__batch_size=4))
    assert run.lowest == (50.0, pytest.approx(0.1)) and run.result.batch == 4
    assert run.result.images == pytest.approx(200) and run.result.kwh == pytest.approx(0.5)
    assert run.settings["training.batch_size"] == 4 and run.kind == "train"


def test_curves_over_every_axis(tmp_path: Path) -> None:
    (run,) = _load(_run(tmp_path / "a", noise=0.0))
    steps, gap = compare.line(run.data, "gap")
    assert gap == pytest.approx(1e-4 * steps)
    assert compare.axes_of(run.data) == ["step", "images", "epoch", "hours", "kwh"]
    assert compare.minimum_of(run.data, "validation", "images") == (pytest.approx(200), pytest.approx(0.1))
    assert compare.minimum_of(run.data, "loss", "step") is None and compare.minimum_of(run.data, "gap", "step") is None
    assert compare.start_value(run.data, "validation") == pytest.approx(0.125)
    assert not len(compare.line(run.data, "debiased")[0])


def test_the_best_is_marked_only_beyond_the_noise(tmp_path: Path) -> None:
    clear = _load(_run(tmp_path / "a", bottom=0.1), _run(tmp_path / "b", bottom=0.11))
    assert leaders(clear) == [str(tmp_path / "a")]
    close = _load(_run(tmp_path / "c", bottom=0.1, noise=1e-3), _run(tmp_path / "d", bottom=0.1001, noise=1e-3))
    assert sorted(leaders(close)) == [str(tmp_path / "c"), str(tmp_path / "d")]


def test_only_settings_that_differ_are_named(tmp_path: Path) -> None:
    runs = _load(
        _run(tmp_path / "a", training__learning_rate=1e-5, output__name="one"),
        _run(tmp_path / "b", training__learning_rate=2e-5, output__name="two"),
    )
    (found,) = differences(runs)
    assert found.key == "training.learning_rate" and found.is_number and found.page == "training"
    assert [found.words(place) for place in (0, 1)] == ["1e-5", "2e-5"]
    assert not differences(runs[:1])


def test_a_map_over_two_settings(tmp_path: Path) -> None:
    runs = _load(
        *(
            _run(tmp_path / f"{rate}-{batch}", bottom, training__learning_rate=rate, training__batch_size=batch)
            for rate, batch, bottom in ((1e-5, 1, 0.1), (2e-5, 1, 0.2), (2e-5, 4, 0.3))
        )
    )
    rates, batches = (next(d for d in differences(runs) if d.key.endswith(key)) for key in ("learning_rate", "_size"))
    found = settings_map(runs, rates, batches, "loss")
    assert found.across == [1e-5, 2e-5] and found.down == [1, 4]
    assert found.values == pytest.approx(np.array([[0.1, 0.2], [np.nan, 0.3]]), abs=1e-3, nan_ok=True)
    assert found.runs[1, 1] == [str(tmp_path / "2e-05-4")] and (1, 0) not in found.runs
    assert settings_map(runs, rates, batches, "step").values[0, 0] == pytest.approx(50, abs=3)


def test_seeds_in_one_cell_are_averaged(tmp_path: Path) -> None:
    runs = _load(*(_run(tmp_path / f"s{i}", 0.1 + 0.1 * i, training__seed=i) for i in (0, 1)))
    (seeds,) = differences(runs)
    same = compare.Difference("training.batch_size", "Batch", "training", "", [1, 1])
    assert settings_map(runs, same, same, "loss").values[0, 0] == pytest.approx(0.15, abs=1e-3)
    with pytest.raises(UserError, match="vary in two settings"):
        settings_map(runs, seeds, compare.Difference("x", "x", "", "", [None, None]), "loss")


def test_names_are_short_within_a_group_and_full_among_several(tmp_path: Path) -> None:
    one = compare.load(_run(tmp_path / "a"))
    from dataclasses import replace

    first, second = replace(one, name="sweep/1e-6", group="sweep"), replace(one, name="sweep: rate 2", group="sweep")
    assert [run.label for run in named([first, second])] == ["1e-6", "rate 2"]
    other = replace(one, name="old/7", group="old")
    assert [run.label for run in named([first, other, one])] == ["sweep/1e-6", "old/7", one.name]
    assert sorted(["lr/1.0e-06", "lr/1.0e-07", "lr/x", "lr/10", "lr/9"], key=compare.name_order) == [
        "lr/1.0e-07",
        "lr/1.0e-06",
        "lr/9",
        "lr/10",
        "lr/x",
    ]


def test_runs_of_one_name_are_told_apart_by_when_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.localtime", time.gmtime)
    made = [1e9, 1e9 + 60, 1e9 + 61, 1e9]  # 2001-09-09, 01:46:40
    assert compare.told_apart(["a", "a", "a", "b"], made) == [
        "a, 09 Sep 01:46",
        "a, 09 Sep 01:47:40",
        "a, 09 Sep 01:47:41",
        "b",
    ]


def test_the_table_as_csv(tmp_path: Path) -> None:
    paths = [_run(tmp_path / f"r{i}", 0.1 + 0.01 * i, training__learning_rate=1e-5 * (i + 1)) for i in (0, 1)]
    run_notes.write(paths[1], run_notes.Notes(note="too, warm"))
    rows = list(csv.DictReader(io.StringIO(compare.table_csv(_load(*paths)))))
    assert [row["training.learning_rate"] for row in rows] == ["1e-5", "2e-5"]
    assert float(rows[0]["lowest_loss"]) == pytest.approx(0.1, abs=1e-3)
    assert rows[1]["note"] == "too, warm" and rows[1]["folder"] == str(paths[1]) and rows[0]["cost"] != ""
    assert float(rows[0]["co2_grams"]) == pytest.approx(float(rows[0]["kwh"]) * 400)


def test_the_curves_as_csv_hold_every_point(tmp_path: Path) -> None:
    runs = _load(_run(tmp_path / "a"))
    rows = list(csv.DictReader(io.StringIO(compare.curves_csv(runs, "validation"))))
    assert len(rows) == 21 and float(rows[-1]["step"]) == 100 and float(rows[-1]["images"]) == 400
    values = compare.line(runs[0].data, "validation")[1]
    assert [float(row["Stable loss, held-out pictures"]) for row in rows] == values.tolist()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        compare.load(tmp_path)


def test_the_nearest_checkpoint(tmp_path: Path) -> None:
    path = _run(tmp_path / "a")
    saved = [ev.Checkpoint(step=at, path=f"checkpoints/{at}.safetensors", bytes=1) for at in (20, 60)]
    write_events(compare.Run(path), saved)
    (run,) = _load(path)
    assert compare.nearest_checkpoint(run.data, 41) == 60 and compare.nearest_checkpoint(run.data, 0) == 20
    assert compare.nearest_checkpoint(_load(_run(tmp_path / "b"))[0].data, 5) is None


def test_a_long_run_is_kept_with_its_result_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _run(tmp_path / "a", training__batch_size=4)
    monkeypatch.setattr(compare.run_columns, "_LEAST_BYTES", 1000)
    first = compare.load(path)
    compare.keep_if_long(path)
    again = compare.load(path)
    assert again.reading is not None and again.reading.about and not again.reading.decoded
    assert (again.result, again.settings, again.lowest) == (first.result, first.settings, first.lowest)
    write_events(compare.Run(path), [ev.Evaluated(step=105, split="validation", loss=0.01, buckets=[1.0], duration=1)])
    grown = compare.load(path)
    assert grown.reading is not None and not grown.reading.about and grown.lowest == (105.0, 0.01)


NOTES = Path(__file__).resolve().parents[3] / "shared" / "data" / "tfevents"


@pytest.mark.skipif(not NOTES.is_dir(), reason="the notes' event files are not here")
def test_the_notes_runs_give_their_findings() -> None:
    from core.compare_scale import lay_over
    from core.tools.tensorboard_import import import_folder

    made, _ = import_folder(NOTES)
    runs = sorted((compare.load(run.path) for run in made), key=lambda run: compare.name_order(run.name))
    sweep = [run for run in runs if run.group == "long_lr_sweep"]
    found = {run.result.rate: (round(run.lowest[1], 5), run.lowest[0]) for run in sweep if run.lowest}
    assert found == {
        1e-7: (0.05737, 8100),
        2e-7: (0.05739, 4400),
        3e-7: (0.05738, 2700),
        5e-7: (0.05740, 2100),
        1e-6: (0.05745, 500),
        5e-6: (0.05735, 400),
    }
    assert len(leaders(sweep)) > 1
    batches = [run for run in runs if run.group == "batch_size_sqrt"]
    assert [run.result.batch for run in batches] == [1, 2, 4]
    laid = lay_over(batches, "validation", "step")
    assert all(one.match is not None and one.match.coincides_unscaled for one in laid[1:])
    assert len(compare.line(batches[0].data, "debiased")[0]) == 5000
