"""Curves laid over each other by scaling x: factors that are known, the rule beside them, and the words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.compare import Compared, Difference
from core.compare_scale import foretold, lay_over, rules, words
from core.errors import UserError
from core.run_columns import ReadRun
from core.run_data import RunData
from core.sweep.results import Result


def _run(name: str, speed: float, rate: float = 1e-5, batch: int = 1, steps: int = 400) -> Compared:
    """A run that learns `speed` times as fast as another: a bowl whose bottom lies at step 100 / speed."""
    data = RunData(last_step=steps)
    at = np.arange(0, steps + 1, 4, dtype=np.float64)
    wild = np.random.default_rng(len(name)).normal(size=len(at))
    data.curve("stable/validation").extend(at, 0.1 + 1e-6 * (speed * at - 100) ** 2 + 1e-5 * wild)
    data.curve("images").extend(at, batch * at)
    result = Result(id=name, name=name, path=name, rate=rate, batch=batch)
    return Compared(Path(name), name, name, "", "train", result, reading=ReadRun(data, 0, 0))


def test_factors_and_the_rule_for_rates() -> None:
    runs = [_run("a", 1.0), _run("bb", 2.0, rate=2e-5), _run("ccc", 4.0, rate=4e-5)]
    found = lay_over(runs, "validation", "step")
    assert [laid.scale for laid in found] == pytest.approx([1, 2, 4], rel=0.03)
    assert [laid.foretold for laid in found] == pytest.approx([1, 2, 4])
    assert all(laid.match.coincides and not laid.match.coincides_unscaled for laid in found[1:] if laid.match)
    (rule,) = rules(found, [Difference("training.learning_rate", "Learning rate", "", "", [1e-5, 2e-5, 4e-5])])
    assert rule.power == pytest.approx(1, abs=0.05)
    said = " ".join(words(found, [rule]))
    assert "all 2 curves coincide with the first" in said and "in proportion" in said


def test_the_square_root_rule_lets_batches_coincide_over_pictures() -> None:
    """Rate 1e-5 * sqrt(batch): a step of batch 4 is worth four of batch 1, a picture the same."""
    runs = [_run("a", 1.0), _run("bb", 4.0, rate=2e-5, batch=4)]
    by_step, by_image = (lay_over(runs, "validation", axis)[1] for axis in ("step", "images"))
    assert by_step.scale == pytest.approx(4, rel=0.03) and by_step.foretold == pytest.approx(4)
    assert by_image.scale == pytest.approx(1, rel=0.03) and by_image.foretold == pytest.approx(1)
    assert by_image.match is not None and by_image.match.coincides_unscaled
    assert words([by_image], [])[0] == "They coincide as they are: no scaling is needed."


def test_another_shape_does_not_coincide_and_the_words_say_so() -> None:
    runs = [_run("a", 1.0), _run("bb", 1.0)]
    other = runs[1].data.curve("stable/validation")
    other._values.array[:] = 0.15
    found = lay_over(runs, "validation", "step")
    assert found[1].match is not None and not found[1].match.coincides
    assert "0 of 1 coincide" in words(found, [])[0]


def test_what_is_not_known_is_not_foretold() -> None:
    one, other = _run("a", 1.0), _run("b", 1.0)
    blank = replace(other, result=replace(other.result, rate=None))
    assert foretold(one, blank, "step") is None
    assert foretold(one, replace(other, result=replace(other.result, batch=None)), "step") is None
    assert foretold(one, other, "hours") is None


def test_runs_without_the_curve_are_named_not_dropped() -> None:
    empty = Compared(Path("e"), "e", "e", "", "train", Result(id="e", name="e", path="e"), reading=None)
    found = lay_over([_run("a", 1.0), empty], "validation", "step")
    assert found[1].match is None and "fewer than 5 points" in found[1].problem and found[1].scale == 1
    assert words(found, []) == ["None of these curves could be laid over the first one."]
    with pytest.raises(UserError, match="too few points"):
        lay_over([empty, _run("a", 1.0)], "validation", "step")
    with pytest.raises(UserError, match="two runs or more"):
        lay_over([_run("a", 1.0)], "validation", "step")


def test_long_curves_are_averaged_first() -> None:
    runs = [_run("a", 1.0, steps=40_000), _run("bb", 2.0, steps=40_000)]
    assert lay_over(runs, "validation", "step")[1].scale == pytest.approx(2, rel=0.03)
