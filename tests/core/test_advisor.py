"""The verdict on curves made by hand, one for each thing that it can say, and when patience is over."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core import cli
from core import events as ev
from core.advisor import Losses, Verdict, judge, judge_run, out_of_patience
from core.run_data import RunData
from tests.fixtures.run_folders import fake_checkpoint, new_run, started, write_events

STEPS = np.arange(0.0, 5001, 100)
NOISE = np.random.default_rng(0).standard_normal(len(STEPS))


def losses(values: np.ndarray, noise: float = 2e-5) -> Losses:
    return Losses(STEPS[: len(values)], values + noise * NOISE[: len(values)])


def bowl(at: float, depth: float = 0.002, rise: float = 1.0) -> np.ndarray:
    away = (STEPS - at) / at
    return 0.05 + depth * np.where(away < 0, 1, rise) * away**2


FALLING = 0.05 + 0.01 * np.exp(-STEPS / 3000)
TRAINED = 0.05 * np.exp(-STEPS / 8000)


def said(verdict: Verdict) -> str:
    return " ".join(verdict.sentences())


def test_it_turned() -> None:
    found = judge(losses(bowl(2000)), Losses(STEPS, TRAINED), range(500, 5001, 500))
    assert found.state == "turned" and found.minimum is not None
    assert found.minimum.lowest_step == pytest.approx(2000, abs=200)
    assert found.minimum.step_from <= 2000 <= found.minimum.step_to
    assert found.turn_step is not None and 2100 <= found.turn_step <= 2700
    assert found.usable_from == found.minimum.lowest_step
    assert found.back_at_start and found.usable_to == pytest.approx(4000, abs=60)
    assert found.look_at == (2000, 3500) or found.look_at == (2000, 4000)
    assert found.rate is not None and found.rate.hint == "fits"
    text = said(found)
    for part in ("lowest loss, 0.05", "learns your pictures by heart", "Usable are steps", "checkpoints 2,000 and"):
        assert part in text
    assert "trained pictures went ahead" in text


def test_usable_to_the_end_where_it_never_comes_back() -> None:
    found = judge(losses(bowl(2000, rise=0.2)), checkpoints=[1000, 2000, 5000])
    assert found.state == "turned" and not found.back_at_start
    assert found.usable_to == 5000 and found.look_at == (2000, 5000)
    assert "never came back" in said(found)


def test_a_range_of_one_step_is_not_named() -> None:
    found = replace(judge(losses(bowl(2000))), usable_from=5000.0, usable_to=5000.0)
    assert "Usable" not in said(found)


def test_it_still_falls() -> None:
    found = judge(losses(FALLING), checkpoints=[1000, 5000])
    assert found.state == "still falling" and found.turn_step is None and found.usable_from is None
    slope = 100 * (FALLING[-1] - FALLING[-13]) / 1200
    assert found.fall_per_100 == pytest.approx(slope, rel=0.1)
    assert found.fall_error is not None and found.fall_error < -found.fall_per_100 / 5
    assert found.look_at == (5000,) and "Train longer" in said(found) and "% per 100 steps" not in said(found)
    assert f"falls by {-found.fall_per_100:#.4g} (" in said(found) and "over the last 13 measurements" in said(found)


def test_a_fall_is_told_as_exactly_as_it_is_known() -> None:
    """Six measurements that scatter: in one digit, and out of how many."""
    steps = 80.0 * np.arange(6)
    scatter = 0.3 * np.array([0, 1.0, -1.0, 1.0, -0.5, -1.0])
    few = judge(Losses(steps, 0.2 - 1e-4 * steps + 1e-2 * scatter))
    assert few.state == "still falling" and few.fall_points == 5
    assert few.fall_per_100 is not None and f"falls by about {-few.fall_per_100:.1g} (" in said(few)
    assert "over the last 5 measurements" in said(few)
    steep = replace(few, fall_per_100=-0.0301, last_loss=0.2, fall_error=0.01)  # 15 %, in one digit
    assert "falls by about 0.03 (20 %) per 100 steps" in said(steep)
    assert "falls by about 0.02 (8 %) per 10 steps" in said(replace(steep, fall_per_100=-0.16, fall_error=0.05))
    assert "falls by about 0.03 (20 %) per step" in said(replace(steep, fall_per_100=-3.01, fall_error=1.0))


def test_it_settled() -> None:
    found = judge(losses(0.05 + 0.01 * np.exp(-STEPS / 500)))
    assert found.state == "settled" and "levelled off" in said(found) and found.usable_to == 5000


@pytest.mark.parametrize("seed", range(40))
def test_noise_alone_is_no_verdict(seed: int) -> None:
    values = 0.05 + 0.001 * np.random.default_rng(seed).standard_normal(len(STEPS))
    found = judge(Losses(STEPS, values))
    assert found.state == "too noisy" and found.look_at == () and found.rate is None
    assert found.noise == pytest.approx(0.001, rel=0.7) and "Too noisy to say" in said(found)


def test_too_few_points_and_none() -> None:
    few = judge(Losses(STEPS[:4], bowl(2000)[:4]))
    assert (few.state, few.points) == ("too few points", 4) and "4 measurements" in said(few)
    none = judge(Losses(STEPS[:0], STEPS[:0]))
    assert none.points == 0 and "no loss of held-out pictures was measured" in said(none)


def test_it_runs_away() -> None:
    broken = bowl(2000)
    broken[30:] = np.nan
    for found in (
        judge(Losses(STEPS, broken)),
        judge(losses(0.05 + 1e-8 * STEPS**2)),
        judge(losses(bowl(2000)), Losses(STEPS, 0.04 + 1e-6 * STEPS)),
        judge(losses(bowl(2000)), Losses(STEPS, broken)),
    ):
        assert found.state == "diverging" and found.rate is not None and found.rate.hint == "high"
        assert "runs away" in said(found) and "learning rate is too high" in said(found)


def test_a_nan_on_the_way_is_passed_over() -> None:
    values = bowl(2000)
    values[5] = np.nan
    found = judge(losses(values))
    assert found.state == "turned" and found.points == len(STEPS) - 1


@pytest.mark.parametrize(
    ("values", "noise", "hint", "why"),
    [
        (bowl(200, depth=0.001, rise=0.05), 2e-5, "high", "early"),
        (0.05 + 2e-7 * STEPS, 2e-5, "high", "rises at once"),
        (0.05 + 0.002 * np.exp(-STEPS / 60), 2e-5, "high", "at once"),
        (bowl(2000, depth=0.001), 7e-4, "high", "jumps"),
        (0.05 - 1.5e-8 * STEPS, 2e-6, "low", "little gained"),
        (bowl(2000), 2e-5, "fits", ""),
        (FALLING, 2e-5, "fits", ""),
    ],
)
def test_what_it_says_of_the_rate(values: np.ndarray, noise: float, hint: str, why: str) -> None:
    found = judge(losses(values, noise))
    assert found.rate is not None and (found.rate.hint, found.rate.why) == (hint, why)
    assert ("rate" in said(found)) == (hint != "fits")
    if why == "early":
        assert 0.05 < found.rate.factor < 0.25


def test_the_gap_is_measured_where_it_matters() -> None:
    found = judge(losses(bowl(2000), 0), Losses(STEPS, TRAINED))
    assert found.gap is not None and found.gap.first == pytest.approx(0.052 - 0.05)
    assert found.gap.at_minimum == pytest.approx(0.05 - TRAINED[20])
    assert found.gap.last == pytest.approx(bowl(2000)[-1] - TRAINED[-1])
    alike = judge(losses(bowl(2000), 0), Losses(STEPS, bowl(2000) - 0.01))
    assert "nothing was learnt by heart" in said(alike)
    better = judge(losses(FALLING, 0), Losses(STEPS, np.full(len(STEPS), 0.04)))
    assert "gained more than the trained ones" in said(better)


def test_buckets_and_repeats() -> None:
    buckets = np.stack([bowl(1000), bowl(2000), bowl(3000)], axis=1)
    found = judge(Losses(STEPS, buckets.mean(axis=1), buckets=buckets))
    assert found.buckets == (1000, 2000, 3000)
    assert "Fine detail is best at step 1,000, composition at step 3,000" in said(found)
    plain = judge(Losses(STEPS, bowl(2000))).minimum
    repeats = np.stack([bowl(at) for at in (1500, 2000, 2500)], axis=1)
    wider = judge(Losses(STEPS, bowl(2000), repeats=repeats)).minimum
    assert plain is not None and wider is not None
    assert wider.step_to - wider.step_from > 3 * (plain.step_to - plain.step_from)
    assert wider.step_from == pytest.approx(2000 - 2 * 500 / 3**0.5, rel=0.02)


def test_a_runs_curves_are_judged(capsys: pytest.CaptureFixture[str]) -> None:
    run = new_run(output__name="mine")
    trained, values = TRAINED.tolist(), bowl(2000).tolist()
    told: list[ev.Event] = [started(total=5000)]
    for place, step in enumerate(STEPS.astype(int).tolist()):
        for split, loss in (("train", trained[place]), ("validation", values[place])):
            parts = [loss - 0.001, loss + 0.001]
            told.append(ev.Evaluated(step=step, split=split, loss=loss, buckets=parts, duration=1.0))
    write_events(run, [*told, ev.Ended(state="finished", step=5000)])
    for step in (1000, 2000, 3000):
        fake_checkpoint(run, step)
    assert cli.run(["runs", "show", "mine", "--json"], {}) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict["state"], verdict["look_at"], verdict["buckets"]) == ("turned", [2000, 3000], [2000, 2000])
    assert verdict["minimum"]["lowest_step"] == 2000 and verdict["gap"]["last"] > 0
    assert cli.run(["runs", "show", "mine"], {}) == 0
    assert "\n".join(verdict["text"]) in capsys.readouterr().out
    assert judge_run(RunData()).state == "too few points"


def test_patience() -> None:
    fell = {0: 5.0, 10: 4.0, 20: 3.0, 30: 3.5, 40: 3.2}
    assert out_of_patience(fell, 2) and not out_of_patience(fell, 3) and not out_of_patience(fell, 0)
    assert not out_of_patience({}, 1) and not out_of_patience({0: 1.0}, 1)
    assert out_of_patience({30: 3.5, 0: 1.0}, 1), "by step, not by the order in which they came"
    nan = float("nan")
    assert out_of_patience({0: 1.0, 10: nan, 20: nan}, 2) and not out_of_patience({0: nan, 10: 1.0}, 1)
    assert out_of_patience({0: nan, 10: nan}, 2) and not out_of_patience({0: nan}, 2)
