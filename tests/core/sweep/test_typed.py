"""What is typed in the form of a sweep: read into values, ranges and rules, and written back."""

from __future__ import annotations

from typing import Any

import pytest

from core import presets
from core.errors import UserError
from core.sweep import typed
from core.sweep.file import Range, parse, to_toml
from core.sweep.options import SweepOptions
from core.sweep.typed import Draft

KNOWN = presets.entries()
RATE, BATCH = "training.learning_rate", "training.batch_size"


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        (RATE, "1e-5, 2e-5; 1e-4", [1e-5, 2e-5, 1e-4]),
        (BATCH, "1, 2,4", [1, 2, 4]),
        ("training.ema", "off, on", [False, True]),
        ("training.optimizer", "adamw, lion", ["adamw", "lion"]),
        ("model.base", "a, b; c", ["a, b", "c"]),
        ("data.folders", "a, b; c", [["a", "b"], ["c"]]),
    ],
)
def test_values(key: str, text: str, wanted: list[Any]) -> None:
    assert typed.read_values(KNOWN[key], text) == wanted


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        (Draft(RATE, text=""), "give its values, with commas"),
        (Draft("model.base", text=" ; "), "with semicolons"),
        (Draft(BATCH, text="1.5"), "whole number"),
        (Draft(RATE, text="fast"), "'fast' is not a number"),
        (Draft(RATE, "log", start="0", stop="1"), "above 0"),
        (Draft(RATE, "linear", start="", stop="1"), "not a number"),
        (Draft(RATE, "linear", start="0", stop="1", count="1"), "from 2 to 1000"),
        (Draft(RATE, "linear", start="0", stop="1", count="2.5"), "from 2 to 1000"),
        (Draft(RATE, "rule", "base *"), "no formula"),
    ],
)
def test_what_makes_no_sense_is_told(draft: Draft, said: str) -> None:
    with pytest.raises(UserError, match=said):
        typed.read_draft(KNOWN[draft.key], draft)


def test_a_whole_form_and_back() -> None:
    drafts = [
        Draft("lora.rank", text="4, 8"),
        Draft("lora.alpha", text="2, 4", together=True),
        Draft(RATE, "log", "", "1e-5", "0.001", "3"),
        Draft("training.max_steps", "rule", "images / batch_size"),
    ]
    options = presets.build({"sweep.seeds": 2}, "t", SweepOptions)
    sweep = typed.read_sweep(" Mine ", drafts, "images = 1,600".replace(",", ""), options)
    assert sweep.name == "Mine" and sweep.constants == {"images": 1600}
    assert sweep.vary == {"lora.rank": [4, 8], "lora.alpha": [2.0, 4.0], RATE: Range(1e-5, 1e-3, 3, "log")}
    assert sweep.together == [["lora.rank", "lora.alpha"]]
    assert sweep.rules == {"training.max_steps": "images / batch_size"}
    assert typed.drafts_of(parse(to_toml(sweep), "x")) == drafts
    assert typed.show_constants(sweep.constants) == "images = 1600"
    assert typed.show_draft(KNOWN[RATE], drafts[2]) == ["1e-5", "1e-4", "0.001"]
    assert typed.show_draft(KNOWN["training.max_steps"], drafts[3]) == []


@pytest.mark.parametrize("text", ["images", "2 = 3", "images = many"])
def test_numbers_for_rules(text: str) -> None:
    with pytest.raises(UserError):
        typed.read_constants(text)


def test_what_stands_there_at_first_can_be_read() -> None:
    values = presets.flat(presets.build({"training.learning_rate": 3e-4, "data.folders": ["a"]}, "t"))
    for key, entry in KNOWN.items():
        if typed.can_vary(entry) and values[key] not in ("", []):
            draft = typed.first_draft(entry, values[key])
            found = typed.read_draft(entry, draft)
            assert isinstance(found, Range) or values[key] in found, key
    assert typed.show_draft(KNOWN[RATE], typed.first_draft(KNOWN[RATE], 3e-4))[2] == "3e-4"
    assert "rule" not in typed.ways(KNOWN["training.optimizer"])
