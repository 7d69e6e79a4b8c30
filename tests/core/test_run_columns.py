"""Kept columns say what the events say: after growth, after a rewrite, and when the kept file is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import events as ev
from core import run_columns
from core.run_data import read_run
from core.runs import Run
from tests.fixtures.run_folders import new_run, write_events


def _steps(first: int, last: int) -> list[ev.Event]:
    return [
        ev.Step(
            step=n,
            loss=1 / n,
            rates={"unet": 1e-5},
            images=4 * n,
            epoch=n / 50,
            speed=2.0,
            grad_norm=float("nan") if n == 7 else 0.5,
            seconds=2.0 * n,
        )
        for n in range(first, last + 1)
    ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "home"))
    made = new_run(tmp_path / "run")
    write_events(
        made, [*_steps(1, 3000), ev.Evaluated(step=10, split="validation", loss=0.5, buckets=[1.0], duration=1)]
    )
    write_events(made, [ev.Sample(step=20, path="samples/a.png", prompt="a fox", seed=1, index=0)])
    return made


def _assert_same(found: run_columns.ReadRun, run: Run) -> None:
    told = read_run(run.events_path)
    assert {tag for tag, curve in found.data.curves.items() if len(curve)} == {
        tag for tag, curve in told.curves.items() if len(curve)
    }
    for tag, curve in told.curves.items():
        np.testing.assert_array_equal(found.data.curve(tag).steps, curve.steps, err_msg=tag)
        np.testing.assert_array_equal(found.data.curve(tag).values, curve.values, err_msg=tag)
    assert found.data.samples == told.samples and found.data.last_step == told.last_step
    assert found.data.seconds == told.seconds


def test_what_is_kept_is_what_was_read_and_nothing_is_decoded_again(run: Run) -> None:
    first = run_columns.read(run.events_path)
    assert first.worth_keeping and first.decoded == run.events_path.stat().st_size
    run_columns.keep(run.events_path, first)
    again = run_columns.read(run.events_path)
    assert again.decoded == 0 and not again.worth_keeping
    _assert_same(again, run)


def test_a_run_that_grows_is_read_on_from_where_it_was(run: Run) -> None:
    run_columns.keep(run.events_path, run_columns.read(run.events_path))
    size = run.events_path.stat().st_size
    write_events(run, [*_steps(3001, 3010), ev.Ended(state="finished", step=3010)])
    grown = run_columns.read(run.events_path)
    assert grown.decoded == run.events_path.stat().st_size - size
    _assert_same(grown, run)
    assert grown.data.ended is not None and grown.data.ended.state == "finished"


def test_a_resume_takes_back_points_without_touching_the_kept_file(run: Run) -> None:
    run_columns.keep(run.events_path, run_columns.read(run.events_path))
    before = run_columns.cache_path(run.events_path).read_bytes()
    write_events(
        run,
        [
            ev.Started(
                step=2000,
                total_steps=4000,
                steps_per_epoch=50,
                images_per_step=4,
                pictures=200,
                validation_pictures=20,
                trainable=1,
                parameters=1,
                device="cpu",
                precision="fp32",
            ),
            *_steps(2001, 2005),
        ],
    )
    found = run_columns.read(run.events_path)
    _assert_same(found, run)
    assert found.data.curve("loss").steps[-1] == 2005 and found.data.curve("loss").cuts == 1
    assert run_columns.cache_path(run.events_path).read_bytes() == before


def test_a_torn_last_line_is_read_when_it_is_whole(run: Run) -> None:
    line = ev.encode(_steps(3001, 3001)[0])
    with run.events_path.open("ab") as file:
        file.write(line[:30])
    found = run_columns.read(run.events_path)
    assert found.data.last_step == 3000 and found.position == run.events_path.stat().st_size - 30
    run_columns.keep(run.events_path, found)
    with run.events_path.open("ab") as file:
        file.write(line[30:])
    assert run_columns.read(run.events_path).data.last_step == 3001


def test_a_file_that_was_written_anew_is_not_taken_for_the_old_one(run: Run) -> None:
    run_columns.keep(run.events_path, run_columns.read(run.events_path))
    run.events_path.write_bytes(b"".join(ev.encode(event) for event in _steps(1, 5)))
    found = run_columns.read(run.events_path)
    assert found.data.last_step == 5 and not found.data.samples


@pytest.mark.parametrize("damage", ["cut", "head", "magic"])
def test_a_damaged_kept_file_is_passed_over(run: Run, damage: str) -> None:
    run_columns.keep(run.events_path, run_columns.read(run.events_path))
    path = run_columns.cache_path(run.events_path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-100], "head": whole[:30] + b"{" + whole[31:], "magic": b"x" + whole[1:]}[damage])
    found = run_columns.read(run.events_path)
    assert found.decoded == run.events_path.stat().st_size
    _assert_same(found, run)


def test_the_cache_does_not_grow_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run_columns.read(run.events_path)
    run_columns.keep(run.events_path, found)
    folder = run_columns.cache_path(run.events_path).parent
    old = folder / "old.bin"
    old.write_bytes(b"x" * 1000)
    import os

    os.utime(old, (1, 1))
    monkeypatch.setattr(run_columns, "_MOST_BYTES", run_columns.cache_path(run.events_path).stat().st_size + 10)
    run_columns.keep(run.events_path, found)
    assert [path.name for path in folder.glob("*.bin")] == [run_columns.cache_path(run.events_path).name]
