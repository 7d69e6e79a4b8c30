"""Tests of core/data/archives.py and source.py: members of tar files listed and read by offset, damage told."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import random
import re
import tarfile
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core import paths
from core.data import archives, source
from core.data.archives import Member, members
from core.data.reasons import PictureError

Index = dict[str, dict[str, Any]]


def make_tar(path: Path, files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> dict[str, tuple[int, int]]:
    """A tar file of these members; gives (offset, size) of each as tarfile itself finds them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with tarfile.open(path) as tar:
        return {info.name: (info.offset_data, info.size) for info in tar if info.isreg()}


def make_index(path: Path, places: dict[str, tuple[int, int]], **more: Any) -> Path:
    """hfutils' index of an archive."""
    files = {name: {"offset": offset, "size": size, "sha256": "0" * 64} for name, (offset, size) in places.items()}
    index = path.with_suffix(".json")
    values = {"filesize": path.stat().st_size, "hash": "0" * 40, "hash_lfs": "0" * 64, "files": files, **more}
    index.write_text(json.dumps(values), encoding="utf-8")
    return index


def listed(path: Path) -> tuple[list[Member], str]:
    """The members and the reason with which the list ended, "" when it was whole."""
    found = []
    try:
        for member in members(str(path)):
            found.append(member)
    except PictureError as error:
        return found, str(error)
    return found, ""


FILES = {
    "b.jpg": b"picture b" * 100,
    "sub/a.png": b"",
    "b.txt": b"one, two",
    "sub/\u00e4 long " + "x" * 200: b"#" * 7000,
}


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_listed_and_read_with_and_without_an_index(tmp_path: Path, indexed: bool, kind: int) -> None:
    path = tmp_path / "0001.TAR"
    places = make_tar(path, FILES, kind)
    if indexed:
        make_index(path, places)
    found, problem = listed(path)
    assert problem == ""
    assert {member.name: (member.offset, member.size) for member in found} == places
    assert [member.name for member in found] == list(FILES)  # as they lie on the disk
    for name, data in FILES.items():
        assert source.read_bytes(f"{path}/{name}") == data


def test_an_index_alone_decides_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    offset, _ = make_tar(path, FILES)["b.jpg"]
    make_index(path, {"other.jpg": (offset + 8, 3)})
    assert [member.name for member in members(str(path))] == ["other.jpg"]
    assert source.read_bytes(f"{path}/other.jpg") == b"bpi"
    with pytest.raises(FileNotFoundError):
        source.read_bytes(f"{path}/b.jpg")


def test_a_member_is_opened_as_a_file_without_reading_it(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(picture, "PNG")
    make_tar(tmp_path / "a.tar", {"first": b"x" * 10, "p.png": picture.getvalue(), "last": b"y" * 10})
    with source.open_file(str(tmp_path / "a.tar/p.png")) as file:
        assert file.read() == picture.getvalue()
        assert file.read(1) == b""
        assert file.seek(-4, os.SEEK_END) == len(picture.getvalue()) - 4
        assert file.read(100) == picture.getvalue()[-4:]
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
        file.seek(0)
        with Image.open(file) as image:
            image.load()
            assert (image.size, image.getpixel((3, 3))) == ((40, 20), (255, 0, 0))


def test_plain_files_are_read_as_they_are_and_a_folder_may_be_called_tar(tmp_path: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar" / "a.txt").write_bytes(b"plain")
    make_tar(tmp_path / "x.tar" / "in.tar", {"deep/a.txt": b"inner"})
    assert source.read_bytes(str(tmp_path / "x.tar" / "a.txt")) == b"plain"
    assert source.read_bytes(str(tmp_path / "x.tar" / "in.tar" / "deep" / "a.txt")) == b"inner"
    with source.open_file(str(tmp_path / "x.tar" / "a.txt")) as file:
        assert file.read() == b"plain"
    assert source.split(str(tmp_path / "x.tar")) is None
    for missing in ("nothing.txt", "nothing.tar/a.txt", "x.tar/in.tar/deep"):
        with pytest.raises(FileNotFoundError):
            source.read_bytes(str(tmp_path / missing))
        with pytest.raises(FileNotFoundError):
            source.open_file(str(tmp_path / missing))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"offset": 512, "size": 1 << 50}, "beyond the end"),
        ({"offset": 1 << 70, "size": 1}, "beyond the end"),
        ({"offset": -512, "size": 4}, "does not say where"),
        ({"offset": 512, "size": -1}, "does not say where"),
        ({"offset": 512.5, "size": 1}, "does not say where"),
        ({"offset": True, "size": 1}, "does not say where"),
        ({"size": 4}, "does not say where"),
        (["offset", 512], "does not say where"),
        (None, "does not say where"),
    ],
)
def test_a_hostile_place_in_an_index_costs_that_member_alone(tmp_path: Path, entry: Any, reason: str) -> None:
    path = tmp_path / "a.tar"
    places = make_tar(path, FILES)
    index = make_index(path, places)
    values = json.loads(index.read_text("utf-8"))
    values["files"]["bad.jpg"] = entry
    index.write_text(json.dumps(values), encoding="utf-8")
    found, problem = listed(path)
    assert problem == ""
    assert reason in {member.name: member.reason for member in found}["bad.jpg"]
    assert source.read_bytes(f"{path}/b.txt") == b"one, two"
    with pytest.raises(OSError, match=reason) as raised:
        source.read_bytes(f"{path}/bad.jpg")
    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../etc/passwd.jpg", "out of the archive"),
        ("a/../../b.jpg", "out of the archive"),
        ("/etc/passwd.jpg", "out of the archive"),
        ("C:/windows.jpg", "out of the archive"),
        ("a\\..\\b.jpg", "out of the archive"),
        ("a//b.jpg", "not that of a file"),
        ("", "not that of a file"),
        ("a\0.jpg", "not that of a file"),
        ("\ud800.jpg", "not valid UTF-8"),
    ],
)
def test_a_hostile_name_is_told_and_never_opened(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / "a.tar"
    offset, size = make_tar(path, FILES)["b.jpg"]
    make_index(path, {name: (offset, size), "good.jpg": (offset, size)})
    (bad, good), problem = listed(path)
    assert (problem, good.reason) == ("", "")
    assert reason in bad.reason
    bad.name.encode("utf-8")  # can be printed and stored
    with pytest.raises((OSError, ValueError)):
        source.read_bytes(f"{path}/{name}")


def test_names_in_the_headers_are_checked_too(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"../out.jpg": b"1", "./in.jpg": b"2", ".hidden.jpg": b"3", "._mac/x.jpg": b"4"})
    found, _ = listed(tmp_path / "a.tar")
    assert [(member.name, bool(member.reason)) for member in found] == [("../out.jpg", True), ("in.jpg", False)]
    assert source.read_bytes(str(tmp_path / "a.tar" / "in.jpg")) == b"2"


def test_links_folders_and_devices_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"odd{int(kind)}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("a.jpg"))
    assert [member.name for member in members(str(tmp_path / "a.tar"))] == ["a.jpg"]


def test_of_two_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for data in (b"old", b"newer"):
            info = tarfile.TarInfo("a.txt")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert [member.size for member in members(str(tmp_path / "a.tar"))] == [5]
    assert source.read_bytes(str(tmp_path / "a.tar" / "a.txt")) == b"newer"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"files": {"a.jpg": {"offset": 1, "si', "ends too early"),
        ('{"files": {"a.jpg": {"offset": 1 "size": 2}}}', "this is no JSON at byte 33"),
        ("", "no 'files'|no object|ends too early"),
        ("\x00\x01\x02", "no object|damaged"),
        ('{"files": {}} and more', "something follows"),
        ('{"files": {"a": ' + "[" * 200_000, "cannot be read"),
        ('{"files": {"a": ' + "9" * 10_000 + "}}", "cannot be read"),
    ],
)
def test_a_damaged_index_is_told(tmp_path: Path, text: str, reason: str) -> None:
    make_tar(tmp_path / "a.tar", FILES)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    found, problem = listed(tmp_path / "a.tar")
    assert problem.startswith("its index a.json is damaged (")
    assert re.search(reason, problem)
    assert not any(member.name == "b.jpg" for member in found)
    with pytest.raises(OSError, match="its index a\\.json is damaged"):
        source.read_bytes(str(tmp_path / "a.tar" / "b.jpg"))


def test_an_index_of_another_tar_is_told_and_a_repaired_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    places = make_tar(path, FILES)
    make_index(path, places, filesize=17)
    assert "of a tar file of 17 bytes" in listed(path)[1]
    make_index(path, places)
    assert listed(path)[1] == ""
    assert source.read_bytes(f"{path}/b.txt") == b"one, two"


@pytest.mark.parametrize("text", ['{"1": {"caption": "words"}}', "[1, 2]"])
def test_a_json_beside_that_is_no_index_is_let_be(tmp_path: Path, text: str) -> None:
    make_tar(tmp_path / "a.tar", FILES)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert len(list(members(str(tmp_path / "a.tar")))) == len(FILES)


def test_a_tar_cut_short_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    offset, size = make_tar(path, {f"{number}.jpg": bytes([number]) * 3000 for number in range(5)})["3.jpg"]
    for end, whole, problem in [
        (offset + size - 1, 3, "after 4 members"),  # in the middle of a picture
        (offset - 100, 3, "after 3 members"),  # in the middle of a header
        (offset - 512, 3, "after 3 members"),  # between two
    ]:
        os.truncate(path, end)
        found, told = listed(path)
        assert sum(not member.reason for member in found) == whole
        assert problem in told
        assert source.read_bytes(f"{path}/2.jpg") == bytes([2]) * 3000
        with pytest.raises(OSError, match=r"beyond the end|damaged"):
            source.read_bytes(f"{path}/3.jpg")


def test_every_cut_and_flipped_byte_gives_members_or_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    make_tar(path, {"a.jpg": b"1" * 600, "b/" + "y" * 150: b"2", "c.jpg": b"3" * 10})
    whole = path.read_bytes()
    chance = random.Random(5)
    for turn in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.randrange(len(damaged))] if turn % 3 == 0 else damaged)
        os.utime(path, ns=(turn, turn))
        for member in listed(path)[0]:
            assert member.reason or 0 <= member.offset <= member.offset + member.size <= path.stat().st_size


def test_a_header_that_leads_back_ends_the_list(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    make_tar(path, {"a.jpg": b"1", "b.jpg": b"2"}, tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    header = data[1024:1536]
    header[124:136] = b"\xff" * 10 + (-512 & 0xFFFF).to_bytes(
        2, "big"
    )  # a size below zero: the next header is this one
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    data[1024:1536] = header
    path.write_bytes(data)
    found, problem = listed(path)
    assert [member.name for member in found if not member.reason] == ["a.jpg"]
    assert problem.startswith("the archive is damaged")


def test_something_else_named_tar(tmp_path: Path) -> None:
    for content in (b"", b"not a tar at all" * 100, b"\x1f\x8b" + b"gz" * 600):
        (tmp_path / "a.tar").write_bytes(content)
        found, problem = listed(tmp_path / "a.tar")
        assert (found, problem.startswith("not a tar archive")) == ([], True)
    with pytest.raises(FileNotFoundError):
        list(members(str(tmp_path / "missing.tar")))


def test_a_changed_archive_is_listed_and_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    make_tar(path, {"a.txt": b"old"})
    before = archives.stamp(str(path))
    left = [paths.cache_folder() / "archives" / f".{name}.sqlite.part" for name in ("old", "young")]
    for leftover in left:
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.touch()
    os.utime(left[0], ns=(1, 1))
    assert source.read_bytes(f"{path}/a.txt") == b"old"
    make_tar(path, {"x": b"1" * 5000, "a.txt": b"new"})
    os.utime(path, ns=(1, 1))
    assert archives.stamp(str(path)) != before
    assert source.read_bytes(f"{path}/a.txt") == b"new"
    assert len(list((paths.cache_folder() / "archives").glob("[!.]*.sqlite"))) == 1
    assert [leftover.exists() for leftover in left] == [False, True]


def test_a_list_that_the_disk_damaged_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    make_tar(path, FILES)
    list(members(str(path)))
    (kept,) = (paths.cache_folder() / "archives").glob("*.sqlite")
    kept.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert len(list(members(str(path)))) == len(FILES)


def test_a_list_is_not_read_from_the_archive_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tar(tmp_path / "a.tar", FILES)
    first = list(members(str(tmp_path / "a.tar")))
    monkeypatch.setattr(archives, "_read", lambda _: pytest.fail("read again"))
    assert list(members(str(tmp_path / "a.tar"))) == first


def test_more_archives_than_may_be_open_at_once(tmp_path: Path) -> None:
    for number in range(100):
        make_tar(tmp_path / f"{number}.tar", {"a.txt": str(number).encode()})
    open_before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(2):
        for number in range(100):
            assert source.read_bytes(str(tmp_path / f"{number}.tar" / "a.txt")) == str(number).encode()
    if open_before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= open_before + 2 * 64 + 4


def _check(path: str, count: int, seed: int) -> bool:
    chance = random.Random(seed)
    numbers = [chance.randrange(count) for _ in range(300)]
    return all(source.read_bytes(f"{path}/{number}.txt") == str(number).encode() * 50 for number in numbers)


def test_threads_and_forked_processes_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    make_tar(path, {f"{number}.txt": str(number).encode() * 50 for number in range(200)})
    assert _check(str(path), 200, 0)  # open before the fork
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda seed=seed: results.append(_check(str(path), 200, seed))) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    for method in ("fork", "spawn") if os.name == "posix" else ("spawn",):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.starmap(_check, [(str(path), 200, seed) for seed in range(4)]) == [True] * 4


def test_memory_does_not_grow_with_the_members(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.tar"
        path.write_bytes(bytes(1024))
        places = {f"{number:09}.jpg": (0, 1) for number in range(count)}
        make_index(path, places)
        del places
        tracemalloc.start()
        try:
            assert sum(1 for _ in members(str(path))) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40_000) < 2 * peak(20_000) - 1_000_000 or peak(40_000) < 16_000_000
