"""Tests of core/data/index.py: scans read only what changed, survive kills, and name every broken file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from core.data import index_hashes, index_scan, reading
from core.data.index import Index, ScanResult, index_path
from core.errors import Stopped, UserError
from tests.core.data.samples import corners, save

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good pictures, one of them turned and one with captions, and two broken ones."""
    root = tmp_path / "pictures"
    save(root / "a.png")
    save(root / "b.jpg", orientation=6)
    save(root / "sub" / "c.webp")
    (root / "sub" / "c.txt").write_text("tag one, tag_two", encoding="utf-8")
    (root / "sub" / "c.caption").write_bytes("Ein K\xe4fer.".encode("cp1252"))
    (root / "d.png").touch()
    (root / "e.png").write_text("words", encoding="utf-8")
    return root


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose header or captions were read since."""
    names: list[str] = []
    for module, name in ((reading, "examine"), (reading._Folder, "caption"), (index_hashes, "_hash")):
        real = getattr(module, name)

        def spy(*values: object, name: str = name, real: object = real) -> object:
            names.append(f"{name} {Path(str(values[-1])).name}")
            return real(*values)  # type: ignore[operator]

        monkeypatch.setattr(module, name, spy)
    return names


def names(index: Index) -> list[str]:
    return [Path(picture.path).name for picture in index.pictures()]


def test_a_scan_finds_sizes_captions_and_broken_files(index: Index, folder: Path) -> None:
    assert index.scan([folder]) == ScanResult(added=5, changed=0, removed=0, broken=2)
    a, b, c = index.pictures()
    assert (Path(a.path), a.width, a.height) == (folder / "a.png", 48, 32)
    assert (b.width, b.height) == (32, 48)
    assert (c.tags, c.natural, c.content_hash) == ("tag one, tag_two", "Ein Käfer.", "")
    assert "c.caption is not UTF-8" in c.caption_problem
    d, e = index.broken()
    assert (d.reason, e.reason) == ("the file is empty", "not a picture but a text file")
    assert (d.width, index.count()) == (0, 3)


def test_a_second_scan_reads_nothing_that_is_unchanged(index: Index, folder: Path, read: list[str]) -> None:
    index.scan([folder])
    before = list(index.pictures())
    read.clear()
    assert index.scan([folder]) == ScanResult(0, 0, 0, 2)
    assert read == []
    assert list(index.pictures()) == before


def test_changes_are_read_and_only_they(index: Index, folder: Path, read: list[str]) -> None:
    index.scan([folder])
    index.hash_missing()
    before = {picture.path: picture for picture in index.pictures()}
    read.clear()
    save(folder / "a.png", corners(80, 20))
    (folder / "b.txt").write_text("new", encoding="utf-8")
    (folder / "sub" / "c.webp").unlink()
    save(folder / "d.png")
    save(folder / "f.png")
    assert index.scan([folder]) == ScanResult(added=1, changed=3, removed=1, broken=1)
    assert sorted(read) == [
        "caption b.txt",
        *(f"examine {name}" for name in ("a.png", "d.png", "f.png")),
    ]
    assert names(index) == ["a.png", "b.jpg", "d.png", "f.png"]
    a, b = list(index.pictures())[:2]
    assert (a.id, a.width, a.content_hash) == (before[a.path].id, 80, "")
    assert (b.id, b.tags, b.content_hash) == (before[b.path].id, "new", before[b.path].content_hash)
    assert b.content_hash


def test_a_deleted_caption_is_forgotten(index: Index, folder: Path) -> None:
    index.scan([folder])
    (folder / "sub" / "c.txt").unlink()
    assert index.scan([folder]).changed == 1
    assert list(index.pictures())[2].tags == ""


def test_folders_that_are_left_out_are_removed(index: Index, folder: Path) -> None:
    index.scan([folder])
    assert index.scan([folder / "sub"]) == ScanResult(0, 0, 4, 0)
    assert names(index) == ["c.webp"]


def test_hashes_are_those_of_the_bytes_and_read_once(index: Index, folder: Path, read: list[str]) -> None:
    index.scan([folder])
    assert index.count_unhashed() == 3
    seen: list[tuple[int, int]] = []
    index.hash_missing(lambda done, total: seen.append((done, total)))
    for picture in index.pictures():
        assert picture.content_hash == xxhash.xxh3_128_hexdigest(Path(picture.path).read_bytes())
    assert seen[-1] == (3, 3)
    assert index.count_unhashed() == 0
    read.clear()
    index.hash_missing()
    assert read == []


def test_a_file_that_went_missing_before_hashing_is_broken_until_it_is_back(index: Index, folder: Path) -> None:
    index.scan([folder])
    (folder / "a.png").rename(folder / "a.away")
    index.hash_missing()
    assert next(iter(index.broken())).reason == "the file is missing"
    (folder / "a.away").rename(folder / "a.png")
    assert index.scan([folder]).changed == 1
    assert "a.png" in names(index)


def test_what_decoding_found_is_remembered_until_the_file_changes(index: Index, folder: Path) -> None:
    index.scan([folder])
    index.mark_broken(str(folder / "a.png"), "the file is damaged")
    assert index.scan([folder]) == ScanResult(0, 0, 0, 3)
    save(folder / "a.png", corners(10, 10))
    assert index.scan([folder]) == ScanResult(0, 1, 0, 2)


def test_no_picture_at_all_and_missing_folders_are_the_users_to_mend(index: Index, folder: Path) -> None:
    empty = folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"no picture in .*empty.*jpg"):
        index.scan([empty])
    index.scan([folder])
    with pytest.raises(UserError, match="does not exist"):
        index.scan([folder, folder / "none"])
    assert index.count() == 3  # a disk that is away does not empty the index


def test_a_stopped_scan_keeps_what_it_did(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_scan, "BATCH", 2)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (2, 5)
        raise Stopped

    with Index(tmp_path / "i.sqlite") as index:
        with pytest.raises(Stopped):
            index.scan([folder], stop)
        assert index.count() + len(index.broken()) == 2
        assert index.scan([folder]) == ScanResult(3, 0, 0, 2)
        assert names(index) == ["a.png", "b.jpg", "c.webp"]


CHILD = """
import sys, time
from pathlib import Path
from core.data import index_scan
from core.data.index import Index
index_scan.BATCH = 50
index = Index(Path(sys.argv[1]))

def progress(done, total):
    if done == 100:
        index._database.execute("BEGIN IMMEDIATE")
        index._database.execute("DELETE FROM pictures WHERE id < 60")
        print("in the middle of a transaction", flush=True)
        time.sleep(120)

index.scan([Path(sys.argv[2])], progress)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_scan_killed_in_a_transaction_is_finished_by_the_next(tmp_path: Path) -> None:
    content = save(tmp_path / "one.png", corners(4, 4)).read_bytes()
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(250):
        (folder / f"{number:03}.png").write_bytes(content)
        (folder / f"{number:03}.txt").write_text(f"tag {number}", encoding="utf-8")
    file = tmp_path / "cache" / "i.sqlite"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(file), str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == b"in the middle of a transaction\n"
        child.send_signal(signal.SIGKILL)
    with Index(file) as index:
        assert index.count() == 100
        assert index.scan([folder]) == ScanResult(added=150, changed=0, removed=0, broken=0)
        assert [picture.tags for picture in index.pictures()] == [f"tag {n}" for n in range(250)]
        assert index.tag_counts(None) == {f"tag {n}": 1 for n in range(250)}
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_the_index_is_kept_between_openings(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "deep" / "i.sqlite"
    with Index(file) as index:
        index.scan([folder])
    with Index(file) as index:
        assert index.scan([folder]) == ScanResult(0, 0, 0, 2)


@pytest.mark.parametrize("damage", ["no database", "other version"])
def test_an_index_that_is_none_is_made_anew(tmp_path: Path, folder: Path, damage: str) -> None:
    file = tmp_path / "i.sqlite"
    if damage == "no database":
        file.write_bytes(b"no database at all " * 100)
    else:
        with sqlite3.connect(file) as database:
            database.executescript("CREATE TABLE pictures (path TEXT); PRAGMA user_version = 99")
        database.close()
    with Index(file) as index:
        assert index.scan([folder]).added == 5


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be used .*cache_folder"):
        Index(tmp_path / "file" / "i.sqlite")


def test_the_index_path_depends_on_the_set_of_folders(tmp_path: Path) -> None:
    first = index_path(["/a", "/b"], tmp_path)
    assert first == index_path(["/b", "/a", "/a"], tmp_path)
    assert first.parent == tmp_path / "index"
    assert first != index_path(["/a"], tmp_path)


def test_a_full_disk_is_told_and_costs_only_the_batch(tmp_path: Path) -> None:
    for number in range(200):
        save(tmp_path / "pictures" / f"{number:03}.bmp", corners(2, 2))
        (tmp_path / "pictures" / f"{number:03}.txt").write_text("many tags, " * 200, encoding="utf-8")
    with Index(tmp_path / "i.sqlite") as index:
        index._database.execute("PRAGMA max_page_count = 40")
        with pytest.raises(UserError, match=r"disk is full.*has room"):
            index.scan([tmp_path / "pictures"])
        index._database.execute("PRAGMA max_page_count = 100000")
        assert index.count() == 0
        assert index.scan([tmp_path / "pictures"]).added == 200


def test_a_transaction_that_fails_leaves_nothing_behind(
    index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.scan([folder])
    (folder / "sub" / "c.webp").unlink()

    def fail(*_: object) -> None:
        raise RuntimeError("after the first hashes were stored")

    monkeypatch.setattr(index_hashes, "set_broken", fail)
    with pytest.raises(RuntimeError):
        index.hash_missing()
    assert index.count_unhashed() == 3
