"""Notes, bookmarks and colours are kept in the run folder, and what cannot be understood is not overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from core import run_notes
from core.errors import UserError
from core.run_notes import Bookmark, Notes


def test_what_is_written_is_read(tmp_path: Path) -> None:
    notes = Notes(note="warmer colours\nthan before").with_bookmark(400, "turns").with_bookmark(20)
    run_notes.write(tmp_path, notes)
    assert run_notes.read(tmp_path) == notes
    assert notes.first_line == "warmer colours"
    assert notes.bookmarks == [Bookmark(20), Bookmark(400, "turns")]
    assert notes.with_bookmark(400, "again").bookmarks[1].text == "again"
    assert notes.without_bookmark(20).bookmarks == [Bookmark(400, "turns")]


def test_a_folder_without_notes_and_a_damaged_file_give_empty_ones(tmp_path: Path) -> None:
    assert run_notes.read(tmp_path) == Notes()
    run_notes.notes_path(tmp_path).write_text("{", encoding="utf-8")
    assert run_notes.read(tmp_path) == Notes()


def test_notes_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    path = run_notes.notes_path(tmp_path)
    path.write_text(json.dumps({"format": 99, "note": "of tomorrow"}), encoding="utf-8")
    assert run_notes.read(tmp_path) == Notes()
    with pytest.raises(UserError, match="newer version"):
        run_notes.write(tmp_path, Notes(note="mine"))
    assert "of tomorrow" in path.read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, no folder", encoding="utf-8")
    with pytest.raises(UserError, match=r"notes\.json cannot be written"):
        run_notes.write(tmp_path / "run", Notes(note="mine"))


def test_a_colour_is_chosen_once_and_differs_from_those_taken(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    first = run_notes.color_of(tmp_path / "a", [], 3)
    second = run_notes.color_of(tmp_path / "b", [first], 3)
    third = run_notes.color_of(tmp_path / "c", [first, second], 3)
    assert sorted((first, second, third)) == [0, 1, 2]
    assert run_notes.color_of(tmp_path / "a", [first, first, second], 3) == first
    assert run_notes.read(tmp_path / "a").color == first
    run_notes.write(tmp_path / "a", msgspec.structs.replace(run_notes.read(tmp_path / "a"), note="x"))
    assert run_notes.color_of(tmp_path / "a", [], 3) == first


def test_a_run_whose_folder_cannot_be_written_has_a_colour_too(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, no folder", encoding="utf-8")
    found = run_notes.color_of(tmp_path / "run", [], 21)
    assert 0 <= found < 21 and found == run_notes.color_of(tmp_path / "run", [found], 21)
