"""Tests of core/data/walk.py: which files are pictures, each once, and which folders cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.data.walk import check_folders, count_pictures, walk
from core.errors import UserError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(root: Path, *folders: Path) -> list[str]:
    found = [Path(one.path).relative_to(root).as_posix() for one in walk([str(f) for f in folders or (root,)])]
    assert count_pictures([str(f) for f in folders or (root,)]) == len(found)
    return found


def test_pictures_in_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    wanted = ["b.JPG", "z.webp", "sub/a.png", "sub/deep/c.tiff"]
    touch(*(tmp_path / name for name in wanted))
    touch(*(tmp_path / name for name in ("notes.txt", ".hidden.png", "sub/.thumbs/t.png", "c.psd", "png")))
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == wanted


def test_folders_given_twice_or_inside_each_other_or_linked_come_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "sub" / "b.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert names(tmp_path, tmp_path / "sub", tmp_path, tmp_path) == ["a.png", "sub/b.png"]


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path, tmp_path / "data") == ["data/link/b.png"]


def test_the_stamps_follow_the_picture_and_both_captions(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    stamps = []
    for name in ("a.png", "a.txt", "a.caption"):
        stamps.append(next(walk([str(tmp_path)])))
        (tmp_path / name).write_bytes(b"more")
    stamps.append(next(walk([str(tmp_path)])))
    assert stamps[0].stamp != stamps[1].stamp == stamps[2].stamp == stamps[3].stamp
    assert stamps[0].caption_stamp == stamps[1].caption_stamp == "|"
    assert len({one.caption_stamp for one in stamps}) == 3
    os.utime(tmp_path / "a.TXT".lower(), ns=(1, 1))
    assert next(walk([str(tmp_path)])).caption_stamp != stamps[3].caption_stamp


def test_dead_links_and_names_that_are_no_utf_8_have_a_reason(tmp_path: Path) -> None:
    (tmp_path / "dead.png").symlink_to(tmp_path / "gone.png")
    touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff.png")))
    dead, wrong = walk([str(tmp_path)])
    assert "link" in dead.reason
    assert "UTF-8" in wrong.reason
    assert wrong.path.endswith("w\\udcff.png")


def test_a_folder_inside_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.png", tmp_path / "secret" / "b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    picture, folder = walk([str(tmp_path)])
    assert picture.reason == ""
    assert folder.path == str(tmp_path / "secret")
    assert folder.reason == "the folder cannot be opened (Permission denied)"
    with pytest.raises(UserError, match=r"secret cannot be opened \(Permission denied\)"):
        check_folders([tmp_path / "secret"])


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    touch(tmp_path / "file.png")
    with pytest.raises(UserError, match="No picture folder"):
        check_folders([])
    with pytest.raises(UserError, match=r"none does not exist\. Check"):
        check_folders([tmp_path / "none"])
    with pytest.raises(UserError, match="is not a folder"):
        check_folders([tmp_path / "file.png"])
