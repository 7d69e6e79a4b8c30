"""Tests of core/commands/estimate.py: the command line's contract, for real."""

from __future__ import annotations

import json

import pytest

from core import presets
from core.anatomy.source import open_anatomy
from core.anatomy.trained import counts, trained_parts
from core.commands.estimate import _card_bytes
from core.commands.train import preset_path
from core.errors import UserError
from core.estimate.report import estimate
from tests.fixtures.processes import program

GIB = 1 << 30


def test_json_is_one_document() -> None:
    found = program("estimate", "sd15-full", "--set", "model.family=sd15", "--gpu-memory", "8GiB", "--json")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["steps"] == 5000 and told["hours"] is None
    assert told["fits"]["8"] is False and told["fits"]["24"] is True
    assert told["changes"] and all(change["fits"] for change in told["changes"])


def test_the_starter_counts_its_pictures() -> None:
    found = program("estimate", "starter", "--json", "--set", "training.max_steps=0", "--set", "training.max_epochs=3")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["steps"] > 0 and told["trainable_share"] == 1.0


def test_people_get_a_table() -> None:
    found = program("estimate", "sdxl-lora-12gb", "--set", "model.family=sdxl", "--gpu-memory", "12GiB")
    assert found.returncode == 0, found.stderr
    assert "Trained " in found.stdout and "12 GB: yes" in found.stdout and "is enough" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sd15-full"], "model.base: choose the model"),
        (["sd15-full", "--set", "model.base=/none"], "/none does not exist"),
        (["sd15-ful"], "Did you mean 'sd15-full'?"),
        (["starter", "--gpu-memory", "much"], "--gpu-memory: 'much' is not a number"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], says: str) -> None:
    found = program("estimate", *arguments)
    assert found.returncode == 2 and found.stdout == ""
    assert says in found.stderr and len(found.stderr.splitlines()) == 1


def test_sizes_of_cards() -> None:
    assert _card_bytes("24GiB") == _card_bytes("24") == 24 * GIB
    assert _card_bytes("16GB") == 16e9
    with pytest.raises(UserError, match="write it like 24GiB"):
        _card_bytes("12MiB")


@pytest.mark.parametrize(("name", "share"), [("sdxl-part-63", 0.631), ("sdxl-part-71", 0.705)])
def test_the_presets_for_parts_do_what_their_names_say(name: str, share: float) -> None:
    settings = presets.load(preset_path(name), ["model.family=sdxl"])
    anatomy = open_anatomy("", "sdxl")
    unet = {"unet": trained_parts(settings, anatomy)["unet"]}
    trained, whole = counts(anatomy, unet)
    assert trained / whole == pytest.approx(share, abs=0.0005)
    assert estimate(settings, with_changes=False).fits["24"]
