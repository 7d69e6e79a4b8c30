"""Tests of core/data/index_query.py and of what is written besides scans: ids, captions, searches, tags, hashes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import index_query
from core.data.captions import Captions
from core.data.index import Index, ScanResult
from core.data.phash import distance, phash64
from core.data.pictures import load
from tests.core.data.samples import corners, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for name, tags, natural in (
        ("cats/one.png", "cat, red_eyes, solo", ""),
        ("cats/two.png", "cat, solo", "A cat asleep."),
        ("dogs/three.png", "dog, 100%", "A dog and a CAT."),
        ("four.png", "", ""),
    ):
        save(root / name, corners(8, 8))
        if tags:
            (root / name).with_suffix(".txt").write_text(tags, encoding="utf-8")
        if natural:
            (root / name).with_suffix(".caption").write_text(natural, encoding="utf-8")
    (root / "broken.png").write_text("a cat", encoding="utf-8")
    return root


def ids(index: Index) -> dict[str, int]:
    return {Path(picture.path).stem: picture.id for picture in index.pictures()}


def found(index: Index, text: str) -> set[str]:
    names = {number: name for name, number in ids(index).items()}
    return {names[int(number)] for part in index.search(text) for number in part}


def test_pictures_and_captions_come_in_the_order_asked_for(index: Index, folder: Path) -> None:
    index.scan([folder])
    known = ids(index)
    asked = [known["three"], 999, known["one"], known["four"], known["one"]]
    assert [Path(p.path).stem for p in index.by_ids(asked)] == ["three", "one", "four", "one"]
    assert index.captions_of(np.array(asked)) == [
        Captions("dog, 100%", "A dog and a CAT."),
        Captions("", ""),
        Captions("cat, red_eyes, solo", ""),
        Captions("", ""),
        Captions("cat, red_eyes, solo", ""),
    ]
    assert index.by_ids([]) == index.captions_of([]) == []
    many = [known["one"], known["two"]] * 2_000
    assert [picture.id for picture in index.by_ids(many)] == many


def test_a_search_finds_text_in_paths_and_captions(index: Index, folder: Path) -> None:
    index.scan([folder])
    assert found(index, "cat") == {"one", "two", "three"}
    assert found(index, "CATS") == {"one", "two"}
    assert found(index, f"cats{os.sep}t") == {"two"}
    assert found(index, "asleep") == {"two"}
    assert found(index, "red_eyes") == {"one"}
    assert found(index, "redXeyes") == set()
    assert found(index, "100%") == {"three"}
    assert found(index, "") == {"one", "two", "three", "four"}


def test_a_search_hands_out_parts_and_can_be_stopped(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        save(tmp_path / f"{number:02}.png", corners(2, 2))
    index.scan([tmp_path])
    monkeypatch.setattr(index_query, "_FIRST_LOOK", 5)
    parts = list(index.search("png"))
    assert [len(part) for part in parts] == [5, 10, 20, 5]
    assert np.concatenate(parts).tolist() == sorted(ids(index).values())
    looked = []
    for part in index.search("png", lambda: bool(looked)):
        looked.append(len(part))
    assert looked == [5]


def test_tags_by_count_then_alphabet(index: Index, folder: Path) -> None:
    index.scan([folder])
    assert list(index.tag_counts().items()) == [("cat", 2), ("solo", 2), ("100%", 1), ("dog", 1), ("red_eyes", 1)]
    assert list(index.tag_counts(top=1)) == ["cat"]
    assert list(index.tag_counts(top=None, like="O")) == ["solo", "dog"]
    assert list(index.tag_counts(like="_")) == ["red_eyes"]
    assert list(index.tag_counts(like="%")) == ["100%"]


def test_captions_set_by_hand_need_no_scan(index: Index, folder: Path) -> None:
    index.scan([folder])
    known = ids(index)
    index.set_tokens([(known["one"], 4), (known["two"], 3)])
    (folder / "cats" / "one.txt").write_text("dog, new", encoding="utf-8")
    index.set_captions(known["one"], "dog, new", "")
    (folder / "cats" / "two.txt").unlink()
    (folder / "cats" / "two.caption").unlink()
    index.set_captions(known["two"], "", "")
    (folder / "four.caption").write_text("Four.", encoding="utf-8")
    index.set_captions(known["four"], "", "Four.")
    assert index.tag_counts() == {"dog": 2, "100%": 1, "new": 1}
    assert index.captions_of([known["one"], known["two"], known["four"]]) == [
        Captions("dog, new", ""),
        Captions("", ""),
        Captions("", "Four."),
    ]
    columns = index.columns()
    assert columns.tokens.tolist() == [-1] * 4
    assert columns.flags[columns.rows_of(np.array([known["one"], known["two"], known["four"]]))].tolist() == [1, 0, 2]
    assert index.scan([folder]) == ScanResult(0, 0, 0, 1)


def test_what_was_learned_is_kept_until_the_picture_changes(index: Index, folder: Path) -> None:
    index.scan([folder])
    known = ids(index)
    index.learned([(known["one"], "ab" * 16, (1 << 63) + 5), (known["two"], "cd" * 16, None)])
    assert [p.content_hash for p in index.by_ids([known["one"], known["two"]])] == ["ab" * 16, "cd" * 16]
    index.learned([(known["one"], "ab" * 16, None)])
    columns = index.columns()
    assert int(columns.phash[columns.rows_of(np.array([known["one"]]))][0]) == (1 << 63) + 5
    save(folder / "cats" / "one.png", corners(9, 9))
    assert index.scan([folder]) == ScanResult(0, 1, 0, 1)
    assert index.by_ids([known["one"]])[0].content_hash == ""
    columns = index.columns()
    assert int(columns.phash[columns.rows_of(np.array([known["one"]]))][0]) == 0


def test_perceptual_hashes_are_found_for_those_without(index: Index, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    blots = [Image.fromarray(generator.integers(0, 255, (12, 16, 3), dtype=np.uint8)) for _ in range(3)]
    soft = Image.Resampling.BICUBIC
    save(tmp_path / "a.jpg", blots[0].resize((1280, 960), soft))
    save(tmp_path / "b.png", blots[1].resize((64, 48), soft))
    save(tmp_path / "c.jpg", blots[2].resize((400, 300), soft), orientation=6)
    data = bytearray((tmp_path / "b.png").read_bytes())
    data[100:140] = bytes(40)  # in the middle of its pixels, which no scan looks at
    (tmp_path / "d.png").write_bytes(data)
    index.scan([tmp_path])
    told: list[tuple[int, int]] = []
    index.find_phashes(lambda done, total: told.append((done, total)))
    assert told[-1] == (4, 4)
    assert [Path(picture.path).name for picture in index.broken()] == ["d.png"]
    columns = index.columns()
    for row, picture in enumerate(index.by_ids(columns.ids)):
        assert distance(int(columns.phash[row]), phash64(load(Path(picture.path)))) <= 4
    assert len(columns) == 3
    told.clear()
    index.find_phashes(lambda done, total: told.append((done, total)))
    assert told == []
