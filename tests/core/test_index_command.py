"""Tests of core/commands/index.py: the report on the command line, by either plan of buckets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import cli
from tests.fixtures.pictures import tiny_pictures

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven pictures of three shapes, and a broken one."""
    made = tiny_pictures(tmp_path / "pictures", 11, ((64, 64), (96, 64), (64, 110)))
    (made / "broken.png").write_text("words")
    return made


def report(folder: Path, capsys: Capture, *more: str) -> dict[str, Any]:
    sizes = ("--resolution", "64", "--min", "32", "--max", "128", "--step", "16")
    assert cli.run(["index", str(folder), "--json", *sizes, *more], {}) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_kohyas_buckets_and_ours(folder: Path, capsys: Capture) -> None:
    kohya = report(folder, capsys, "--buckets", "kohya", "--batch-size", "4")
    assert kohya["plan"] == "kohya"
    assert {(one["width"], one["height"]): one["count"] for one in kohya["buckets"]} == {
        (48, 80): 3, (64, 64): 4, (80, 48): 4
    }  # fmt: skip
    assert kohya["short_batches"] > 1
    ours = report(folder, capsys, "--batch-size", "4")
    assert ours["plan"] == "least-crop"
    assert ours["short_batches"] <= kohya["short_batches"]
    assert ours["batches_per_epoch"] <= kohya["batches_per_epoch"]
    assert ours["cropped_share"] <= kohya["cropped_share"]
    assert ours["images"] == kohya["images"] == 11 and len(ours["broken"]) == 1


def test_any_setting_counts(folder: Path, capsys: Capture) -> None:
    rules = f'data.folder_rules=[{{path = "{folder}", repeats = 3, role = "train"}}]'
    found = report(folder, capsys, "--set", rules)
    assert (found["train"], found["validation"], found["uses_per_epoch"]) == (11, 0, 33)
    assert cli.run(["index", str(folder), "--set", "data.folder_rules=[{role = 'x'}]"], {}) == 2
    assert "data.folder_rules, entry 1: role = 'x' is not one of" in capsys.readouterr().err


def test_tokens_and_near_duplicates_are_looked_for_when_asked(folder: Path, capsys: Capture) -> None:
    found = report(folder, capsys)
    assert (found["uncounted"], found["unseen"]) == (11, 11)
    found = report(folder, capsys, "--count-tokens", "--near-duplicates")
    assert (found["uncounted"], found["unseen"], found["tokens"]) == (0, 0, "counted")


def test_in_words(folder: Path, capsys: Capture) -> None:
    assert cli.run(["index", str(folder), "--no-upscale"], {}) == 0
    told = capsys.readouterr()
    assert "11 pictures, 11 with a caption, 1 broken" in told.out
    assert "dropped: 1 broken files" in told.out and "--near-duplicates" in told.out
    assert "broken.png" in told.err
