"""Tests of core/data/walk.py: which files are pictures, each once, their captions, and what cannot be used."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from core.data.walk import Found, caption_stamp, check_folders, directories, pictures, printable
from core.errors import UserError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*folders: Path, most: int = 100) -> list[tuple[str, Found]]:
    """(folder, picture) of all pictures; the counts of the first look must be right."""
    pairs = []
    for directory in directories([str(folder) for folder in folders]):
        batches = list(pictures(directory, most))
        assert all(0 < len(batch) <= most for batch in batches)
        own = [(directory.path, one) for batch in batches for one in batch]
        assert directory.pictures == len(own)
        pairs += own
    return pairs


def names(root: Path, *folders: Path) -> list[str]:
    pairs = found(*(folders or (root,)))
    return [Path(folder, one.name).relative_to(root).as_posix() for folder, one in pairs]


def only(folder: Path) -> Found:
    ((_, one),) = found(folder)
    return one


def test_pictures_in_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    wanted = ["b.JPG", "z.webp", "sub/a.png", "sub/deep/c.tiff"]
    touch(*(tmp_path / name for name in wanted))
    touch(*(tmp_path / name for name in ("notes.txt", ".hidden.png", "sub/.thumbs/t.png", "c.psd", "png")))
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == wanted


def test_a_folder_comes_in_parts_and_each_picture_once(tmp_path: Path) -> None:
    wanted = {f"{number:03}.png" for number in range(25)}
    touch(*(tmp_path / name for name in wanted))
    batches = [[one.name for one in batch] for batch in pictures(next(directories([str(tmp_path)])), 10)]
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert all(batch == sorted(batch) for batch in batches)
    assert {name for batch in batches for name in batch} == wanted


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
        stamps.append(only(tmp_path))
        (tmp_path / name).write_bytes(b"more")
    stamps.append(only(tmp_path))
    assert stamps[0].stamp != stamps[1].stamp == stamps[2].stamp == stamps[3].stamp
    assert stamps[0].caption_stamp == stamps[1].caption_stamp == 0
    assert len({one.caption_stamp for one in stamps}) == 3
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert only(tmp_path).caption_stamp != stamps[3].caption_stamp
    os.replace(tmp_path / "a.caption", tmp_path / "b.caption")
    alone = only(tmp_path).caption_stamp
    os.replace(tmp_path / "a.txt", tmp_path / "a.caption")
    assert only(tmp_path).caption_stamp != alone  # the same file is another kind of caption now


@pytest.mark.parametrize("suffix", [".txt", ".TXT", ".Txt", ".tXt", ".caption", ".CAPTION"])
def test_captions_in_any_case(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path / "a.b.png", tmp_path / f"a.b{suffix}")
    one = only(tmp_path)
    assert one.captions == (suffix,)
    assert one.caption_stamp
    if suffix != ".tXt":
        assert caption_stamp(str(tmp_path / "a.b.png")) == one.caption_stamp
    assert caption_stamp(str(tmp_path / "a.b.png"), (suffix,)) == one.caption_stamp


def test_of_two_captions_of_a_kind_the_one_in_small_letters_counts(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "a.TXT")
    before = only(tmp_path).caption_stamp
    touch(tmp_path / "a.txt")
    if len(list(tmp_path.iterdir())) == 2:
        pytest.skip("the file system knows no capitals")
    os.utime(tmp_path / "a.txt", ns=(5, 5))
    assert only(tmp_path).captions == (".txt",)
    assert only(tmp_path).caption_stamp != before


def test_dead_links_and_names_that_are_no_utf_8_have_a_reason(tmp_path: Path) -> None:
    (tmp_path / "dead.png").symlink_to(tmp_path / "gone.png")
    touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff.png")))
    (_, dead), (_, wrong) = found(tmp_path)
    assert "link" in dead.reason
    assert "UTF-8" in wrong.reason
    assert wrong.name == "w\\udcff.png"
    touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff/fine.png")))
    folder, inside = found(tmp_path)[-1]
    assert printable(folder).endswith("d\\udcff")
    assert "folder's name" in inside.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_what_is_no_file_is_passed_over_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    touch(tmp_path / "a.png")
    (batch,) = pictures(next(directories([str(tmp_path)])), 10)
    assert [one.name for one in batch] == ["a.png"]


def test_a_folder_inside_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.png", tmp_path / "secret" / "b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    whole, secret = directories([str(tmp_path)])
    assert (whole.reason, whole.pictures) == ("", 1)
    assert secret.path == str(tmp_path / "secret")
    assert secret.reason == "the folder cannot be opened (Permission denied)"
    with pytest.raises(UserError, match=r"secret cannot be opened \(Permission denied\)"):
        check_folders([tmp_path / "secret"])


def archive(path: Path, *members: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return path


def test_an_archive_is_a_folder_of_its_members(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "z.png")
    tar = archive(tmp_path / "b.TAR", "2.png", "2.txt", "deep/1.jpg", "notes.md", "deep/1.CAPTION", "3.png")
    assert names(tmp_path) == ["a.png", "z.png", "b.TAR/2.png", "b.TAR/3.png", "b.TAR/deep/1.jpg"]
    assert names(tmp_path, tar) == ["b.TAR/2.png", "b.TAR/3.png", "b.TAR/deep/1.jpg"]
    assert [str(tar)] == check_folders([tar])
    two, three, one = (one for _, one in found(tar))
    assert (two.captions, three.captions, one.captions) == ((".txt",), (), (".CAPTION",))
    assert (bool(two.caption_stamp), three.caption_stamp) == (True, 0)
    archive(tar, "2.png", "other.png")
    again, _ = (one for _, one in found(tar))
    assert again.stamp != two.stamp


def test_a_damaged_archive_gives_what_it_has_and_its_reason(tmp_path: Path) -> None:
    tar = archive(tmp_path / "a.tar", "1.png", "2.png", "3.png")
    data = bytearray(tar.read_bytes())
    data[2048:2560] = b"\xff" * 512
    tar.write_bytes(data)
    (directory,) = directories([str(tar)])
    assert directory.archive
    assert "damaged" in directory.reason
    assert [one.name for batch in pictures(directory, 9) for one in batch][:1] == ["1.png"]
    (tmp_path / "b.tar").write_bytes(b"no archive" * 100)
    (directory,) = directories([str(tmp_path / "b.tar")])
    assert "not a tar archive" in directory.reason
    assert directory.pictures == 0


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    touch(tmp_path / "file.png")
    with pytest.raises(UserError, match="No picture folder"):
        check_folders([])
    with pytest.raises(UserError, match=r"none does not exist\. Check"):
        check_folders([tmp_path / "none"])
    with pytest.raises(UserError, match="is not a folder"):
        check_folders([tmp_path / "file.png"])
