"""Tests of core/kohya/length.py: steps, epochs and samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.kohya import FINE, imported, verdicts


@pytest.mark.parametrize(
    ("flags", "steps", "epochs"),
    [
        ("", 1600, None),
        ("--max_train_steps 300", 300, 0),
        ("--max_train_epochs 3", 0, 3),
        ("--max_train_epochs 3 --max_train_steps 300", 0, 3),
    ],
)
def test_epochs_overrule_steps(tmp_path: Path, flags: str, steps: int, epochs: int | None) -> None:
    found = imported(tmp_path, f"{FINE}--seed 1 {flags}")
    assert (found.values["training.max_steps"], found.values.get("training.max_epochs")) == (steps, epochs)


def test_prompts_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# mine\na cat --w 640 --s 20 --l 5 --n blurry\n\na dog --h 9\n")
    found = imported(
        tmp_path, FINE + "--sample_prompts prompts.txt --sample_every_n_steps 50 --sample_sampler k_euler_a"
    )
    names = ("prompts", "width", "steps", "cfg", "negative", "every_steps", "sampler")
    assert [found.values[f"sample.{name}"] for name in names] == [
        ["a cat", "a dog"],
        640,
        20,
        5.0,
        "blurry",
        50,
        "euler_a",
    ]
    gone = imported(tmp_path, FINE + "--sample_prompts gone.txt")
    assert verdicts(gone)["sample_prompts"] == ("unknown", "") and "sample.prompts" not in gone.values


def test_samples_by_epochs_overrule_those_by_steps(tmp_path: Path) -> None:
    found = imported(tmp_path, FINE + "--sample_every_n_steps 50 --sample_every_n_epochs 2")
    assert (found.values["sample.every_epochs"], found.values.get("sample.every_steps", 0)) == (2, 0)
    assert verdicts(found)["sample_every_n_epochs"] == ("taken", "sample.every_epochs")
    assert verdicts(found)["sample_every_n_steps"][0] == "unneeded"
    many = imported(tmp_path, FINE + "--in_json meta.json --dataset_repeats 3 --sample_every_n_epochs 2")
    assert many.values["sample.every_epochs"] == 6 and verdicts(many)["sample_every_n_epochs"][0] == "equivalent"
