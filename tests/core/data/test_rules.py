"""Tests of core/data/rules.py: the nearest folder's rule, parts, choices by hand, sd-scripts' names of folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core import presets
from core.data import rules as rules_module
from core.data.rules import (
    BY_CHANCE,
    CHOSEN,
    LEFT_OUT,
    REGULARISATION,
    TRAIN,
    VALIDATION,
    hex_of,
    of_directories,
    propose,
    roles,
    rows_of,
)
from core.errors import UserError
from core.settings import Settings
from core.settings.captions import CaptionSettings
from core.settings.folder_rules import FolderRules
from core.settings.validation import ValidationSettings

SIGNATURES = np.random.default_rng(0).integers(0, 2**64, (6, 2), dtype=np.uint64)


def made(*rules: dict[str, object]) -> Settings:
    return presets.build({"data.folder_rules": list(rules)}, "test")


def test_the_nearest_enclosing_folder_counts_whole() -> None:
    settings = made({"path": "/a", "repeats": 2, "weight": 0.5}, {"path": "/a/b/c/", "repeats": 3}, {"path": "/x.tar"})
    directories = ["/", "/a", "/ab", "/a/b", "/a/b/c", "/a/b/c/d/e", "/a/b/cc", "/x.tar", "/x.tar/inside", "/y"]
    rules, numbers = of_directories(directories, settings)
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [0, 1, 0, 1, 2, 2, 1, 3, 3, 0]
    assert rules[0] == FolderRules()
    assert (rules[2].repeats, rules[2].weight) == (3, 1)


def test_paths_are_read_as_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = made({"path": "~/one"}, {"path": "two"})
    assert of_directories([f"{tmp_path}/one/x", f"{tmp_path}/two"], settings)[1].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("rules", "says"),
    [([{"repeats": 2}], "entry 1 names no folder"), ([{"path": "/a"}, {"path": "/a/"}], "/a/ comes twice")],
)
def test_a_rule_without_a_folder_and_a_folder_with_two(rules: list[dict[str, object]], says: str) -> None:
    with pytest.raises(UserError, match=says):
        of_directories(["/a"], made(*rules))


def test_many_directories_are_looked_up_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    directories = [f"/data/{number // 100}/{number}" for number in range(200_000)]
    settings = made(*({"path": f"/data/{number}"} for number in range(0, 2000, 2)))
    looked: list[str] = []
    real = os.path.dirname
    monkeypatch.setattr(rules_module.os.path, "dirname", lambda path: (looked.append(path), real(path))[1])
    _, numbers = of_directories(directories, settings)
    assert (numbers > 0).mean() == 0.5
    assert len(looked) <= 200_000 + 2_000 + 2


def test_parts_of_pictures() -> None:
    rules = [
        FolderRules(),
        FolderRules(role="train"),
        FolderRules(role="validation", repeats=0),
        FolderRules(role="regularisation"),
        FolderRules(repeats=0),
        FolderRules(repeats=0, sample=5),
    ]
    found = roles(np.arange(6), rules, SIGNATURES, ValidationSettings())
    assert found.tolist() == [BY_CHANCE, TRAIN, VALIDATION, REGULARISATION, LEFT_OUT, BY_CHANCE]
    by_hand = ValidationSettings(
        chosen=[hex_of(SIGNATURES[row]) for row in (0, 1, 3, 4)], never=[hex_of(SIGNATURES[2]).upper(), " "]
    )
    found = roles(np.arange(6), rules, SIGNATURES, by_hand)
    assert found.tolist() == [CHOSEN, CHOSEN, TRAIN, REGULARISATION, LEFT_OUT, BY_CHANCE]


def test_signatures_are_written_as_the_index_writes_them() -> None:
    raw = bytes(range(16))
    signature = np.frombuffer(raw, dtype=np.uint64).reshape(1, 2)
    assert hex_of(signature[0]) == raw.hex()
    assert rows_of(np.repeat(signature, 3, axis=0), [raw.hex()], "k").tolist() == [0, 1, 2]
    half = np.array([[signature[0, 0], 0]], dtype=np.uint64)
    assert rows_of(half, [raw.hex()], "k").tolist() == []


def test_a_wrong_signature_is_named() -> None:
    with pytest.raises(UserError, match=r"validation\.never: 'xyz' is no signature"):
        roles(np.zeros(6, dtype=int), [FolderRules()], SIGNATURES, ValidationSettings(never=["xyz"]))


def test_repeats_out_of_names_of_folders(tmp_path: Path) -> None:
    for name in ("10_cat girl", "1_dog", "2_x", "words", "3", "4_"):
        (tmp_path / "all" / name).mkdir(parents=True)
    (tmp_path / "all" / "5_file").write_text("")
    (tmp_path / "7_alone").mkdir()
    found = propose([str(tmp_path / "all"), str(tmp_path / "7_alone"), str(tmp_path / "missing")])
    assert [(Path(rule.path).name, rule.repeats) for rule in found] == [("10_cat girl", 10), ("2_x", 2), ("7_alone", 7)]


def test_the_rules_know_every_kind_of_caption() -> None:
    def choices(model: type, name: str) -> tuple[str, ...]:
        return tuple(model.model_fields[name].annotation.__args__)

    assert choices(FolderRules, "captions") == ("page", *choices(CaptionSettings, "captions"))
