"""Edits of many captions: what they make of a text, what they leave alone, and that they can be undone, always."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.data import caption_edit as ce
from core.data.caption_edit import Edit, changer, changes, preview
from core.data.caption_journal import Journal
from core.errors import Stopped, UserError


def _folder(folder: Path, **texts: str) -> list[tuple[int, str]]:
    """Pictures with captions: NAME=tags, NAME_s=sentence. Files are empty; only their captions are read."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted({name.removesuffix("_s") for name in texts})
    for name in names:
        (folder / f"{name}.png").touch()
    for name, text in texts.items():
        suffix = ".caption" if name.endswith("_s") else ".txt"
        (folder / f"{name.removesuffix('_s')}{suffix}").write_text(text, encoding="utf-8", newline="\n")
    return [(number, str(folder / f"{name}.png")) for number, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (Edit("replace", find="cat", text="dog"), "cat, wild cat", "dog, wild dog"),
        (Edit("replace", find="CAT", text="dog"), "cat", "cat"),
        (Edit("replace", find="CAT", text="dog", any_case=True), "Cat", "dog"),
        (Edit("replace", find="(c.t)", text="x"), "cat, (c.t)", "cat, x"),
        (Edit("replace", find=r"(\d) girls?", text=r"\1girl", pattern=True), "1 girl, 2 girls", "1girl, 2girl"),
        (Edit("replace", find="a", text=r"\1"), "cat", r"c\1t"),
        (Edit("replace", find="cat", text=""), "cat\ndog", "dog"),
        (Edit("add", text="new, red"), "a, red\nb", "a, red, new\nb, new, red"),
        (Edit("add", text="new", at_end=False), "a, b", "new, a, b"),
        (Edit("add", text="new"), "", "new"),
        (Edit("add", text="a"), "a ,  b", "a ,  b"),
        (Edit("remove", find="a, b"), "a, ab, b, c", "ab, c"),
        (Edit("remove", find="A", any_case=True), "a", ""),
        (Edit("remove", find="A"), "a,b", "a,b"),
        (Edit("rename", find="a", text="z"), "b, a, c, a", "b, z, c"),
        (Edit("rename", find="a", text="c"), "b, a, c", "b, c"),
        (Edit("rename", find="a", text="x, y"), "a, b", "x, y, b"),
        (Edit("rename", find="a", text="z"), "aa,  b", "aa,  b"),
        (Edit("rename", find="a_b", text="z", separator=" "), "x a_b y", "x z y"),
        (Edit("add", text="z", separator=" "), "x y", "x y z"),
    ],
)
def test_what_an_edit_makes_of_tags(edit: Edit, before: str, after: str) -> None:
    assert changer(edit)("tags", before) == after


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (Edit("add", text="in ink"), "a cat", "a cat in ink"),
        (Edit("add", text=", in ink"), "a cat", "a cat, in ink"),
        (Edit("add", text="a stamp of", at_end=False), "a cat", "a stamp of a cat"),
        (Edit("add", text="a stamp of", at_end=False), "a stamp of a cat", "a stamp of a cat"),
        (Edit("remove", find="very"), "a very big  cat", "a big cat"),
        (Edit("rename", find="cat", text="dog"), "a cat", "a cat"),
    ],
)
def test_what_an_edit_makes_of_a_sentence(edit: Edit, before: str, after: str) -> None:
    assert changer(edit)("natural", before) == after


@pytest.mark.parametrize(
    "edit",
    [
        Edit("replace", find=" "),
        Edit("replace", find="(", pattern=True),
        Edit("replace", find="a", text=r"\2", pattern=True),
        Edit("add", text=" "),
        Edit("rename", find="a", text=" , "),
    ],
)
def test_impossible_edits_are_told(edit: Edit) -> None:
    with pytest.raises(UserError):
        changer(edit)


def test_a_pattern_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ce, "_PATIENCE", 0.05)
    slow = changer(Edit("replace", find="(x|xx)+[yz]", pattern=True))
    with pytest.raises(UserError, match="too long"):
        slow("tags", "x" * 60)


def test_the_preview_counts_and_writes_nothing(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, a="cat, dog", b="dog", c="cat", c_s="a cat")
    (tmp_path / "b.txt").write_bytes(b"cat \x00")
    (tmp_path / "more.tar").touch()
    told: list[tuple[int, int]] = []
    edit = Edit("replace", ("tags", "natural"), find="cat", text="lion")
    found = preview(edit, [*pictures, (9, str(tmp_path / "more.tar" / "x.jpg"))], lambda *at: told.append(at), 4)
    assert (found.pictures, found.files, found.archived, found.unreadable) == (4, 3, 1, 1)
    assert [(one.before, one.after) for one in found.examples] == [
        ("cat, dog", "lion, dog"),
        ("cat", "lion"),
        ("a cat", "a lion"),
    ]
    assert told[-1] == (4, 4)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "cat, dog"


def test_a_file_that_is_no_text_is_never_overwritten(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, a="")
    (tmp_path / "a.txt").write_bytes(b"\x00\x01binary")
    found = preview(Edit("add", text="new"), pictures)
    assert (found.files, found.unreadable) == (0, 1) and "a.txt" in found.skipped[0]


def test_applied_undone_and_done_again(tmp_path: Path) -> None:
    pictures = _folder(tmp_path / "pictures", a="cat", b="dog", c="cat, dog")
    odd = "caf\xe9, cat".encode("cp1252") + b"\r\n"
    (tmp_path / "pictures" / "b.txt").write_bytes(odd)
    (tmp_path / "pictures" / "d.png").touch()
    pictures.append((4, str(tmp_path / "pictures" / "d.png")))
    files = {name: tmp_path / "pictures" / f"{name}.txt" for name in "abcd"}
    before = {name: path.read_bytes() if path.exists() else None for name, path in files.items()}
    journal = Journal(tmp_path / "journal", [str(tmp_path / "pictures")])

    def state() -> dict[str, bytes | None]:
        return {name: path.read_bytes() if path.exists() else None for name, path in files.items()}

    told: list[int] = []
    edit = Edit("add", text="new")
    outcome = journal.apply(
        edit.words(), changes(edit, pictures, ce.Preview()), lambda done: told.extend(change.number for change in done)
    )
    assert (outcome.files, outcome.left, told) == (4, 0, [1, 2, 3, 4])
    after = state()
    assert after["b"] == "café, cat, new\n".encode() and after["d"] == b"new\n"
    gone = Edit("remove", find="cat, new")
    journal.apply(gone.words(), changes(gone, pictures, ce.Preview()))
    assert state()["a"] is None

    again = Journal(tmp_path / "journal", [str(tmp_path / "pictures"), "/elsewhere"])
    assert [entry.words for entry in again.entries()] == ["Add “new” at the end", "Remove “cat, new”"]
    again.undo(again.undoable())
    assert state() == after
    assert again.redoable().words == "Remove “cat, new”"
    again.undo(again.undoable())
    assert state() == before and again.undoable() is None
    again.redo(again.redoable())
    assert state() == after and again.redoable().words == "Remove “cat, new”"
    journal.apply("another", changes(Edit("add", text="z"), pictures, ce.Preview()))
    assert again.redoable() is None and len(again.entries()) == 2


def test_the_journal_of_other_folders_is_not_offered(tmp_path: Path) -> None:
    pictures = _folder(tmp_path / "one", a="cat")
    Journal(tmp_path / "journal", ["one"]).apply("x", changes(Edit("add", text="new"), pictures, ce.Preview()))
    assert Journal(tmp_path / "journal", ["two"]).undoable() is None
    assert Journal(tmp_path / "journal", ["two", "one"]).undoable() is not None


def test_what_somebody_changed_since_stays(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, a="cat", b="cat")
    journal = Journal(tmp_path / "journal")
    journal.apply("add", changes(Edit("add", text="new"), pictures, ce.Preview()))
    (tmp_path / "a.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "b.txt").write_text("", encoding="utf-8")
    outcome = journal.undo(journal.undoable())
    assert (outcome.files, outcome.left) == (0, 2) and "a.txt" in outcome.kept[0]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == ""


def test_a_file_that_changes_while_the_edit_runs_is_left_alone(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, a="cat", b="cat")

    def meanwhile() -> object:
        yield from changes(Edit("add", text="new"), pictures, ce.Preview())
        (tmp_path / "a.txt").write_text("mine", encoding="utf-8")

    outcome = Journal(tmp_path / "journal").apply("add", meanwhile())
    assert (outcome.files, outcome.left) == (1, 1)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "mine"


def test_stopping_keeps_what_is_done_and_it_can_be_undone(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, **{f"p{number:04d}": "cat" for number in range(1200)})
    journal = Journal(tmp_path / "journal")

    def stop(done: int, total: int) -> None:
        if done >= 700:
            raise Stopped

    edit = Edit("rename", find="cat", text="dog")
    outcome = journal.apply("rename", changes(edit, pictures, ce.Preview(), stop, 1200))
    texts = [path.read_text(encoding="utf-8").strip() for path in sorted(tmp_path.glob("*.txt"))]
    assert outcome.stopped and outcome.files == 699 == texts.count("dog")
    journal.undo(journal.undoable())
    assert {path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")} == {"cat"}


_KILLED = """
import os, sys
from pathlib import Path
from core.data import caption_edit as ce, caption_journal as cj
folder = Path(sys.argv[1])
pictures = [(n, str(path)) for n, path in enumerate(sorted(folder.glob("*.png")))]
real, count = os.replace, [0]
def replace(*names):
    count[0] += 1
    if count[0] == 620:
        os._exit(9)
    real(*names)
os.replace = replace
cj.Journal(folder / "journal").apply("add", ce.changes(ce.Edit("add", text="new"), pictures, ce.Preview()))
"""


def test_an_edit_that_was_killed_can_be_undone_and_finished(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, **{f"p{number:04d}": "cat" for number in range(800)})
    child = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], timeout=60, cwd=Path(__file__).parents[3])
    assert child.returncode == 9
    journal = Journal(tmp_path / "journal")
    entry = journal.undoable()
    assert entry.state == "unfinished" and entry.files == -1
    texts = [path.read_text(encoding="utf-8").strip() for path in sorted(tmp_path.glob("*.txt"))]
    assert texts.count("cat, new") == 619
    with entry.path.open("ab") as file:
        file.write(b'{"id": 7, "file": "cut o')
    (tmp_path / "p0003.txt").write_bytes(b"")  # what a file system may leave of a file when the power fails
    journal.undo(entry)
    assert {Path(p).with_suffix(".txt").read_text(encoding="utf-8") for _, p in pictures} == {"cat"}
    assert journal.redo(journal.redoable()).files == 800


def test_modes_links_and_capitals_are_kept(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, a="cat", b="cat")
    if os.name == "posix":
        (tmp_path / "a.txt").chmod(0o640)
        (tmp_path / "b.txt").rename(tmp_path / "real.txt")
        (tmp_path / "b.txt").symlink_to(tmp_path / "real.txt")
    (tmp_path / "c.png").touch()
    (tmp_path / "c.TXT").write_text("cat", encoding="utf-8")
    Journal(tmp_path / "journal").apply(
        "add", changes(Edit("add", text="new"), [*pictures, (3, str(tmp_path / "c.png"))], ce.Preview())
    )
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
        assert (tmp_path / "b.txt").is_symlink()
        assert (tmp_path / "real.txt").read_text(encoding="utf-8") == "cat, new\n"
    assert (tmp_path / "c.TXT").read_text(encoding="utf-8") == "cat, new\n"
    assert not (tmp_path / "c.txt").exists() or os.name == "nt"
    assert not list(tmp_path.glob(".*.part"))


def test_only_the_newest_edits_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.data.caption_journal._KEPT", 2)
    pictures = _folder(tmp_path, a="cat")
    journal = Journal(tmp_path / "journal")
    for word in ("x", "y", "z"):
        journal.apply(word, changes(Edit("add", text=word), pictures, ce.Preview()))
    assert [entry.words for entry in journal.entries()] == ["y", "z"]
    assert journal.apply("nothing", changes(Edit("add", text="z"), pictures, ce.Preview())).files == 0
    assert len(journal.entries()) == 2
