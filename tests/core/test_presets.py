"""Tests of core/presets.py: TOML in and out, the command line's changes, and what is said about mistakes."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import checks, paths, presets
from core.errors import UserError
from core.migrations import FORMAT
from core.schema import Entry, fields
from core.settings import default_settings

BUILT_IN = [
    "starter",
    "sd15-lora",
    "sd15-full",
    "sdxl-lora-12gb",
    "sdxl-full-24gb",
    "sdxl-part-63",
    "sdxl-part-71",
]


def test_a_sparse_preset_keeps_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    made = presets.build({"training.seed": 7, "lora.rank": 64, "sample.prompts": ['a "b"', "c\nd"]}, "test")
    presets.save(path, made, "Mine", "What it is for")
    preset = presets.read(path)
    assert preset.values == {"training.seed": 7, "lora.rank": 64, "sample.prompts": ['a "b"', "c\nd"]}
    assert (preset.name, preset.description, preset.path) == ("Mine", "What it is for", path)
    assert presets.load(path) == made


def test_on_a_base_even_a_default_is_kept(tmp_path: Path) -> None:
    base = presets.build(presets.full_values(presets.builtin()["sd15-full"]), "base")
    assert base.training.method == "full"
    mine = presets.build({**presets.flat(base), "training.method": "lora", "training.seed": 5}, "test")
    presets.save(tmp_path / "mine.toml", mine, "Mine", base="sd15-full")
    assert presets.read(tmp_path / "mine.toml").values == {"training.method": "lora", "training.seed": 5}
    assert presets.load(tmp_path / "mine.toml") == mine


def test_frozen_settings_say_everything(tmp_path: Path) -> None:
    made = presets.build({"training.seed": 7}, "test")
    presets.freeze(tmp_path / "settings.toml", made)
    assert presets.read(tmp_path / "settings.toml").values == presets.flat(made)
    assert presets.thaw(tmp_path / "settings.toml") == made


def test_rules_of_folders_are_tables_in_the_file(tmp_path: Path) -> None:
    rules = [{"path": "/a", "repeats": 2.5}, {"path": "/b", "role": "validation"}]
    made = presets.build({"data.folder_rules": rules, "training.seed": 7}, "test")
    presets.save(tmp_path / "mine.toml", made, "Mine")
    assert presets.read(tmp_path / "mine.toml").values == {"data.folder_rules": rules, "training.seed": 7}
    assert (tmp_path / "mine.toml").read_text().count("[[data.folder_rules]]") == 2
    presets.freeze(tmp_path / "settings.toml", made)
    assert (tmp_path / "settings.toml").read_text().count("weight = 1.0") == 2
    assert presets.thaw(tmp_path / "settings.toml") == presets.load(tmp_path / "mine.toml") == made
    (tmp_path / "one.toml").write_text("")
    change = 'data.folder_rules=[{path = "c", sample = 30}]'
    assert presets.load(tmp_path / "one.toml", [change]).data.folder_rules[0].sample == 30


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{"path": "a"}, {"repeats": -1}], "entry 2: repeats = -1 is not possible: it must be a number at least 0"),
        ([{"pth": "a"}], "entry 1: there is no 'pth'. Did you mean 'path'?"),
        ([{"role": "valid"}], "Did you mean 'validation'?"),
        (["a"], "entry 1: 'a' is not possible: it must be a table."),
        ("a", "must be a list of tables"),
    ],
)
def test_a_wrong_rule_of_a_folder_is_named(rules: object, says: str) -> None:
    with pytest.raises(UserError, match=r"data\.folder_rules") as error:
        presets.build({"data.folder_rules": rules}, "test")
    assert says in str(error.value)


def test_all_built_in_presets_are_there_in_order() -> None:
    assert list(presets.builtin()) == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_preset_lacks_nothing_but_model_and_pictures(name: str) -> None:
    preset = presets.builtin()[name]
    assert preset.description
    loaded = presets.build(presets.full_values(preset), name)
    errors = {problem.key for problem in checks.problems(loaded) if problem.severity == "error"}
    assert errors == (set() if name == "starter" else {"model.base", "data.folders"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[training]\nlerning_rate = 1", "'training.lerning_rate'. Did you mean 'training.learning_rate'?"),
        ("[model]\nlearning_rate = 1", "Did you mean 'training.learning_rate'?"),
        ("[qqq]\nzzz = 1", "The reference of all settings is in resources/docs/settings.md"),
        ("training = 5", "there is no setting 'training'"),
        ("[training\n", "is not valid TOML"),
        (f"format = {FORMAT + 1}", "newer version of Burnish"),
        ("format = 'x'", "format = 'x' is not a version"),
        ("format = true", "format = True is not a version"),
        ("order = 'x'", "order = 'x' is not possible: it must be a whole number"),
        ("name = 5", "name = 5 is not possible: it must be a text"),
    ],
)
def test_a_wrong_file_is_explained(text: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        presets.parse(text, "mine.toml")
    assert says in str(error.value) and "mine.toml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("training.batch_size", 0, "must be a whole number at least 1 and at most 4,096"),
        ("training.batch_size", 1.5, "must be a whole number"),
        ("training.batch_size", "many", "must be a whole number"),
        ("training.learning_rate", float("nan"), "must be a number at least 0"),
        ("training.optimizer", "adamw8bits", "Did you mean 'adamw8bit'?"),
        ("training.precision", "fp8", "is not one of auto, bf16, fp16, fp32"),
        ("data.folders", "x", "must be a list of texts"),
        ("data.flip", "perhaps", "must be true or false"),
        ("model.base", 5, "must be a text"),
        ("lora.rank", -1, "must be a whole number at least 1"),
    ],
)
def test_an_impossible_value_is_explained(key: str, value: Any, says: str) -> None:
    with pytest.raises(UserError) as error:
        presets.build({key: value}, "mine.toml")
    assert str(error.value).startswith(f"mine.toml: {key} = ") and says in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Is a directory"):
        presets.load(tmp_path)
    with pytest.raises(UserError, match=r"No such file"):
        presets.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        presets.load(tmp_path / "binary.toml")


def test_a_preset_that_cannot_be_saved_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the preset cannot be saved"):
        presets.save(tmp_path / "file" / "mine.toml", default_settings(), "Mine")


def test_bases_lie_on_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "builtin_presets_folder", lambda: tmp_path)
    (tmp_path / "low.toml").write_text("[training]\nseed = 1\nbatch_size = 2")
    (tmp_path / "mid.toml").write_text('base = "low"\n[training]\nseed = 2\nmax_steps = 3')
    preset = presets.parse('base = "mid"\n[training]\nmax_steps = 4', "top.toml")
    assert presets.full_values(preset) == {"training.seed": 2, "training.batch_size": 2, "training.max_steps": 4}


def test_a_circle_of_bases_and_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "builtin_presets_folder", lambda: tmp_path)
    (tmp_path / "one.toml").write_text('base = "two"')
    (tmp_path / "two.toml").write_text('base = "one"')
    with pytest.raises(UserError, match=r"one -> two -> one lie on each other in a circle"):
        presets.full_values(presets.parse('base = "one"', "x.toml"))
    with pytest.raises(UserError, match=r"no built-in preset 'tow' to lie on. Did you mean 'two'\?"):
        presets.full_values(presets.parse('base = "tow"', "x.toml"))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("training.max_steps=4k", 4000),
        ("training.max_steps=12,000", 12000),
        ("hardware.telemetry_seconds=2min", 120.0),
        ("training.learning_rate=1e-6", 1e-6),
        ("validation.share=10%", 0.1),
        ("training.activation_checkpointing=yes", True),
        ("training.activation_checkpointing=off", False),
        ("data.folders=/some where", ["/some where"]),
        ("data.folders=['a', 'b=c']", ["a", "b=c"]),
        ("data.folders=", []),
        ("data.trigger=a=b", "a=b"),
        ("output.name=", ""),
    ],
)
def test_changes_from_the_command_line(change: str, value: object) -> None:
    found = presets.parse_changes([change])
    assert list(found.values()) == [value] and type(next(iter(found.values()))) is type(value)


def test_durations_and_bytes_as_changes() -> None:
    assert presets.parse_value(presets.entries()["hardware.telemetry_seconds"], "2h") == 7200.0
    assert presets.parse_value(presets.entries()["training.seed"], "24GiB") == 24 * 2**30


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.seed", "write it as group.field=value"),
        ("training.sed=1", "Did you mean 'training.seed'?"),
        ("training.seed=1.5", "it must be a whole number"),
        ("training.seed=x", "training.seed: 'x' is not a number"),
        ("data.flip=maybe", "it must be true or false"),
        ("data.folders=['a'", "is not a list; write it as"),
    ],
)
def test_wrong_changes_are_explained(change: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        presets.parse_changes([change])
    assert says in str(error.value)


def test_changes_win_over_the_preset(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[training]\nseed = 1\nbatch_size = 2")
    loaded = presets.load(tmp_path / "p.toml", ["training.seed=9"])
    assert (loaded.training.seed, loaded.training.batch_size) == (9, 2)


def _values(entry: Entry) -> st.SearchStrategy[Any]:
    """Values that an option may have."""
    low = None if entry.low is None else entry.low
    high = None if entry.high is None else entry.high
    text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
    if entry.kind == "bool":
        return st.booleans()
    if entry.kind == "int":
        return st.integers(None if low is None else int(low), None if high is None else int(high))
    if entry.kind == "float":
        limits = {"exclude_min": entry.low_open, "exclude_max": entry.high_open}
        return st.floats(low, high, allow_nan=False, allow_infinity=False, **limits)
    if entry.kind == "choice":
        return st.sampled_from(entry.choices)
    if entry.table is not None:
        row = {inner.field: _values(inner) for inner in fields(entry.table, entry.key)}
        return st.lists(st.fixed_dictionaries({}, optional=row), max_size=3)
    item = st.sampled_from(entry.choices) if entry.choices else text
    return st.lists(item, max_size=3) if entry.kind == "list" else text


@st.composite
def _flat(draw: st.DrawFn) -> dict[str, Any]:
    known = presets.entries()
    keys = draw(st.lists(st.sampled_from(sorted(known)), max_size=8, unique=True))
    return {key: draw(_values(known[key])) for key in keys if abs(known[key].low or 0) < 2**53}


@settings(max_examples=60, deadline=None)
@given(_flat(), st.text(string.printable, max_size=20))
def test_any_settings_survive_a_round_trip(values: dict[str, Any], name: str) -> None:
    made = presets.build(values, "test")
    sparse = presets.to_toml(presets.differences(made, default_settings()), {"name": name})
    preset = presets.parse(sparse, "round.toml")
    assert presets.build(preset.values, "round") == made
    assert preset.name == (name or "round")
    assert presets.build(presets.parse(presets.to_toml(presets.flat(made), {}), "whole").values, "whole") == made
