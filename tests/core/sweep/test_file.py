"""Sweep files: what can be written, what comes back, and the errors with the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import paths, presets
from core.errors import UserError
from core.sweep import file
from core.sweep.file import Range
from core.sweep.plan import plan

WHOLE = """
format = 1
name = "Rates"
description = "Some rates."
base = "starter"
together = [["lora.rank", "lora.alpha"]]

[vary]
training.learning_rate = { start = 1e-5, stop = 1e-3, count = 3, scale = "log" }
lora.rank = [4, 8]
"lora.alpha" = [2, 4]

[vary.training]
batch_size = [1, 2]

[set]
training.method = "lora"

[rules]
training.max_steps = "images / batch_size"

[constants]
images = 1600

[sweep]
seeds = 2
measurements = 20

[end]
past_minimum = 5
"""


def test_all_ways_of_writing_are_read_and_written_back(tmp_path: Path) -> None:
    text = WHOLE.replace("[vary.training]\nbatch_size", "training.batch_size").replace(
        '"lora.alpha" = [2, 4]\n\n', '"lora.alpha" = [2, 4]\n'
    )
    sweep = file.parse(text, "whole.toml")
    assert list(sweep.vary) == ["training.learning_rate", "training.batch_size", "lora.rank", "lora.alpha"]
    assert sweep.vary["training.learning_rate"] == Range(1e-5, 1e-3, 3, "log")
    assert (sweep.fixed, sweep.constants) == ({"training.method": "lora"}, {"images": 1600})
    assert (sweep.options.sweep.seeds, sweep.options.end.past_minimum, sweep.options.end.diverged) == (2, 5, True)
    file.save(tmp_path / "again.toml", sweep)
    again = file.read(tmp_path / "again.toml")
    assert again.folder == tmp_path
    again.folder = None
    assert again == sweep


def test_ranges() -> None:
    assert Range(1e-5, 1e-3, 3, "log").numbers() == [1e-5, 1e-4, 1e-3]
    assert Range(1e-4, 1.6e-3, 5, "log").numbers() == [1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3]
    assert Range(0, 1, 5).numbers() == [0, 0.25, 0.5, 0.75, 1]
    assert Range(3, 1, 2).numbers() == [3, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[vary]\ntraining.lerning_rate = [1]", "Did you mean 'training.learning_rate'"),
        ("[rules]\nmodel.learning_rate = '1'", "Did you mean 'training.learning_rate'"),
        ("[varry]\ntraining.seed = [1]", "Did you mean 'vary'"),
        ("[sweep]\nsead = 2", "Did you mean 'sweep.seeds'"),
        ("[sweep]\ncombine = 'pared'", "Did you mean 'paired'"),
        ("[vary]\ntraining.seed = { start = 1, stop = 2, cuont = 3 }", "Did you mean 'count'"),
        ("[vary]\ntraining.learning_rate = { start = 0, stop = 1, count = 3, scale = 'log' }", "above 0"),
        ("[vary]\ntraining.learning_rate = { start = 'a', stop = 1, count = 3 }", "wants numbers"),
        ("[vary]\ntraining.learning_rate = { start = 1, stop = 2, count = 1 }", "from 2 to"),
        ("[vary]\ntraining.optimizer = { start = 1, stop = 2, count = 2 }", "only numbers have ranges"),
        ("[vary]\ntraining.seed = []", "at least one value"),
        ("[vary]\ndata.folders = ['a', 'b']", "a list of lists"),
        ("[vary]\ntraining.seed = [1]\n[rules]\ntraining.seed = '2'", r"under \[vary\] and under \[rules\]"),
        ("[rules]\ntraining.seed = 'import os'", "it is no formula"),
        ("[rules]\ntraining.seed = 3", "in quotes"),
        ("[constants]\nimages = 'many'", "images = 'many'"),
        ("together = [['training.seed']]", "does not stand under"),
        ("together = [['training.seed', 'training.seed']]\n[vary]\ntraining.seed = [1]", "twice"),
        ("[vary]\ntraining.seed = [1]\n[sweep]\nseeds = 2", "either sweep.seeds"),
        ("format = 2", "newer version"),
        ("format = 'x'", "should be 1"),
        ("name = 3", "must be a text"),
        ("vary = 3", "must be a table"),
        ("[vary", "not valid TOML"),
    ],
)
def test_mistakes_are_told_with_the_place_and_the_nearest_key(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        file.parse(text, "mine.toml")
    assert "mine.toml" in str(error.value)


def test_the_base_is_looked_for_beside_the_file_and_among_the_presets(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[training]\nseed = 7\n")
    (tmp_path / "sweep.toml").write_text("base = 'own.toml'\n")
    assert file.base_values(file.read(tmp_path / "sweep.toml"))["training.seed"] == 7
    (tmp_path / "sweep.toml").write_text("base = 'starter'\n")
    assert file.find_base(file.read(tmp_path / "sweep.toml")).parent == paths.builtin_presets_folder()
    paths.presets_folder().mkdir(parents=True)
    presets.save(paths.presets_folder() / "mine.toml", presets.build({"training.seed": 9}, "t"), "mine")
    (tmp_path / "sweep.toml").write_text("base = 'mine'\n")
    assert file.base_values(file.read(tmp_path / "sweep.toml"))["training.seed"] == 9
    (tmp_path / "sweep.toml").write_text("base = 'startr'\n")
    with pytest.raises(UserError, match="Did you mean 'starter'"):
        file.find_base(file.read(tmp_path / "sweep.toml"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        file.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        file.read(tmp_path / "binary.toml")


def test_every_sweep_that_ships_can_be_planned() -> None:
    shipped = sorted((paths.RESOURCES / "sweeps").glob("*.toml"))
    assert len(shipped) >= 4
    for path in shipped:
        sweep = file.read(path)
        assert sweep.description and len(plan(sweep).runs) >= 3, path.name
