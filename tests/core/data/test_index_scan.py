"""Tests of core/data/index_scan.py and index_moves.py: moves, captions, tags, processes, kills, archives."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from core.data import index_scan, walk
from core.data.index import Index, Picture, ScanResult
from core.data.index_scan import Scan
from core.data.readers import Readers
from core.errors import Stopped
from tests.core.data.samples import corners, save
from tests.fixtures.processes import ROOT, child, reader_processes, wait_until


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "i.sqlite") as opened:
        yield opened


def noise(path: Path, seed: int, size: int = 12) -> Path:
    """A picture like no other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return save(path, Image.fromarray(pixels))


def by_name(index: Index) -> dict[str, Picture]:
    return {Path(picture.path).name: picture for picture in index.pictures()}


def counted(index: Index) -> dict[str, int]:
    """The tags as they should be counted, from the captions."""
    counts: Counter[str] = Counter()
    for picture in index.pictures():
        counts.update({tag.strip() for line in picture.tags.splitlines() for tag in line.split(",")} - {""})
    return dict(counts)


def test_moved_and_renamed_pictures_keep_what_is_known_of_them(index: Index, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    for number in range(5):
        noise(root / f"{number}.png", number)
        (root / f"{number}.txt").write_text(f"tag {number}", encoding="utf-8")
    index.scan([root])
    index.hash_missing()
    before = by_name(index)
    index.set_tokens([(picture.id, 5) for picture in before.values()])
    index.learned([(picture.id, picture.content_hash, 1000 + picture.id) for picture in before.values()])
    (root / "sub").mkdir()
    os.replace(root / "0.png", root / "renamed.png")  # its caption stays behind
    shutil.move(root / "1.png", root / "sub" / "1.png")
    shutil.move(root / "1.txt", root / "sub" / "1.txt")
    noise(root / "2.png", 77)  # another picture under the name
    noise(root / "new.png", 78)
    (root / "3.png").unlink()
    assert index.scan([root]) == ScanResult(added=1, changed=1, removed=1, broken=0, moved=2)
    after = by_name(index)
    assert sorted(after) == ["1.png", "2.png", "4.png", "new.png", "renamed.png"]
    for old, new in (("0.png", "renamed.png"), ("1.png", "1.png"), ("4.png", "4.png")):
        assert (after[new].id, after[new].content_hash) == (before[old].id, before[old].content_hash)
    assert after["1.png"].path == str(root / "sub" / "1.png")
    assert (after["2.png"].id, after["2.png"].content_hash) == (before["2.png"].id, "")
    columns = index.columns()
    known = {int(i): (int(p), int(t)) for i, p, t in zip(columns.ids, columns.phash, columns.tokens, strict=True)}
    assert known[before["1.png"].id] == (1000 + before["1.png"].id, 5)
    assert known[before["0.png"].id] == (1000 + before["0.png"].id, -1)  # its captions are others now
    assert index.tag_counts() == counted(index) == {"tag 1": 1, "tag 2": 1, "tag 4": 1}
    assert index.scan([root]) == ScanResult(0, 0, 0, 0)


def test_of_equal_pictures_each_moves_once(index: Index, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        noise(tmp_path / "old" / f"{name}.png", 1)
    index.scan([tmp_path])
    before = by_name(index)
    os.replace(tmp_path / "old", tmp_path / "new")
    noise(tmp_path / "new" / "d.png", 1)
    assert index.scan([tmp_path]) == ScanResult(added=1, changed=0, removed=0, broken=0, moved=3)
    after = by_name(index)
    assert [after[name].id for name in before] == [picture.id for picture in before.values()]
    assert all("new" in picture.path for picture in after.values())


def test_a_copy_is_no_move(index: Index, tmp_path: Path) -> None:
    noise(tmp_path / "a.png", 1)
    index.scan([tmp_path])
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert index.scan([tmp_path]) == ScanResult(added=1, changed=0, removed=0, broken=0)
    assert len({picture.id for picture in index.pictures()}) == 2


def test_a_move_is_found_by_the_scan_after_one_that_was_stopped(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_scan, "BATCH", 2)
    for number in range(6):
        noise(tmp_path / "old" / f"{number}.png", number)
    index.scan([tmp_path])
    before = by_name(index)
    os.replace(tmp_path / "old", tmp_path / "new")

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise Stopped

    with pytest.raises(Stopped):
        index.scan([tmp_path], stop)
    assert index.count() == 10
    assert index.scan([tmp_path]).moved == 6
    assert {name: picture.id for name, picture in by_name(index).items()} == {n: p.id for n, p in before.items()}


def test_captions_in_any_case_of_letters_are_read(index: Index, tmp_path: Path) -> None:
    for number, suffix in enumerate((".txt", ".TXT", ".Txt", ".tXT")):
        noise(tmp_path / f"{number}.png", number)
        (tmp_path / f"{number}{suffix}").write_text(f"tag {suffix}", encoding="utf-8")
    noise(tmp_path / "5.png", 5)
    (tmp_path / "5.Caption").write_text("A sentence.", encoding="utf-8")
    index.scan([tmp_path])
    found = by_name(index)
    assert [found[f"{n}.png"].tags for n in range(4)] == ["tag .txt", "tag .TXT", "tag .Txt", "tag .tXT"]
    assert found["5.png"].natural == "A sentence."


def test_tags_are_counted_through_every_change(index: Index, tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(40):
        noise(tmp_path / f"{number:02}.png", number)
    for round_ in range(6):
        for number in chance.sample(range(40), 15):
            picture, text = tmp_path / f"{number:02}.png", tmp_path / f"{number:02}.txt"
            if chance.random() < 0.2:
                text.unlink(missing_ok=True)
            elif chance.random() < 0.2:
                picture.write_bytes(b"broken now")
            elif chance.random() < 0.2:
                noise(picture, 1000 * round_ + number)
            else:
                tags = [f"tag {chance.randrange(8)}" for _ in range(4)]
                text.write_text(", ".join(tags) + "\nother, " + tags[0], encoding="utf-8")
        index.scan([tmp_path])
        assert index.tag_counts(None) == counted(index)
        assert all(not picture.tags for picture in index.broken())
    index.mark_broken(next(p.path for p in index.pictures() if p.tags), "the file is damaged")
    assert index.tag_counts(None) == counted(index)


def test_sentences_are_no_tags(index: Index, tmp_path: Path) -> None:
    noise(tmp_path / "a.png", 1)
    (tmp_path / "a.txt").write_text("cat, " + "a long sentence about a cat " * 5 + ", dog", encoding="utf-8")
    index.scan([tmp_path])
    assert index.tag_counts() == {"cat": 1, "dog": 1}


def test_processes_read_what_the_program_itself_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "pictures"
    for number in range(60):
        noise(root / f"{number:02}.png", number)
        (root / f"{number:02}.txt").write_text(f"tag {number % 7}, all", encoding="utf-8")
    (root / "zz.png").write_text("words", encoding="utf-8")
    monkeypatch.setattr(index_scan, "BATCH", 10)
    with Index(tmp_path / "own.sqlite") as own, Index(tmp_path / "far.sqlite") as far:
        assert own.scan([root]) == ScanResult(61, 0, 0, 1)
        readers = Readers(alone=10, processes=2)
        assert Scan(far.store, None, readers).run([str(root)]) == ScanResult(61, 0, 0, 1)
        assert {(p.path, p.tags, p.signature) for p in own.pictures()} == {
            (p.path, p.tags, p.signature) for p in far.pictures()
        }
        assert own.tag_counts() == far.tag_counts() == {"all": 60} | {f"tag {n}": 9 - (n > 3) for n in range(7)}
    assert not reader_processes()


def test_a_stop_while_processes_read_ends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        noise(tmp_path / f"{number:02}.png", number)
    monkeypatch.setattr(index_scan, "BATCH", 5)

    def stop(done: int, total: int) -> None:
        raise Stopped

    with Index(Path(":memory:")) as index, pytest.raises(Stopped):
        Scan(index.store, stop, Readers(alone=0, processes=2)).run([str(tmp_path)])
    assert not reader_processes()


SCAN = """
import sys
from pathlib import Path
from core.data import index_scan
from core.data.index import Index
from core.data.readers import Readers
index_scan.BATCH = 40
with Index(Path(sys.argv[1])) as index:
    def told(done, total):
        print(done, flush=True)
    index_scan.Scan(index.store, told, Readers(alone=100, processes=2)).run([sys.argv[2]])
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_scans_killed_at_random_moments_end_whole(tmp_path: Path) -> None:
    """Also the processes that read for a killed scan must end."""
    root = tmp_path / "pictures"
    content = noise(tmp_path / "one.png", 1).read_bytes()
    root.mkdir()
    for number in range(600):
        (root / f"{number:04}.png").write_bytes(content + number.to_bytes(4, "little"))
        (root / f"{number:04}.txt").write_text(f"tag {number % 11}, all", encoding="utf-8")
    file = tmp_path / "i.sqlite"
    chance = random.Random(5)
    for _ in range(4):
        scanning = child(SCAN, str(file), str(root))
        with scanning:
            assert scanning.stdout is not None
            scanning.stdout.readline()
            readers = psutil.Process(scanning.pid).children(recursive=True)
            time.sleep(chance.random() * 0.4)
            scanning.send_signal(signal.SIGKILL)
        wait_until(lambda left=readers: not any(p.is_running() for p in left), what="the end of the readers")
        with sqlite3.connect(file) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
    with Index(file) as index:
        index.scan([root])
        assert index.count() == 600
        assert index.scan([root]) == ScanResult(0, 0, 0, 0)
        assert index.tag_counts(None) == counted(index)
        assert len(index.columns()) == 600


def test_a_scan_beside_readers_and_another_scan(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    for number in range(300):
        noise(root / f"{number:03}.png", number, 4)
    file = tmp_path / "i.sqlite"
    with Index(file) as index:
        index.scan([root])
        assert index.count() == 300
        for number in range(300):
            (root / f"{number:03}.txt").write_text("now", encoding="utf-8")
        command = [sys.executable, "-c", SCAN, str(file), str(root)]
        others = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
        seen = set()
        while any(other.poll() is None for other in others):
            columns = index.columns()
            assert len(columns) == 300
            pictures = index.by_ids(columns.ids[:50])
            assert len(pictures) == 50
            seen.add(sum(bool(picture.tags) for picture in pictures))
            index.set_tokens([(pictures[0].id, 9)])
        assert [other.returncode for other in others] == [0, 0]
        assert index.tag_counts() == {"now": 300}
        assert 50 in seen or index.by_ids(index.columns().ids[:50])[0].tags == "now"


def test_a_waiting_scan_can_be_stopped(tmp_path: Path) -> None:
    noise(tmp_path / "a.png", 1)
    file = tmp_path / "i.sqlite"
    inside, go = threading.Event(), threading.Event()

    def hold(done: int, total: int) -> None:
        inside.set()
        go.wait(20)

    def work() -> None:
        with Index(file) as index:
            index.scan([tmp_path], hold)

    def stop(done: int, total: int) -> None:
        raise Stopped

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(20)
    try:
        with Index(file) as index, pytest.raises(Stopped):
            index.scan([tmp_path], stop)
    finally:
        go.set()
        thread.join()


def test_a_name_listed_twice_is_one_picture(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is changed while it is read may name a file twice."""
    noise(tmp_path / "a.png", 1)
    real = walk.pictures
    monkeypatch.setattr(walk, "pictures", lambda *given: [*real(*given), *real(*given)])
    index.scan([tmp_path])
    assert index.count() == 1


def test_pictures_in_archives(index: Index, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    noise(root / "loose.png", 1)
    with tarfile.open(root / "a.tar", "w") as tar:
        for number in range(3):
            tar.add(noise(tmp_path / "x.png", 10 + number), f"deep/{number}.png")
        (tmp_path / "x.txt").write_text("in, a tar", encoding="utf-8")
        tar.add(tmp_path / "x.txt", "deep/1.txt")
        tar.add(tmp_path / "x.txt", "deep/bad.png")
    (root / "b.tar").write_bytes(b"no archive" * 200)
    assert index.scan([root]) == ScanResult(added=6, changed=0, removed=0, broken=2)
    found = {Path(picture.path).relative_to(root).as_posix(): picture for picture in index.pictures()}
    assert list(found) == ["loose.png", "a.tar/deep/0.png", "a.tar/deep/1.png", "a.tar/deep/2.png"]
    assert found["a.tar/deep/1.png"].tags == "in, a tar"
    assert (found["a.tar/deep/0.png"].width, found["a.tar/deep/0.png"].tags) == (12, "")
    bad, archive = sorted(index.broken(), key=lambda picture: picture.path)
    assert (Path(bad.path).name, bad.reason) == ("bad.png", "not a picture but a text file")
    assert Path(archive.path).name == "b.tar"
    assert "not a tar archive" in archive.reason
    index.hash_missing()
    index.find_phashes()
    assert index.count() == 4
    assert index.count_unhashed() == 0
    assert index.scan([root]) == ScanResult(0, 0, 0, 2)
    index.mark_broken(str(root / "a.tar" / "deep" / "2.png"), "the file is damaged")
    assert len(index.broken()) == 3
    os.utime(root / "a.tar", ns=(1, 1))
    assert index.scan([root]) == ScanResult(0, 4, 0, 2)


def test_an_orientation_is_applied_in_an_archive_too(index: Index, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(save(tmp_path / "x" / "turned.png", corners(64, 32), orientation=6), "turned.png")
        tar.add(save(tmp_path / "x" / "plain.tif", corners(64, 32)), "plain.tif")
    index.scan([tmp_path / "a.tar"])
    assert {Path(p.path).name: (p.width, p.height) for p in index.pictures()} == {
        "turned.png": (32, 64),
        "plain.tif": (64, 32),
    }
