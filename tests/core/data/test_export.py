"""Tests of the exports: pictures by tag into folders and tar files, killed and gone on, never over another file."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import export_folder as folder_module
from core.data import source
from core.data.archive_index import write_index
from core.data.archives import members
from core.data.export_folder import export_folder
from core.data.export_metadata import export_metadata
from core.data.export_tar import export_tar
from core.data.index import Index, Picture
from core.data.kohya_meta import read
from core.data.metadata_captions import apply_metadata
from core.data.subset import Names, Selection, select
from core.errors import UserError
from core.settings import Settings
from tests.core.data.samples import corners, save
from tests.core.data.test_archives import make_index, make_tar

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five pictures in two folders with captions of both kinds."""
    folder = tmp_path / "pictures"
    for number, (name, tags, natural) in enumerate(
        [
            ("a/1.png", "Long_Hair, red dress", "A woman."),
            ("a/2.jpg", "long hair\nblue eyes, long hair", ""),
            ("a/3.png", "short hair", ""),
            ("b/1.png", "", "A house with long hair of ivy."),
            ("b/4.webp", "", ""),
        ]
    ):
        save(folder / name, corners(48 + number, 32))
        for suffix, text in ((".txt", tags), (".caption", natural)):
            if text:
                (folder / name).with_suffix(suffix).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def index(root: Path) -> Iterator[Index]:
    with Index(Path(":memory:")) as opened:
        opened.scan([root])
        yield opened


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def chosen(index: Index, **selection: object) -> set[str]:
    found = select(index, Selection(**selection))  # type: ignore[arg-type]
    return {"/".join(Path(picture.path).parts[-2:]) for picture in found}


def test_pictures_are_chosen_by_tags_and_words(index: Index) -> None:
    assert chosen(index, tags=["long hair"]) == {"a/1.png", "a/2.jpg"}
    assert chosen(index, tags=["LONG_HAIR", "blue eyes"]) == {"a/2.jpg"}
    assert chosen(index, tags=["* hair"], without=["red dress"]) == {"a/2.jpg", "a/3.png"}
    assert chosen(index, tags=["hair"]) == set()
    assert chosen(index, text="LONG HAIR") == {"a/2.jpg", "b/1.png"}
    assert chosen(index, text=f"b{os.sep}") == {"b/1.png", "b/4.webp"}
    assert len(chosen(index)) == 5


def test_a_folder_gets_pictures_and_captions(index: Index, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = export_folder(select(index, Selection(tags=["*hair"])), Names([root]), out)
    assert (result.pictures, result.captions, result.written, result.others) == (3, 4, 7, 0)
    files = tree(out)
    assert set(files) == {"a/1.png", "a/1.txt", "a/1.caption", "a/2.jpg", "a/2.txt", "a/3.png", "a/3.txt"}
    assert files["a/1.png"] == (root / "a/1.png").read_bytes()
    assert files["a/2.txt"] == b"long hair\nblue eyes, long hair\n"
    assert files["a/1.caption"] == b"A woman.\n"
    with Index(Path(":memory:")) as copy:
        copy.scan([out])
        assert [(p.tags, p.natural) for p in copy.pictures()] == [
            (p.tags, p.natural) for p in select(index, Selection(tags=["*hair"]))
        ]


def test_flat_and_several_folders(index: Index, root: Path, tmp_path: Path) -> None:
    export_folder(index.pictures(), Names([root], flat=True), tmp_path / "flat")
    assert {"a__1.png", "b__1.png", "b__1.caption"} < set(tree(tmp_path / "flat"))
    names = Names([root / "a", root / "b", tmp_path / "elsewhere" / "a"])
    assert names.of(str(root / "b/4.webp")) == "b/4.webp"
    both = {names.of(str(root / "a/1.png")), names.of(str(tmp_path / "elsewhere/a/1.png"))}
    assert both == {"a/1.png", "a-2/1.png"}
    assert names.of("/somewhere/else.png") == "else.png"


def test_another_file_is_never_overwritten_unless_told(index: Index, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a/1.png").write_bytes(b"precious")
    (out / "a/2.txt").write_bytes(b"edited by hand")
    (out / "a/.hidden.part").write_bytes(b"of somebody else")
    result = export_folder(index.pictures(), Names([root]), out)
    assert result.others == 2
    assert {Path(path).name for path in result.examples} == {"1.png", "2.txt"}
    assert (out / "a/1.png").read_bytes() == b"precious"
    assert not (out / "a/1.txt").exists()  # it would be the caption of another picture
    assert (out / "a/2.txt").read_bytes() == b"edited by hand"
    assert (out / "a/.hidden.part").exists()
    result = export_folder(index.pictures(), Names([root]), out, overwrite=True)
    assert (result.others, result.pictures) == (0, 5)
    assert (out / "a/1.png").read_bytes() == (root / "a/1.png").read_bytes()
    assert (out / "a/2.txt").read_bytes() == b"long hair\nblue eyes, long hair\n"


def test_two_pictures_that_would_get_one_name(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a" / "b.png", corners(40, 40))
    save(tmp_path / "in" / "a__b.png", corners(41, 40))
    for target in (tmp_path / "out", tmp_path / "out.tar"):
        with Index(Path(":memory:")) as index:
            index.scan([tmp_path / "in"])
            export = export_tar if target.suffix else export_folder
            result = export(index.pictures(), Names([tmp_path / "in"], flat=True), target)
            assert (result.pictures, result.others, len(result.examples)) == (1, 1, 1)


def test_a_second_export_writes_nothing(
    index: Index, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export_folder(index.pictures(), Names([root]), tmp_path / "out")
    monkeypatch.setattr(folder_module.atomic, "replacing", lambda _: pytest.fail("written again"))
    second = export_folder(index.pictures(), Names([root]), tmp_path / "out")
    assert (second.pictures, second.captions, second.written) == (first.pictures, first.captions, 0)


def test_a_picture_that_is_gone_costs_itself_alone(index: Index, root: Path, tmp_path: Path) -> None:
    (root / "a/2.jpg").unlink()
    for target in (tmp_path / "out", tmp_path / "out.tar"):
        export = export_tar if target.suffix else export_folder
        result = export(index.pictures(), Names([root]), target)
        assert (result.pictures, [Path(path).name for path, _ in result.broken]) == (4, ["2.jpg"])


def check_tar(path: Path) -> dict[str, bytes]:
    """The members of an exported tar, which must agree by its index, its headers and hfutils' rules."""
    index = json.loads(path.with_suffix(".json").read_text("utf-8"))
    data = path.read_bytes()
    assert index["filesize"] == len(data)
    assert index["hash"] == hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
    assert index["hash_lfs"] == hashlib.sha256(data).hexdigest()
    found = {}
    for name, place in index["files"].items():
        found[name] = data[place["offset"] : place["offset"] + place["size"]]
        assert place["sha256"] == hashlib.sha256(found[name]).hexdigest()
    with tarfile.open(path) as tar:
        headers = {info.name: (info.offset_data, info.size) for info in tar}
    assert headers == {name: (place["offset"], place["size"]) for name, place in index["files"].items()}
    assert list(headers) == [member.name for member in members(str(path))]
    return found


def test_a_tar_gets_pictures_captions_and_an_index(index: Index, root: Path, tmp_path: Path) -> None:
    result = export_tar(index.pictures(), Names([root]), tmp_path / "out" / "set.tar")
    export_folder(index.pictures(), Names([root]), tmp_path / "folder")
    assert check_tar(tmp_path / "out" / "set.tar") == tree(tmp_path / "folder")
    assert (result.pictures, result.captions, result.written) == (5, 5, 10)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"set.tar", "set.json"}
    with pytest.raises(UserError, match=r"set\.tar exists already"):
        export_tar(index.pictures(), Names([root]), tmp_path / "out" / "set.tar")
    export_tar(select(index, Selection(tags=["short hair"])), Names([root]), tmp_path / "out" / "set.tar", True)
    assert set(check_tar(tmp_path / "out" / "set.tar")) == {"a/3.png", "a/3.txt"}
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.json exists already"):
        export_tar(index.pictures(), Names([root]), tmp_path / "other.tar")
    assert (tmp_path / "other.json").read_text("utf-8") == "{}"


@pytest.mark.parametrize("cut", [0, 100, 700, 5_000, 9_000, 11_000, 13_000, 1 << 30])
def test_a_tar_goes_on_from_any_place(index: Index, root: Path, tmp_path: Path, cut: int) -> None:
    export_tar(index.pictures(), Names([root]), tmp_path / "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    part = tmp_path / ".set.tar.export"
    part.write_bytes(whole[:cut])
    result = export_tar(index.pictures(), Names([root]), tmp_path / "set.tar")
    assert check_tar(tmp_path / "set.tar") == check_tar(tmp_path / "whole.tar")
    assert (tmp_path / "set.tar").read_bytes() == whole
    ends = [member.offset + member.size for member in members(str(tmp_path / "whole.tar"))]
    assert (result.written == 0) == (cut >= ends[-1])
    assert result.written <= sum(end > cut for end in ends) + 2  # the picture in the middle with its captions


@pytest.mark.parametrize("change", ["another selection", "a changed caption", "junk behind"])
def test_a_tar_that_was_begun_otherwise_is_written_anew_from_there(
    index: Index, root: Path, tmp_path: Path, change: str
) -> None:
    without = ["red dress"] if change == "another selection" else []
    export_tar(index.pictures(), Names([root]), tmp_path / "whole.tar")
    begun = (tmp_path / "whole.tar").read_bytes()
    if change == "a changed caption":
        begun = begun.replace(b"short hair", b"shorn hair")
    (tmp_path / ".set.tar.export").write_bytes(begun + b"junk" * 10_000 * (change == "junk behind"))
    export_tar(select(index, Selection(without=without)), Names([root]), tmp_path / "set.tar")
    export_tar(select(index, Selection(without=without)), Names([root]), tmp_path / "clean.tar")
    assert (tmp_path / "set.tar").read_bytes() == (tmp_path / "clean.tar").read_bytes()
    check_tar(tmp_path / "set.tar")


def noise(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 255, (96, 96, 3), np.uint8)
    for number in range(count):
        pixels[0, 0] = (number // 256, number % 256, 0)
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
        (folder / f"{number:04}.txt").write_text(f"tag {number}", encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_kills_at_random_moments_lose_nothing(tmp_path: Path, name: str, burnish_home: Path) -> None:
    noise(tmp_path / "in", 400)
    command = [
        sys.executable,
        "main.py",
        "dataset",
        "export",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / name),
        "--json",
    ]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def begun() -> bool:
        part = tmp_path / f".{name}.export"
        return (tmp_path / name).exists() if name == "out" else part.exists() and part.stat().st_size > 10_000

    chance = random.Random(4)
    killed = 0
    for _ in range(4):
        process = start()
        deadline = time.monotonic() + 60
        while not begun() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if process.stdout and process.stderr:
            process.stdout.close()
            process.stderr.close()
        if name == "out":
            for path in (tmp_path / name).glob("*"):  # what bears its name is whole
                if not path.name.startswith("."):
                    assert path.read_bytes().strip() == (tmp_path / "in" / path.name).read_bytes().strip()
        elif killed < 4:
            assert not (tmp_path / name).exists() or process.returncode == 0
        if process.returncode == 0:
            break
    assert killed
    process = start()
    out, errors = process.communicate(timeout=120)
    if b"exists already" not in errors:  # the last one was through before it was killed
        assert process.returncode == 0, errors
        assert json.loads(out)["pictures"] == 400
    files = tree(tmp_path / name) if name == "out" else check_tar(tmp_path / name)
    assert {file: data.strip() for file, data in files.items()} == {
        file: data.strip() for file, data in tree(tmp_path / "in").items()
    }


def test_a_subset_of_an_archive_is_copied_out(tmp_path: Path) -> None:
    save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    files = {"in/x.png": data, "in/x.txt": b"cat", "y.png": data, "y.txt": b"dog", "y.caption": b"A dog."}
    make_index(tmp_path / "set/0001.tar", make_tar(tmp_path / "set/0001.tar", files))
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path / "set"])
        assert chosen(index, tags=["dog"]) == {"0001.tar/y.png"}
        export_folder(select(index, Selection(tags=["dog"])), Names([tmp_path / "set"]), tmp_path / "out")
        assert tree(tmp_path / "out") == {"0001/y.png": data, "0001/y.txt": b"dog\n", "0001/y.caption": b"A dog.\n"}
        export_tar(index.pictures(), Names([tmp_path / "set"]), tmp_path / "all.tar")
        assert {f"0001/{name}": content for name, content in files.items()} == {
            name: content.strip() if not name.endswith("png") else content
            for name, content in check_tar(tmp_path / "all.tar").items()
        }
    assert source.read_bytes(str(tmp_path / "all.tar/0001/in/x.png")) == data


def test_an_index_is_written_only_where_there_is_none(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"a.jpg": b"1" * 700, "b/c.txt": b"", "\u00e4.png": b"2"})
    assert write_index(tmp_path / "a.tar") == tmp_path / "a.json"
    assert set(check_tar(tmp_path / "a.tar")) == {"a.jpg", "b/c.txt", "\u00e4.png"}
    (tmp_path / "a.json").write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(UserError, match="exists already"):
        write_index(tmp_path / "a.tar")
    assert (tmp_path / "a.json").read_text("utf-8") == '{"mine": 1}'
    write_index(tmp_path / "a.tar", overwrite=True)
    check_tar(tmp_path / "a.tar")
    os.truncate(tmp_path / "a.tar", 1000)
    with pytest.raises(UserError, match="No index of"):
        write_index(tmp_path / "a.tar", overwrite=True)


@pytest.fixture
def settings(root: Path) -> Settings:
    found = Settings()
    found.data.folders = [str(root)]
    found.data.buckets = "kohya"
    return found


@pytest.mark.parametrize("name", ["meta_lat.json", "meta.jsonl"])
def test_metadata_is_written_with_buckets_and_read_back(
    index: Index, root: Path, tmp_path: Path, settings: Settings, name: str
) -> None:
    done: list[tuple[int, int]] = []
    assert export_metadata(index, settings, tmp_path / name, progress=lambda *step: done.append(step)) == 5
    assert done[-1] == (5, 5)
    rows = {row.key: row for row in read(tmp_path / name)}
    first = rows[str(root / "a/1.png")]
    assert (first.caption, first.tags, first.image_size) == ("A woman.", "Long_Hair, red dress", (48, 32))
    assert first.train_resolution == (640, 384)  # 1.5: nearest of kohya's 17 buckets of 512 x 512
    with Index(tmp_path / "other.sqlite") as other:
        for caption in (*root.rglob("*.txt"), *root.rglob("*.caption")):
            caption.unlink()
        other.scan([root])
        assert apply_metadata(other, [tmp_path / name]).applied == 4
        wanted: Callable[[Picture], tuple[str, ...]] = lambda picture: (picture.path, picture.tags, picture.natural)  # noqa: E731
        assert list(map(wanted, other.pictures())) == list(map(wanted, index.pictures()))


def test_names_as_keys_only_where_they_are_unambiguous(
    index: Index, root: Path, tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(UserError, match="1 pictures share their name"):
        export_metadata(index, settings, tmp_path / "meta.json", stems=True)
    assert not (tmp_path / "meta.json").exists()
    (root / "b/1.png").unlink()
    index.scan([root])
    export_metadata(index, settings, tmp_path / "meta.json", stems=True)
    assert [row.key for row in read(tmp_path / "meta.json")] == ["1", "2", "3", "4"]
