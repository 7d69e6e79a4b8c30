"""Plans of sweeps: combinations, rules in their order, limits, names, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from core import presets
from core.errors import UserError
from core.sweep.file import Range, Sweep
from core.sweep.options import SweepOptions
from core.sweep.plan import MOST_RUNS, SweepPlan, plan, show_value

GROUND = presets.flat(presets.build({"training.max_steps": 400, "training.learning_rate": 1e-4}, "t"))
RATE, BATCH, STEPS = "training.learning_rate", "training.batch_size", "training.max_steps"


def made(ground: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **fields: Any) -> SweepPlan:
    given = presets.build(options or {}, "t", SweepOptions)
    return plan(Sweep(name="S", options=given, **fields), {**GROUND, **(ground or {})})


def values(found: SweepPlan, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(presets.flat(found.settings(run))[key] for key in keys) for run in found.runs]


def test_every_combination_with_the_last_setting_fastest() -> None:
    found = made(vary={RATE: [1e-5, 1e-4], BATCH: [1, 2, 4]})
    assert values(found, RATE, BATCH) == [(1e-5, 1), (1e-5, 2), (1e-5, 4), (1e-4, 1), (1e-4, 2), (1e-4, 4)]
    assert found.varied_keys() == [RATE, BATCH] and found.runs[1].varied == {RATE: 1e-5, BATCH: 2}


def test_side_by_side() -> None:
    paired = made(
        vary={RATE: [1e-5, 1e-4], BATCH: [1, 2], "training.warmup_steps": [7]}, options={"sweep.combine": "paired"}
    )
    assert values(paired, RATE, BATCH, "training.warmup_steps") == [(1e-5, 1, 7), (1e-4, 2, 7)]
    both = made(vary={BATCH: [1, 2], "lora.rank": [4, 8], "lora.alpha": [2, 4]}, together=[["lora.rank", "lora.alpha"]])
    assert values(both, BATCH, "lora.rank", "lora.alpha") == [(1, 4, 2), (1, 8, 4), (2, 4, 2), (2, 8, 4)]
    with pytest.raises(UserError, match=r"3 values .* has 2|2 values .* has 3"):
        made(vary={RATE: [1e-5, 1e-4], BATCH: [1, 2, 4]}, options={"sweep.combine": "paired"})


def test_rules_with_constants_the_base_and_short_names() -> None:
    found = made(
        vary={BATCH: [1, 4, 16]},
        constants={"images": 1600},
        rules={STEPS: "images / (batch_size * accumulation)", RATE: "base * sqrt(training.batch_size)"},
    )
    assert values(found, RATE, STEPS) == [(1e-4, 1600), (2e-4, 400), (4e-4, 100)]


def test_rules_are_worked_out_in_the_order_of_their_needs() -> None:
    found = made(vary={BATCH: [2, 4]}, rules={"training.warmup_steps": "max_steps / 10", STEPS: "1000 / batch_size"})
    assert values(found, STEPS, "training.warmup_steps") == [(500, 50), (250, 25)]
    with pytest.raises(UserError, match="Break the circle"):
        made(vary={BATCH: [2]}, rules={"training.warmup_steps": "max_steps", STEPS: "warmup_steps"})
    with pytest.raises(UserError, match="Break the circle"):
        made(vary={BATCH: [2]}, rules={STEPS: "max_steps + 1"})


def test_a_name_of_several_settings_is_the_one_that_varies() -> None:
    found = made(vary={"lora.rank": [4, 8]}, rules={"lora.alpha": "rank"})
    assert values(found, "lora.alpha") == [(4.0,), (8.0,)]
    with pytest.raises(UserError, match=r"may be .*lora.rank or "):
        made(vary={BATCH: [1]}, rules={"lora.alpha": "rank"})


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({STEPS: "imagez / batch_size"}, "no 'imagez'"),
        ({STEPS: "training.batch_sise"}, "Did you mean 'training.batch_size'"),
        ({STEPS: "1 / (batch_size - 1)"}, "divides by 0"),
        ({"training.optimizer": "1"}, "only numbers follow rules"),
        ({STEPS: "-batch_size"}, "at least 0"),
        ({STEPS: "optimizer * 2"}, "no number"),
    ],
)
def test_rules_that_make_no_sense(rules: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(vary={BATCH: [1]}, rules=rules)


def test_seeds_multiply_all_runs() -> None:
    found = made({"training.seed": 5}, {"sweep.seeds": 3}, vary={BATCH: [1, 2]})
    assert values(found, BATCH, "training.seed") == [(1, 5), (1, 6), (1, 7), (2, 5), (2, 6), (2, 7)]


def test_limits_of_steps_and_measurements() -> None:
    options = {"sweep.steps": 300, "sweep.measurements": 20}
    found = made(vary={STEPS: [100, 1000]}, options=options)
    assert values(found, STEPS, "validation.every_steps") == [(100, 5), (300, 15)]
    assert values(found, "validation.most_share") == [(0.0,), (0.0,)], "as many as were asked for"
    with pytest.raises(UserError, match="want its length in steps"):
        made({STEPS: 0, "training.max_epochs": 3}, {"sweep.measurements": 20}, vary={BATCH: [1]})


def test_whole_numbers_of_a_range_come_once() -> None:
    assert values(made(vary={BATCH: Range(1, 3, 5)}), BATCH) == [(1,), (2,), (3,)]


def test_runs_that_would_repeat_others_are_left_out() -> None:
    found = made(vary={"training.method": ["full", "lora"], "lora.rank": [4, 8, 16]})
    assert values(found, "training.method", "lora.rank") == [("full", 4), ("lora", 4), ("lora", 8), ("lora", 16)]
    assert found.twins == 2
    with pytest.raises(UserError, match=r"lora.rank varies, but has no effect in any run: it counts for lora only"):
        made({"training.method": "full"}, vary={"lora.rank": [4, 8]})
    with pytest.raises(UserError, match=r"training.ema_decay varies, but has no effect"):
        made(vary={"training.ema_decay": [0.9, 0.99]})


def test_impossible_values_name_the_setting() -> None:
    with pytest.raises(UserError, match=r"training.batch_size = 0 is not possible"):
        made(vary={BATCH: [1, 0]})
    with pytest.raises(UserError, match="Did you mean 'adamw'"):
        made(vary={"training.optimizer": ["adamv"]})
    with pytest.raises(UserError, match=f"{MOST_RUNS:,} are the most"):
        made(vary={BATCH: Range(1, 100, 100), "training.seed": Range(1, 100, 100)})


def test_names_tell_runs_apart_and_are_folders() -> None:
    found = made(
        vary={RATE: [3.1623e-5], "training.optimizer": ["adamw"], "training.ema": [True], "data.folders": [["a b/c"]]}
    )
    run = found.runs[0]
    assert run.name == "Learning rate 3.1623e-5, Optimizer adamw, Average the weights (EMA) on, Picture folders a b/c"
    assert run.id.startswith("001-learning-rate-3.1623e-5-optimizer-adamw") and "/" not in run.id and " " not in run.id
    assert run.changes["output.name"] == f"S: {run.name}"
    assert len({run.id for run in made(vary={BATCH: Range(1, 500, 500)}).runs}) == 500


def test_values_in_few_letters() -> None:
    assert [show_value(x) for x in (1e-5, 3.16228e-4, 0.0016, 0.5, 0.0)] == ["1e-5", "3.1623e-4", "0.0016", "0.5", "0"]
    assert [show_value(x) for x in (True, 12000, "x", "", ["a", "b"])] == ["on", "12,000", "x", "none", "a; b"]
