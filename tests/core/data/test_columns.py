"""Tests of core/data/columns.py: the index's numbers as arrays, mapped, made anew only after a change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xxhash

from core.data import columns as module
from core.data import index_schema
from core.data.columns import (
    CAPTION_PROBLEM,
    CONTENT_KNOWN,
    HAS_ALPHA,
    HAS_NATURAL,
    HAS_TAGS,
    PHASH_KNOWN,
    Columns,
)
from core.data.index import Index
from tests.core.data.samples import corners, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in folders whose order by path is not that of their names alone, and one broken picture."""
    root = tmp_path / "pictures"
    save(root / "z.png", corners(10, 20))
    save(root / "a.jpg", corners(64, 32), orientation=6)
    save(root / "m" / "b.png", corners(30, 40).convert("RGBA"))
    (root / "broken.png").write_text("words", encoding="utf-8")
    save(root / "m" / "deep" / "c.webp", corners(50, 60))
    save(root / "m-2" / "d.png", corners(70, 80))
    (root / "a.txt").write_text("one, two", encoding="utf-8")
    (root / "z.caption").write_bytes("Ein K\xe4fer.".encode("cp1252"))
    return root


def made(index: Index) -> Path:
    """The one folder of columns beside the index."""
    (found,) = (path for path in index.store.path.with_suffix(".columns").iterdir() if path.is_dir())
    return found


def assert_right(index: Index, columns: Columns) -> None:
    """Every column says of every picture what the index says of it."""
    assert columns.ids.tolist() == sorted(picture.id for picture in index.pictures())
    pictures = index.by_ids(columns.ids)
    assert [str(Path(p.path).parent) for p in pictures] == [columns.directories[k] for k in columns.directory]
    assert columns.sizes.tolist() == [[p.width, p.height] for p in pictures]
    assert [row.tobytes().hex() for row in columns.signature] == [p.signature for p in pictures]
    assert [row.tobytes().hex() for row in columns.content] == [p.content_hash or "0" * 32 for p in pictures]
    assert ((columns.flags & HAS_TAGS) > 0).tolist() == [bool(p.tags) for p in pictures]
    assert ((columns.flags & HAS_NATURAL) > 0).tolist() == [bool(p.natural) for p in pictures]
    assert ((columns.flags & CAPTION_PROBLEM) > 0).tolist() == [bool(p.caption_problem) for p in pictures]
    assert ((columns.flags & CONTENT_KNOWN) > 0).tolist() == [bool(p.content_hash) for p in pictures]
    assert columns.ids[columns.by_name].tolist() == [p.id for p in index.pictures()]
    assert columns.directories == sorted(columns.directories)
    types = (columns.ids, columns.sizes, columns.directory, columns.phash, columns.flags, columns.tokens)
    assert [str(array.dtype) for array in types] == ["int64", "int32", "int32", "uint64", "uint8", "int32"]


@pytest.mark.parametrize("place", [":memory:", "i.sqlite"])
@pytest.mark.parametrize("chunk", [2, 65_536])
def test_columns_are_the_index(
    tmp_path: Path, folder: Path, place: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    with Index(Path(place) if place == ":memory:" else tmp_path / place) as index:
        index.scan([folder])
        columns = index.columns()
        assert len(columns) == 5
        assert_right(index, columns)
        assert not (columns.flags & (CONTENT_KNOWN | PHASH_KNOWN)).any()
        assert columns.tokens.tolist() == [-1] * 5
        paths = [p.path for p in index.by_ids(columns.ids[columns.by_name])]
        assert [Path(path).name for path in paths] == ["a.jpg", "z.png", "b.png", "d.png", "c.webp"]
        alpha = columns.ids[(columns.flags & HAS_ALPHA) > 0]
        assert [Path(p.path).name for p in index.by_ids(alpha)] == ["b.png"]
        index.hash_missing()
        first, last = int(columns.ids[0]), int(columns.ids[-1])
        content = index.by_ids([first])[0].content_hash
        index.learned([(first, content, (1 << 64) - 5), (last, "0" * 31 + "1", None)])
        index.set_tokens([(last, 77)])
        after = index.columns()
        assert_right(index, after)
        assert int(after.phash[0]) == (1 << 64) - 5
        assert ((after.flags & PHASH_KNOWN) > 0).tolist() == [True, False, False, False, False]
        assert after.tokens.tolist() == [-1] * 4 + [77]


def test_the_content_is_the_hash_of_the_bytes(folder: Path) -> None:
    with Index(Path(":memory:")) as index:
        index.scan([folder])
        index.hash_missing()
        columns = index.columns()
        for row, picture in zip(columns.content, index.by_ids(columns.ids), strict=True):
            assert row.tobytes() == xxhash.xxh3_128_digest(Path(picture.path).read_bytes())


def test_they_are_mapped_and_made_only_after_a_change(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    real = module._write
    monkeypatch.setattr(module, "_write", lambda *given: (written.append(1), real(*given)))
    with Index(tmp_path / "i.sqlite") as index:
        index.scan([folder])
        columns = index.columns()
        assert isinstance(columns.ids, np.memmap)
        assert not columns.ids.flags.writeable
        assert index.columns() is columns
        before = made(index)
        with Index(tmp_path / "i.sqlite") as other:
            assert other.columns().ids.tolist() == columns.ids.tolist()
        index.scan([folder])
        assert index.columns() is columns
        assert len(written) == 1
        (folder / "z.png").unlink()
        index.scan([folder])
        assert len(index.columns()) == 4
        assert_right(index, index.columns())
        assert len(written) == 2
        assert made(index) != before  # the older ones are removed
        assert len(columns) == 5  # and whoever has them open still has them


def test_another_processes_change_is_seen(tmp_path: Path, folder: Path) -> None:
    with Index(tmp_path / "i.sqlite") as index, Index(tmp_path / "i.sqlite") as other:
        index.scan([folder])
        assert len(index.columns()) == 5
        (folder / "z.png").unlink()
        other.scan([folder])
        assert len(index.columns()) == 4


def test_an_index_made_anew_has_columns_of_its_own(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "i.sqlite"
    with Index(file) as index:
        index.scan([folder])
        index.columns()
    file.unlink()
    (folder / "z.png").unlink()
    with Index(file) as index:
        index.scan([folder])
        assert_right(index, index.columns())


def test_what_a_kill_left_is_cleared_away(tmp_path: Path, folder: Path) -> None:
    with Index(tmp_path / "i.sqlite") as index:
        index.scan([folder])
        leftover = tmp_path / "i.columns" / ".x.12345678.part"
        leftover.mkdir(parents=True)
        (leftover / "ids.npy").write_bytes(b"half")
        assert_right(index, index.columns())
        assert not leftover.exists()


def test_rows_are_found_by_their_ids(tmp_path: Path, folder: Path) -> None:
    with Index(Path(":memory:")) as index:
        empty = index.columns()
        assert len(empty) == len(empty.by_name) == 0
        assert empty.rows_of(np.array([1, 2])).tolist() == []
        index.scan([folder])
        columns = index.columns()
        gone = int(index.broken()[0].id)
        wanted = np.array([int(columns.ids[3]), gone, int(columns.ids[0]), 10_000])
        assert columns.rows_of(wanted).tolist() == [3, 0]


def test_small_changes_mend_what_is_there(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index(tmp_path / "i.sqlite") as index:
        index.scan([folder])
        before = index.columns()
        monkeypatch.setattr(module, "_write", None)
        first, last = int(before.ids[0]), int(before.ids[-1])
        index.learned([(last, "1" * 32, 7)])
        index.set_tokens([(first, 12)])
        index.set_captions(first, "new", "")
        assert_right(index, index.columns())
        index.set_tokens([(number, 3) for number in before.ids.tolist()])
        after = index.columns()
        assert_right(index, after)
        assert after.tokens.tolist() == [3] * 5
        assert (int(after.phash[-1]), int(before.phash[-1])) == (7, 0)


def test_many_small_changes_are_a_large_one(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_schema, "_MOST_CHANGES", 3)
    with Index(tmp_path / "i.sqlite") as index:
        index.scan([folder])
        ids = index.columns().ids.tolist()
        for tokens in range(1, 6):
            index.set_tokens([(number, tokens) for number in ids[:2]])
            assert index.columns().tokens.tolist() == [tokens, tokens, -1, -1, -1]
            logged = index.store.database.execute("SELECT count(*) FROM changes").fetchone()[0]
            assert logged <= 3
