"""Tests of gui/widgets/run_list.py: what a row says of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QLabel

from core import demo, runs
from gui.widgets.compare_reader import read_choices
from gui.widgets.run_list import RunRow, read_runs


def said(qtbot: Any) -> tuple[str, str]:
    """(the row's line below the name, its name for a screen reader) of the only run."""
    (facts,) = read_runs()
    row = RunRow(facts)
    qtbot.addWidget(row)
    return row.findChildren(QLabel)[-1].text(), row.accessibleName()


def test_a_run_that_never_began_is_not_getting_ready(qtbot: Any, tmp_path: Path) -> None:
    runs.create(demo.settings(), tmp_path / "run")
    words, name = said(qtbot)
    assert words == "not started  ·  just now" and name.endswith(", not started")
    assert read_choices() == [], "nothing to compare yet"


def test_a_run_that_was_killed_tells_its_step(qtbot: Any, tmp_path: Path) -> None:
    run = runs.create(demo.settings(), tmp_path / "run")
    run.events_path.write_text('{"type":"step","step":7,"loss":0.1,"time":1.0}\n', encoding="utf-8")
    words, _ = said(qtbot)
    assert words.startswith("interrupted  ·  step ")
