"""Tests of core/migrations.py: every step has a test, and old files become present ones."""

from __future__ import annotations

import sys

import pytest

from core import presets
from core.errors import UserError
from core.migrations import FORMAT, STEPS, migrate


def test_every_step_has_a_test_and_none_is_missing() -> None:
    assert sorted(STEPS) == list(range(1, FORMAT))
    module = sys.modules[__name__]
    for version in STEPS:
        assert hasattr(module, f"test_from_{version}_to_{version + 1}"), f"write a test of step {version}"


def test_from_1_to_2() -> None:
    tables = {"training": {"gradient_accumulation_steps": 4, "gradient_checkpointing": True, "seed": 3}}
    STEPS[1](tables)
    assert tables == {"training": {"accumulation": 4, "activation_checkpointing": True, "seed": 3}}


def test_from_2_to_3() -> None:
    sparse = {"data": {"bucket_step": 32}}
    STEPS[2](sparse)
    assert sparse == {"data": {"bucket_step": 32}}
    numbers = {"bucket_step": 64, "min_side": 256, "max_side": 1024, "upscale": True}
    frozen = {"data": dict(numbers)}
    STEPS[2](frozen)
    assert frozen == {"data": {**numbers, "buckets": "kohya"}}


def test_an_old_preset_is_read() -> None:
    preset = presets.parse("format = 1\n[training]\ngradient_accumulation_steps = 4", "old.toml")
    assert preset.values == {"training.accumulation": 4}


def test_an_old_key_in_a_present_file_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"there is no setting .*gradient_accumulation_steps"):
        presets.parse(f"format = {FORMAT}\n[training]\ngradient_accumulation_steps = 4", "new.toml")


def test_a_file_without_a_format_is_taken_as_present() -> None:
    assert migrate({}, "x") == {"format": FORMAT}


@pytest.mark.parametrize("version", [0, -1, 1.5, "2", True])
def test_what_is_no_version(version: object) -> None:
    with pytest.raises(UserError, match=r"is not a version; it should be"):
        migrate({"format": version}, "x.toml")


def test_a_newer_file_asks_for_an_update() -> None:
    with pytest.raises(UserError, match=rf"x.toml was written by a newer version of Burnish \(format {FORMAT + 1}"):
        migrate({"format": FORMAT + 1}, "x.toml")
