"""Tests of gui/forms/ticks.py: a list of choices is edited by boxes, chosen by the type of the field."""

from __future__ import annotations

from typing import Any

from pytestqt.qtbot import QtBot

from core import presets
from gui.forms import editors
from gui.forms.ticks import TickListEditor


def test_a_list_of_choices_gets_boxes(qtbot: QtBot) -> None:
    editor = editors.make(presets.entries()["part.blocks"])
    qtbot.addWidget(editor)
    assert isinstance(editor, TickListEditor)
    assert list(editor.boxes) == list(presets.entries()["part.blocks"].choices)


def test_lists_of_any_text_keep_their_editor(qtbot: QtBot) -> None:
    editor = editors.make(presets.entries()["sample.prompts"])
    qtbot.addWidget(editor)
    assert not isinstance(editor, TickListEditor)


def test_ticking_tells_the_list_in_the_order_of_the_choices(qtbot: QtBot) -> None:
    editor = editors.make(presets.entries()["part.blocks"])
    qtbot.addWidget(editor)
    assert isinstance(editor, TickListEditor)
    editor.show_value(["up 0"])
    told: list[Any] = []
    editor.edited.connect(told.append)
    editor.boxes["mid"].click()
    assert told == [["mid", "up 0"]]
    editor.boxes["up 0"].click()
    assert told[-1] == ["mid"]


def test_showing_a_value_tells_nothing_and_keeps_what_is_no_choice(qtbot: QtBot) -> None:
    editor = editors.make(presets.entries()["part.blocks"])
    qtbot.addWidget(editor)
    assert isinstance(editor, TickListEditor)
    told: list[Any] = []
    editor.edited.connect(told.append)
    editor.show_value(["mid", "of a later version"])
    assert told == [] and editor.boxes["mid"].isChecked() and not editor.boxes["in"].isChecked()
    editor.boxes["in"].click()
    assert told == [["in", "mid", "of a later version"]]
