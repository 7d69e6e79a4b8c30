"""Tests of core/data/caption_reading.py: caption files that change while a training reads them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from core.data import caption_reading
from core.data.caption_reading import Captions, read_captions, read_settled, read_settled_with_stamp
from core.data.walk import caption_stamp

OLD = Captions("a, b", "A sentence.")
SUFFIXES = (".txt", ".caption")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """A picture's path with both caption files, written long ago."""
    write(tmp_path / "p.v1.txt", OLD.tags)
    write(tmp_path / "p.v1.caption", OLD.natural)
    return str(tmp_path / "p.v1.png")


def write(path: Path, text: str, age: float = 3600.0) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)


def test_unchanged_files_are_not_opened(picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = caption_stamp(picture, SUFFIXES)
    monkeypatch.setattr(caption_reading, "read_captions", lambda path: pytest.fail("read"))
    assert read_settled(picture, stamp, OLD) is OLD


def test_an_edit_is_read_once_it_has_settled(picture: str) -> None:
    stamp, path = caption_stamp(picture, SUFFIXES), Path(picture).with_suffix(".txt")
    write(path, "x, y", age=0.2)
    assert read_settled(picture, stamp, OLD) == OLD
    write(path, "x, y", age=1.5)
    captions, new = read_settled_with_stamp(picture, stamp, OLD)
    assert captions == Captions("x, y", "A sentence.") and new == caption_stamp(picture, SUFFIXES)
    write(path, "z", age=0.2)
    assert read_settled_with_stamp(picture, new, captions) == (captions, new)


def test_a_new_file_counts_and_one_that_is_gone_leaves_its_text(picture: str) -> None:
    stamp = caption_stamp(picture, SUFFIXES)
    Path(picture).with_suffix(".caption").unlink()
    assert read_settled(picture, stamp, OLD) == OLD
    write(Path(picture).with_suffix(".txt"), "x")
    assert read_settled(picture, stamp, OLD) == Captions("x", "A sentence.")
    Path(picture).with_suffix(".txt").unlink()
    assert read_settled(picture, stamp, OLD) == OLD
    bare = picture.replace("p.v1", "q")
    assert read_settled(bare, 0, Captions("", "")) == Captions("", "")
    write(Path(bare).with_suffix(".txt"), "new")
    assert read_settled(bare, 0, Captions("", "")) == Captions("new", "")


def test_an_emptied_file_leaves_the_former_text(picture: str) -> None:
    """Between the two halves of a truncation Linux shows a file that is empty and has the old time."""
    stamp, path = caption_stamp(picture, SUFFIXES), Path(picture).with_suffix(".txt")
    write(path, "", age=3600)
    captions, new = read_settled_with_stamp(picture, stamp, OLD)
    assert captions == OLD
    write(path, "x", age=5)
    assert read_settled(picture, new, captions) == Captions("x", "A sentence.")


def test_suffixes_in_capitals_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "p.TXT"
    write(path, "a")
    picture, former = str(tmp_path / "p.png"), Captions("a", "")
    stamp = caption_stamp(picture, (".TXT",))
    assert read_settled(picture, stamp, former) is former
    write(path, "b")
    assert read_settled(picture, stamp, former) == Captions("b", "")
    path.unlink()
    path.mkdir()
    os.utime(path, (1.0, 1.0))
    assert read_settled(picture, stamp, former) == former


def test_a_picture_in_an_archive_keeps_its_captions(tmp_path: Path) -> None:
    (tmp_path / "0001.tar").touch()
    assert read_settled(str(tmp_path / "0001.tar" / "p.png"), 12345, OLD) is OLD


def test_a_file_that_changes_while_it_is_read_is_left_for_later(picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp, path = caption_stamp(picture, SUFFIXES), Path(picture).with_suffix(".txt")
    write(path, "x, y")

    def torn(asked: Path) -> Captions:
        found = read_captions(asked)
        write(path, "x, y, z", age=0)
        return found

    monkeypatch.setattr(caption_reading, "read_captions", torn)
    assert read_settled(picture, stamp, OLD) == OLD


def test_a_file_rewritten_in_place_again_and_again_is_never_half_read(
    picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer empties the file, writes in pieces with pauses, and rests; a reader sees whole texts only."""
    monkeypatch.setattr(caption_reading, "_SETTLED_SECONDS", 0.4)
    path = Path(picture).with_suffix(".txt")
    texts = [", ".join(f"tag {number} of {version}" for number in range(200)) for version in range(4)]
    write(path, texts[0])
    former, stamp = read_captions(Path(picture)), caption_stamp(picture, SUFFIXES)
    done, pauses = threading.Event(), []

    def writer() -> None:
        for text in texts[1:]:
            with path.open("w", encoding="utf-8") as file:
                for start in range(0, len(text), len(text) // 5 + 1):
                    began = time.monotonic()
                    file.write(text[start : start + len(text) // 5 + 1])
                    file.flush()
                    time.sleep(0.01)
                    pauses.append(time.monotonic() - began)
            time.sleep(0.7)
        done.set()

    thread = threading.Thread(target=writer)
    thread.start()
    seen = []
    try:
        while not done.is_set():
            former, stamp = read_settled_with_stamp(picture, stamp, former)
            if not seen or seen[-1] != former.tags:
                seen.append(former.tags)
    finally:
        thread.join()
    if max(pauses) > 0.3:
        pytest.skip("the machine is so busy that the writer rested in the middle of a text")
    assert [text for text in seen if text not in texts] == []
    assert seen[-1] == texts[-1] and len(seen) > 2
