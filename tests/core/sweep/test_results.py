"""Results: the minimum of each run with all that belongs to it, the table and the CSV; and what a sweep will take."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import events as ev
from core import presets
from core.errors import UserError
from core.run_data import RunData
from core.runs import Run
from core.sweep import cost, early, results
from core.sweep.file import Sweep
from core.sweep.folder import SweepFolder
from core.sweep.options import EndSection
from core.sweep.plan import plan
from tests.core.sweep.conftest import MakeSweep
from tests.fixtures.run_folders import started, step, telemetry, write_events


def fill(found: SweepFolder, number: int, low: float, at: int, total: int = 60, state: str = "finished") -> Run:
    """Events of a run of the sweep whose loss is lowest at a step; every step takes a second and a Wh."""
    run = found.open_run(found.plan.runs[number].id)
    write_events(run, [started(0, total), telemetry(0, 0.0)])
    jitter = np.random.default_rng(number).standard_normal(total + 1) * 1e-5
    for now in range(0, total + 1, 2):
        events: list[ev.Event] = [step(now), telemetry(now, now / 1000)] if now else []
        loss = low + 0.01 * ((now - at) / 40) ** 2 + float(jitter[now])
        events.append(ev.Evaluated(step=now, split="validation", loss=loss, buckets=[], duration=0.5))
        write_events(run, events)
    write_events(run, [ev.Ended(state=state, step=total)])
    return run


@pytest.fixture
def filled(make_sweep: MakeSweep) -> SweepFolder:
    """Four rates: minima at 40, 20 and (as low) 22; one run that has not begun."""
    found = make_sweep([1e-5, 2e-5, 4e-5, 8e-5], fixed={"training.batch_size": 4})
    fill(found, 0, 0.06, 40)
    fill(found, 1, 0.05, 20)
    fill(found, 2, 0.05, 22)
    return found


def test_each_run_by_its_minimum(filled: SweepFolder) -> None:
    rows = results.results(filled)
    assert [row.varied["training.learning_rate"] for row in rows] == [1e-5, 2e-5, 4e-5, 8e-5]
    for row, low, at in zip(rows, (0.06, 0.05, 0.05), (40, 20, 22), strict=False):
        assert row.verdict == "turned" and row.state == "finished" and not row.at_end
        assert row.loss == pytest.approx(low, abs=5e-5) and row.step == pytest.approx(at, abs=1.5)
        assert row.step_from is not None and row.step_to is not None and row.step_from <= at <= row.step_to
        assert row.images == pytest.approx(4 * (row.step or 0)) and row.epochs == pytest.approx((row.step or 0) / 10)
        assert row.kwh == pytest.approx((row.step or 0) / 1000) and row.hours == pytest.approx((row.step or 0) / 3600)
        assert row.cost == pytest.approx(0.3 * (row.kwh or 0)) and row.total_kwh == pytest.approx(0.06)
        assert row.co2_grams == pytest.approx(400 * (row.kwh or 0)) and row.total_co2_grams == pytest.approx(24)
        assert (row.batch, row.currency, row.steps_done) == (4, "EUR", 60)
        assert row.loss_error is not None and 0 < row.loss_error < 1e-4
    assert [row.rate for row in rows[:3]] == [1e-5, 2e-5, 4e-5]
    assert (rows[3].state, rows[3].loss, rows[3].kwh) == ("waiting", None, None)


def test_the_best_and_those_that_cannot_be_told_from_it(filled: SweepFolder) -> None:
    rows = results.results(filled)
    assert {row.id for row in results.best(rows)} == {rows[1].id, rows[2].id}
    assert results.best(rows[3:]) == []
    document = results.to_json(filled)
    assert document["best"] == [row.id for row in results.best(rows)]
    assert document["varied"] == ["training.learning_rate"] and document["state"] == "paused"
    assert (document["kwh"], document["co2_grams"]) == pytest.approx((0.18, 72))
    assert len(document["runs"]) == 4


def test_the_time_left_goes_by_the_pictures(filled: SweepFolder) -> None:
    """Three runs of 60 steps took three minutes; the fourth has the 20 steps of the plan before it."""
    rows = results.results(filled)
    assert results.hours_left(filled.plan, rows) == pytest.approx(20 / 3600)
    assert results.hours_left(filled.plan, rows[3:]) is None
    filled.note("skip", rows[3].id)
    assert results.hours_left(filled.plan, results.results(filled)) == 0


def test_csv(filled: SweepFolder, tmp_path: Path) -> None:
    results.save_csv(tmp_path / "table.csv", results.results(filled))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [float(line["training.learning_rate"]) for line in lines] == [1e-5, 2e-5, 4e-5, 8e-5]
    assert float(lines[1]["loss"]) == pytest.approx(0.05, abs=5e-5) and lines[3]["loss"] == ""
    with pytest.raises(UserError, match="cannot be written"):
        results.save_csv(tmp_path / "table.csv" / "x.csv", [])


def test_a_run_that_gave_up_for_a_broken_number_diverged(make_sweep: MakeSweep) -> None:
    found = make_sweep([1e-5])
    run = fill(found, 0, 0.05, 20, state="stopped")
    text = "At step 61 the loss is nan, so the run was stopped. No state was saved yet: start anew"
    write_events(run, [ev.Ended(state="failed", step=60, text=text)])
    row = results.results(found)[0]
    assert (row.verdict, row.state, row.text) == ("diverging", "failed", text)
    assert row.loss is not None, "its minimum before that counts all the same"


def data_of(losses: list[float]) -> RunData:
    data = RunData()
    data.feed(
        [ev.Evaluated(step=n, split="validation", loss=x, buckets=[], duration=0.1) for n, x in enumerate(losses)]
    )
    return data


def test_when_a_run_is_ended_early() -> None:
    falls = [0.1 - 0.001 * n for n in range(20)]
    turned = [0.05 + 0.0001 * (n - 6) ** 2 for n in range(20)]
    away = [0.1 * 1.4**n for n in range(8)]
    every = EndSection(past_minimum=10)
    assert early.reason_to_end(data_of(falls), every) == ""
    assert "diverged" in early.reason_to_end(data_of(away), every)
    assert early.reason_to_end(data_of(away), EndSection(diverged=False)) == ""
    assert "diverged" in early.reason_to_end(data_of([*falls[:6], float("nan")]), every)
    assert early.reason_to_end(data_of(turned[:16]), every) == "", "only nine measurements after the lowest"
    assert "0.05 at step 6, lies 10 measurements back" in early.reason_to_end(data_of(turned[:17]), every)
    assert early.reason_to_end(data_of(turned), EndSection()) == ""


def planned(ground: dict[str, Any], **vary: list[Any]) -> Any:
    keys = {key.replace("__", "."): values for key, values in vary.items()}
    return plan(Sweep(name="S", vary=dict(keys)), ground)


def test_what_it_takes_by_earlier_runs(filled: SweepFolder, ground: dict[str, Any]) -> None:
    ground = {**ground, "training.batch_size": 4, "training.max_steps": 1000, "validation.every_steps": 100}
    found = cost.sweep_cost(planned(ground, training__learning_rate=[1e-5, 1e-4]), keep="curves")
    # 4 pictures a second, and half a second for each of the 11 measurements
    hours = 2 * (1000 + 11 * 0.5) / 3600
    assert (found.runs, found.known, found.steps, found.images, found.rough) == (2, 2, 2000, 8000, False)
    assert found.hours == pytest.approx(hours) and found.kwh == pytest.approx(3.6 * hours, rel=0.01)
    assert found.cost == pytest.approx(0.3 * (found.kwh or 0)) and found.speed_from.startswith("Rates: ")
    aside = cost.side_by_side(found, 8)
    assert aside.at_once == 2 and aside.wall_hours == pytest.approx(hours / 2) and aside.hours == found.hours
    assert found.disk_bytes == 0


def test_runs_side_by_side_share_the_rest_of_the_machine(filled: SweepFolder, ground: dict[str, Any]) -> None:
    ground = {**ground, "training.batch_size": 4, "training.max_steps": 1000, "validation.every_steps": 100}
    rested = {**ground, "hardware.rest_watts": 600, "hardware.co2_per_kwh": 400}
    alone = cost.sweep_cost(planned(rested, training__learning_rate=[1e-5, 1e-4]), keep="curves")
    hours = 2 * (1000 + 11 * 0.5) / 3600
    assert alone.rest_kwh == pytest.approx(0.6 * hours) and alone.co2_grams == pytest.approx(400 * (alone.kwh or 0))
    pair = cost.side_by_side(alone, 2)
    # 3600 W were measured; of these 600 W are the rest of the machine, which now serves two runs
    assert pair.kwh == pytest.approx(3.3 * hours, rel=0.01) and pair.rest_kwh == pytest.approx(0.3 * hours)
    assert pair.cost == pytest.approx(0.3 * (pair.kwh or 0)) and pair.co2_grams == pytest.approx(400 * (pair.kwh or 0))


def test_another_batch_size_is_a_rough_guess_and_another_method_none(
    filled: SweepFolder, ground: dict[str, Any]
) -> None:
    ground = {**ground, "training.max_steps": 100, "validation.every_steps": 0}
    found = cost.sweep_cost(planned(ground, training__batch_size=[2, 4]), keep="curves")
    assert found.rough and found.hours == pytest.approx((200 + 400) / 4 / 3600)
    part = cost.sweep_cost(
        planned({**ground, "training.batch_size": 4}, training__method=["full", "lora"]), keep="curves"
    )
    assert (part.known, part.runs) == (1, 2) and part.hours == pytest.approx(100 / 3600)


def test_epochs_want_the_number_of_pictures(filled: SweepFolder, ground: dict[str, Any]) -> None:
    ground = {**ground, "training.max_steps": 0, "training.max_epochs": 10, "training.batch_size": 4}
    made = planned(ground, data__pictures=[20, 0])
    assert cost.sweep_cost(made, keep="curves").steps is None
    assert cost.sweep_cost(made, pictures=100, keep="curves").steps == 10 * 5 + 10 * 25


def test_the_disk_of_the_shipped_model() -> None:
    base = presets.flat(presets.load(Path("resources/presets/starter.toml").resolve()))
    ground = {**base, "output.save_every_steps": 0}
    models = cost.sweep_cost(planned(ground, training__learning_rate=[1e-5, 1e-4, 1e-3])).disk_bytes
    lora = {**ground, "training.method": "lora", "training.fused_backward_pass": False}
    small = cost.sweep_cost(planned(lora, lora__rank=[2, 4])).disk_bytes
    assert models is not None and models > 3 * 30 * 2**20 and small is not None and small < models / 10
