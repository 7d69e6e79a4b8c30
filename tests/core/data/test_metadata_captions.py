"""Tests of core/data/metadata_captions.py: captions of metadata files come to the right pictures and stay there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import core.data.metadata_captions as module
from core.data import kohya_meta
from core.data.columns import HAS_NATURAL, HAS_TAGS
from core.data.index import Index
from core.data.metadata_captions import MetadataResult, apply_metadata, apply_settings, told
from core.errors import UserError
from core.settings import DataSettings
from tests.core.data.samples import corners, save
from tests.core.data.test_archives import make_tar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pictures in two folders, one with a caption of its own, and two of one name."""
    folder = tmp_path / "pictures"
    for name in ("one/a.png", "one/b.png", "one/own.png", "one/same.png", "two/same.png", "two/1.5.png"):
        save(folder / name)
    (folder / "one/own.txt").write_text("my own", encoding="utf-8")
    return folder


@pytest.fixture
def index(root: Path, tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index.sqlite") as opened:
        opened.scan([root])
        yield opened


def texts(index: Index) -> dict[str, tuple[str, str]]:
    """(tags, natural) of the pictures that have some, by folder and name."""
    found = {}
    for picture in index.pictures():
        path = Path(picture.path)
        if picture.tags or picture.natural:
            found[f"{path.parent.name}/{path.name}"] = picture.tags, picture.natural
    return found


def meta(path: Path, entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


OWN = {"one/own.png": ("my own", "")}


def test_keys_are_stems_paths_or_parts_of_paths(index: Index, root: Path, tmp_path: Path) -> None:
    file = meta(
        tmp_path / "meta.json",
        {
            "a": {"tags": "by stem"},
            str(root / "one/b.png"): {"caption": "By path."},
            "pictures/one/same.jpg": {"tags": "relative to the file"},
            "/on/another/machine/two/same.webp": {"tags": "by folder and name"},
            "1.5": {"tags": "a dot"},
            "own": {"tags": "not wanted"},
            "nobody": {"tags": "x"},
        },
    )
    result = apply_metadata(index, [file])
    assert result == MetadataResult(entries=7, applied=5, own=1, unknown=1)
    assert texts(index) == OWN | {
        "one/a.png": ("by stem", ""),
        "one/b.png": ("", "By path."),
        "one/same.png": ("relative to the file", ""),
        "two/same.png": ("by folder and name", ""),
        "two/1.5.png": ("a dot", ""),
    }
    assert index.tag_counts() == dict.fromkeys(
        ["a dot", "by folder and name", "by stem", "my own", "relative to the file"], 1
    )
    flags = {number: int(flag) for number, flag in zip(index.columns().ids, index.columns().flags, strict=True)}
    for picture in index.pictures():
        assert flags[picture.id] & 3 == HAS_TAGS * bool(picture.tags) + HAS_NATURAL * bool(picture.natural)


def test_windows_paths_and_unicode_are_understood(index: Index, tmp_path: Path) -> None:
    file = meta(tmp_path / "meta.json", {"D:\\pictures\\two\\same.png": {"tags": "\u00e4, \U0001f600"}})
    apply_metadata(index, [file])
    assert texts(index)["two/same.png"] == ("\u00e4, \U0001f600", "")


def test_a_name_of_several_pictures_is_told_and_given_to_none(index: Index, root: Path, tmp_path: Path) -> None:
    save(root / "one/a.webp")  # the same name in the same folder shares a .txt, and shares this
    index.scan([root])
    file = meta(tmp_path / "meta.json", {"same": {"tags": "whose?"}, "a": {"tags": "both"}})
    result = apply_metadata(index, [file])
    assert (result.ambiguous, result.examples, result.applied) == (1, ["same"], 1)
    assert "1 entries" in told(result)
    assert "same" in told(result)
    assert texts(index) == OWN | {"one/a.png": ("both", ""), "one/a.webp": ("both", "")}


def test_the_settings_name_the_files(index: Index, root: Path, tmp_path: Path) -> None:
    meta(tmp_path / "meta.json", {"a": {"tags": "x"}, "same": {"tags": "y"}})
    data = DataSettings(metadata=[str(tmp_path / "meta.json")])
    assert "not used, for instance same" in apply_settings(index, data)
    assert texts(index) == OWN | {"one/a.png": ("x", "")}
    assert apply_settings(index, DataSettings()) == ""
    assert texts(index) == OWN


def test_later_files_add_and_replace(index: Index, tmp_path: Path) -> None:
    first = meta(tmp_path / "1.json", {"a": {"caption": "Old.", "tags": "old"}, "b": {"tags": "stays"}})
    second = tmp_path / "2.jsonl"
    second.write_text('{"image_path": "a.png", "tags": "new"}\n', encoding="utf-8")
    apply_metadata(index, [first, second])
    assert texts(index) == OWN | {"one/a.png": ("new", "Old."), "one/b.png": ("stays", "")}
    assert index.tag_counts() == {"my own": 1, "new": 1, "stays": 1}
    apply_metadata(index, [second, first])
    assert texts(index)["one/a.png"] == ("old", "Old.")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the metadata files that were read since."""
    names: list[str] = []
    real = kohya_meta.read

    def spy(path: Path) -> Any:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(module.kohya_meta, "read", spy)
    return names


def test_rescans_keep_the_texts_and_do_not_read_the_file_again(
    index: Index, root: Path, tmp_path: Path, reads: list[str]
) -> None:
    file = meta(tmp_path / "meta.json", {"a": {"tags": "x"}, "late": {"tags": "came later"}})
    apply_metadata(index, [file])
    for _ in range(2):
        index.scan([root])
        assert apply_metadata(index, [file]) == MetadataResult()
    assert reads == ["meta.json"]
    index.learned([(int(index.columns().ids[0]), "ab" * 16, None)])
    assert apply_metadata(index, [file]).entries == 0
    save(root / "two/late.png")
    index.scan([root])
    apply_metadata(index, [file])
    assert texts(index)["two/late.png"] == ("came later", "")
    assert reads == ["meta.json"] * 2


def test_a_changed_picture_and_a_moved_one_keep_their_texts(index: Index, root: Path, tmp_path: Path) -> None:
    file = meta(tmp_path / "meta.json", {"a": {"tags": "x"}, "b": {"tags": "y"}})
    apply_metadata(index, [file])
    save(root / "one/a.png", corners(80, 90))
    shutil.move(root / "one/b.png", root / "two/b.png")
    assert index.scan([root]).changed == 1
    apply_metadata(index, [file])
    assert texts(index) == OWN | {"one/a.png": ("x", ""), "two/b.png": ("y", "")}
    assert index.tag_counts() == {"my own": 1, "x": 1, "y": 1}


def test_an_own_caption_file_wins_and_its_end_brings_the_text_back(index: Index, root: Path, tmp_path: Path) -> None:
    file = meta(tmp_path / "meta.json", {"a": {"tags": "from meta", "caption": "Also."}})
    apply_metadata(index, [file])
    (root / "one/a.txt").write_text("mine", encoding="utf-8")
    index.scan([root])
    apply_metadata(index, [file])
    assert texts(index)["one/a.png"] == ("mine", "")
    (root / "one/a.txt").unlink()
    index.scan([root])
    apply_metadata(index, [file])
    assert texts(index)["one/a.png"] == ("from meta", "Also.")


def test_a_changed_or_dropped_file_takes_its_texts_away(index: Index, tmp_path: Path) -> None:
    file = meta(tmp_path / "meta.json", {"a": {"tags": "x"}, "b": {"tags": "y"}})
    apply_metadata(index, [file])
    meta(file, {"b": {"tags": "z, y"}})
    os.utime(file, ns=(1, 1))
    apply_metadata(index, [file])
    assert texts(index) == OWN | {"one/b.png": ("z, y", "")}
    assert index.tag_counts() == {"my own": 1, "y": 1, "z": 1}
    apply_metadata(index, [])
    assert texts(index) == OWN
    assert index.tag_counts() == {"my own": 1}
    assert not (index.columns().flags & (HAS_TAGS | HAS_NATURAL)).sum() > 1


def test_a_stop_in_the_middle_is_made_good_by_the_next_call(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 1)
    one = meta(tmp_path / "1.json", {"a": {"tags": "x"}, "b": {"tags": "y"}})
    two = meta(tmp_path / "2.json", {"a": {"caption": "X."}, "b": {"caption": "Y."}})

    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_metadata(index, [one, two], stop)
    assert texts(index)["one/b.png"] == ("y", "")
    apply_metadata(index, [one, two])
    assert texts(index) == OWN | {"one/a.png": ("x", "X."), "one/b.png": ("y", "Y.")}
    assert index.tag_counts() == {"my own": 1, "x": 1, "y": 1}


def test_missing_and_damaged_files_are_told(index: Index, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read.*data\.metadata"):
        apply_metadata(index, [tmp_path / "none.json"])
    (tmp_path / "bad.json").write_text('{"a": {"tags": "x"}, ', encoding="utf-8")
    for _ in range(2):
        with pytest.raises(UserError, match="is damaged: the file ends too early at byte 21"):
            apply_metadata(index, [tmp_path / "bad.json"])


def test_pictures_in_archives_are_served_too(tmp_path: Path) -> None:
    save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    make_tar(tmp_path / "set" / "0001.tar", {"in/x.png": data, "y.png": data})
    file = meta(tmp_path / "meta.json", {"in/x": {"tags": "x"}, str(tmp_path / "set/0001.tar/y.png"): {"tags": "y"}})
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path / "set"])
        apply_metadata(index, [file])
        assert sorted(picture.tags for picture in index.pictures()) == ["x", "y"]
