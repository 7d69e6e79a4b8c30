"""Tests of core/grid.py and core/axes: values as people write them, plans in the order that costs least."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import presets, registry
from core.errors import UserError
from core.grid import AxisContext, CellPlan, GridPlan, GridSettings, checkpoint_label, numbers, plan, split_values
from core.runs import SavedModel
from tests.fixtures.run_folders import fake_checkpoint, new_run

SHARED = CellPlan("", "a cat on a mat", "a dog", 1, 7.0, 20, "ddim", 64, 64)
CONTEXT = AxisContext((SavedModel(20, Path("/r/x-step00000020.safetensors")),), SHARED)


def made(seed: int = 5, **values: Any) -> GridPlan:
    flat = {"grid.base": "/some/model", **{key.replace("__", "."): value for key, value in values.items()}}
    return plan(presets.build(flat, "test", GridSettings), seed)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1, 2,3", ["1", "2", "3"]),
        ('"a, b", c', ["a, b", "c"]),
        ('"say ""hi""", x', ['say "hi"', "x"]),
        ("a, b\nc", ["a, b", "c"]),
        ("  \n one \n\n two \n", ["one", "two"]),
        ("", []),
        (" , ", []),
    ],
)
def test_split_values(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@pytest.mark.parametrize(
    ("text", "whole", "values"),
    [
        ("1-5", True, [1, 2, 3, 4, 5]),
        ("1-5 (+2)", True, [1, 3, 5]),
        ("10-5 (-3)", True, [10, 7]),
        ("5-1", True, [5, 4, 3, 2, 1]),
        ("1-10 [5]", True, [1, 3, 5, 7, 10]),
        ("1-10[4]", False, [1, 4, 7, 10]),
        ("0-1 (+0.25)", False, [0, 0.25, 0.5, 0.75, 1]),
        ("3, 7-8, 1e3", True, [3, 7, 8, 1000]),
        ("-1", True, [-1]),
        ("2-2", True, [2]),
        ("4-9 [1]", True, [4]),
    ],
)
def test_numbers_and_ranges(text: str, whole: bool, values: list[float]) -> None:
    assert numbers(text, whole) == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1-5 (+0)", "never ends"),
        ("1-5 (-1)", "never ends"),
        ("1-5 (2)", "neither a number nor a range"),
        ("0-1 (+0.00001)", "more than 10,000 values"),
        ("nan", "neither a number"),
        ("inf", "neither a number"),
        ("1-2-3", "neither a number"),
    ],
)
def test_what_is_no_number_or_range(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        numbers(text, whole=True)


@pytest.mark.parametrize(
    ("axis", "text", "changed", "labels"),
    [
        ("seed", "3, 4", {"seed": [3, 4]}, ["3", "4"]),
        ("cfg", "4, 7.5", {"cfg": [4, 7.5]}, ["4", "7.5"]),
        ("steps", "10-20 (+10)", {"steps": [10, 20]}, ["10", "20"]),
        ("sampler", "Euler, unipc", {"sampler": ["euler", "unipc"]}, ["Euler", "UniPC"]),
        ("prompt", "one, thing\nanother", {"prompt": ["one, thing", "another"]}, ["one, thing", "another"]),
        (
            "prompt_sr",
            "cat, owl",
            {"prompt": ["a cat on a mat", "a owl on a mat"], "negative": ["a dog", "a dog"]},
            ["cat", "owl"],
        ),
        ("checkpoint", "base, 20", {"checkpoint": ["", "/r/x-step00000020.safetensors"]}, ["base", "step 20"]),
        ("none", "whatever", {"prompt": ["a cat on a mat"]}, [""]),
    ],
)
def test_an_axis_changes_its_own_part_of_a_cell(
    axis: str, text: str, changed: dict[str, list[Any]], labels: list[str]
) -> None:
    component = registry.component("axes", axis)
    values = component.parse(text, CONTEXT)
    cells = [component.apply(SHARED, value, SHARED) for value in values]
    assert [component.show(value) for value in values] == labels
    for field in ("checkpoint", "prompt", "negative", "seed", "cfg", "steps", "sampler", "width", "height"):
        wanted = changed.get(field, [getattr(SHARED, field)] * len(cells))
        assert [getattr(cell, field) for cell in cells] == wanted, field


def test_every_axis_is_tested_above() -> None:
    marks = test_an_axis_changes_its_own_part_of_a_cell.pytestmark[0].args[1]
    assert {case[0] for case in marks} == set(registry.names("axes"))


@pytest.mark.parametrize(
    ("axis", "text", "says"),
    [
        ("seed", "-1", "the seed -1 is not possible"),
        ("seed", str(2**32), "is not possible"),
        ("cfg", "0.5", "a CFG scale of 0.5 is not possible; 1 to 50 is"),
        ("steps", "0", "0 steps are not possible"),
        ("steps", "1001", "1 to 1000 are"),
        ("sampler", "Eulr", "no sampler 'Eulr'; choose from ddim"),
        ("prompt_sr", "owl, cat", "'owl' does not occur in the prompt"),
        ("checkpoint", "30", r"no checkpoint '30' \(steps of the run: 20\)"),
        ("prompt", "", "give at least one value, or set the axis to none"),
        ("seed", "x", "neither a number nor a range"),
    ],
)
def test_a_wrong_value_is_named_with_its_axis(axis: str, text: str, says: str, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    fake_checkpoint(run, 20)
    label = registry.component("axes", axis).LABEL
    with pytest.raises(UserError, match=says) as error:
        made(grid__run=str(run.path), grid__prompt="a cat", y__type=axis, y__values=text)
    assert str(error.value).startswith(f"y.values ({label}): ")


def test_the_checkpoint_is_the_outermost_loop(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", model__base="/base")
    paths = [str(fake_checkpoint(run, number)) for number in (10, 20)]
    found = made(
        grid__base="",
        grid__run=str(run.path),
        x__type="seed",
        x__values="1,2",
        y__type="prompt",
        y__values="a\nb",
        z__type="checkpoint",
        z__values="",  # the base and all
    )
    cells = list(found.cells())
    assert found.size == (2, 2, 3) and len(cells) == len(found) == 12 and found.base == "/base"
    assert [cell.checkpoint for cell in cells] == [""] * 4 + [paths[0]] * 4 + [paths[1]] * 4
    assert len({(cell.x, cell.y, cell.z) for cell in cells}) == 12
    for cell in cells:
        assert (cell.seed, cell.prompt) == ((1, 2)[cell.x], "ab"[cell.y])
        assert cell.checkpoint == ["", *paths][cell.z]
    assert found.shared.checkpoint == paths[-1]


def test_a_random_seed_is_the_same_in_all_cells() -> None:
    found = made(99, grid__seed=-1, x__type="cfg", x__values="2,3")
    assert {cell.seed for cell in found.cells()} == {99}
    assert {cell.seed for cell in made(99, grid__seed=4).cells()} == {4}


def test_last_checkpoint_and_a_run_without_any(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", model__base="/base")
    with pytest.raises(UserError, match="give at least one value"):
        made(grid__run=str(run.path), x__type="checkpoint", x__values="all")
    fake_checkpoint(run, 10)
    last = fake_checkpoint(run, 30)
    assert made(grid__run=str(run.path), x__type="checkpoint", x__values="last").axes[0].values == (str(last),)


def test_a_grid_needs_a_model_and_a_run_that_is_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a grid needs a run or a base model"):
        made(grid__base="")
    with pytest.raises(UserError, match="is not a run folder"):
        made(grid__run=str(tmp_path))


def test_labels_of_checkpoints() -> None:
    assert checkpoint_label("") == "base"
    assert checkpoint_label("/x/name-step00001200.safetensors") == "step 1,200"
    assert checkpoint_label("/x/other.safetensors") == "other"
