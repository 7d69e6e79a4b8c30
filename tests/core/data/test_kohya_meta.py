"""Tests of core/data/kohya_meta.py: kohya's metadata read and written as streams, errors by byte and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.kohya_meta import Entry, read, write
from core.errors import UserError

#: What finetune/prepare_buckets_latents.py leaves (json.dump with indent=2, sizes from tuples).
META_LAT = {
    "0001": {"caption": "a house", "tags": "house, tree", "train_resolution": (512, 448)},
    "/data/\u00e4/0002.jpg": {"tags": "one_girl", "image_size": (700, 500), "train_resolution": (576, 384)},
    "0003": {"caption": ["first", "second"], "tags": ["a", "b"], "more": {"x": [1]}},
    "0004": {"caption": None, "image_size": [0, 5]},
    "0005": {},
}


def test_meta_lat_is_read(tmp_path: Path) -> None:
    (tmp_path / "meta_lat.json").write_text(json.dumps(META_LAT, indent=2), encoding="utf-8")
    assert list(read(tmp_path / "meta_lat.json")) == [
        Entry("0001", "a house", "house, tree", None, (512, 448)),
        Entry("/data/\u00e4/0002.jpg", "", "one_girl", (700, 500), (576, 384)),
        Entry("0003", "first\nsecond", "a, b"),
        Entry("0004"),
        Entry("0005"),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.NDJSON", "a.json"])
def test_lines_and_lists_name_the_picture_in_one_of_several_ways(tmp_path: Path, name: str) -> None:
    rows: list[dict[str, Any]] = [
        {"image_path": "/a/1.jpg", "caption": "one", "tags": "x", "image_size": [3, 4]},
        {"file_name": "2.jpg", "text": "two\r\n\r\n  three "},
    ]
    text = json.dumps(rows) if name == "a.json" else "\ufeff" + "\n\n".join(json.dumps(row) for row in rows)
    (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
    assert list(read(tmp_path / name)) == [
        Entry("/a/1.jpg", "one", "x", (3, 4)),
        Entry("2.jpg", "two\nthree"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"1": {"caption": "x"}, "2": {"caption": oops}}', "byte 41"),
        ("a.json", '{"1": {"caption": "x"}, "2": {"capt', "ends too early"),
        ("a.json", "", "ends too early|no object"),
        ("a.json", '{"filesize": 5, "files": {}}', r"entry 1 \('filesize'\) is no object"),
        (
            "a.json",
            '{"1": {"caption": "x"}, "2": {"tags": 5}}',
            r"entry 2 \('2'\) has a caption or tags that are no text",
        ),
        ("a.json", '[{"caption": "x"}]', "entry 1 names no picture"),
        ("a.jsonl", '{"image_path": "1", "caption": "x"}\n{"image_path": "2", "cap', "line 2 is no JSON"),
        ("a.jsonl", '\n{"caption": "x"}\n', "line 2 names no picture"),
        ("a.jsonl", "[1]\n", "line 1 is no object"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_damage_is_told_with_its_place(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words) as raised:
        list(read(tmp_path / name))
    assert str(tmp_path / name) in str(raised.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(read(tmp_path / "none.json"))


_TEXT = st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs", "Zs"]), max_size=20)
_SIZE = st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999))
_ENTRIES = st.lists(st.builds(Entry, _TEXT.filter(bool), _TEXT, _TEXT, _SIZE, _SIZE), unique_by=lambda row: row.key)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@given(rows=_ENTRIES)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[Entry]) -> None:
    path = tmp_path_factory.mktemp("meta") / name
    assert write(path, rows) == len(rows)
    assert list(read(path)) == rows
    text = path.read_text("utf-8")
    if name == "a.json":  # as kohya's scripts read it
        assert {key: value.get("tags", "") for key, value in json.loads(text).items()} == {r.key: r.tags for r in rows}
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["image_path"] for line in lines] == [row.key for row in rows]


def test_an_older_file_stays_unless_told_and_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(UserError, match="exists already"):
        write(path, [Entry("1")])

    def failing() -> Any:
        yield Entry("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, failing(), overwrite=True)
    assert path.read_text("utf-8") == "precious"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    write(path, [Entry("1", "x")], overwrite=True)
    assert list(read(path)) == [Entry("1", "x")]
