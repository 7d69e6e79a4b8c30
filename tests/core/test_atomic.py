"""Tests of core/atomic.py: whole or not at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with atomic.replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "new" and names(path.parent) == ["a.txt"]


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with atomic.replacing_folder(path) as temporary:
        (temporary / "one").write_text("1")
    with pytest.raises(ValueError, match="x"), atomic.replacing_folder(path) as temporary:
        (temporary / "two").write_text("2")
        raise ValueError("x")
    assert names(path) == ["one"] and names(tmp_path) == ["state"]
    with atomic.replacing_folder(path) as temporary:
        (temporary / "three").write_text("3")
    assert names(path) == ["three"] and names(tmp_path) == ["state"]


def test_texts_are_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a", "ä\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\n"


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.12345678.part").touch()
    (tmp_path / ".b.12345678.part").mkdir()
    (tmp_path / ".b.12345678.part" / "x").touch()
    for name in ("a.txt", ".hidden", "b.part"):
        (tmp_path / name).touch()
    atomic.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "a.txt", "b.part"]
    atomic.remove_leftovers(tmp_path / "none")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; skips where it may not be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"):
        atomic.write_text(path, "x" * 2_000_000)
    assert path.read_text() == "old" and names(small_disk) == ["a.txt"]


def test_events_are_whole_again_after_a_full_disk(small_disk: Path) -> None:
    from core import events as ev

    writer = ev.Writer(small_disk / "events.jsonl")
    writer.write(ev.Paused(step=1))
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (1_048_576 - 4096 * 2))
    with pytest.raises(OSError, match="No space left"):
        for _ in range(10):
            writer.write(ev.Message(text="y" * 3000))
    filler.unlink()
    writer.write(ev.Continued(step=2))
    writer.close()
    found = ev.Follower(small_disk / "events.jsonl").read()
    assert isinstance(found[0], ev.Paused) and isinstance(found[-1], ev.Continued)
