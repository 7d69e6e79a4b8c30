"""Filters over columns, held against a plain loop; facts, hand-made lists and what stands beside a tag."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import learning
from core.data.columns import CAPTION_PROBLEM, HAS_ALPHA, HAS_NATURAL, HAS_TAGS, Columns
from core.data.duplicates import several
from core.data.index import Index
from core.data.picture_facts import by_hand, learn
from core.data.picture_filter import PARTS, Facts, PictureFilter, in_order, matching
from core.data.tag_table import together
from core.errors import Stopped
from core.settings import default_settings


@pytest.fixture
def columns() -> Columns:
    """Ten thousand pictures of all kinds; names go backwards."""
    chance = np.random.default_rng(0)
    count = 10_000
    flags = chance.integers(0, 16, count).astype(np.uint8)
    return Columns(
        ids=np.arange(count, dtype=np.int64) * 2 + 1,
        sizes=chance.integers(100, 1500, (count, 2)).astype(np.int32),
        directory=chance.integers(0, 3, count).astype(np.int32),
        directories=["/a/one", "/a/one/inner", "/a/one more"],
        signature=chance.integers(0, 9_000, (count, 2)).astype(np.uint64),
        content=np.zeros((count, 2), np.uint64),
        phash=np.zeros(count, np.uint64),
        flags=flags,
        tokens=chance.integers(-1, 200, count).astype(np.int32),
        by_name=np.arange(count, dtype=np.int32)[::-1].copy(),
    )


def _plain(columns: Columns, facts: Facts, wanted: PictureFilter, row: int) -> bool:
    """What the filter means, for one picture."""
    width, height = (int(side) for side in columns.sizes[row])
    side, flags = min(width, height), int(columns.flags[row])
    low, high = wanted.sides
    folder = f"{columns.directories[columns.directory[row]]}/"
    fit = facts.fits[row]
    cropped = 1 - fit.bucket[0] * fit.bucket[1] / (fit.resized[0] * fit.resized[1])
    part = list(PARTS)[facts.part[row]] if facts.part[row] >= 0 else ""
    tests = {
        "": True,
        "no caption": not flags & (HAS_TAGS | HAS_NATURAL),
        "odd caption": bool(flags & CAPTION_PROBLEM),
        "transparent": bool(flags & HAS_ALPHA),
        "truncated": columns.tokens[row] > facts.limit,
        "cropped": cropped > 0.01,
        "strongly cropped": cropped > 0.15,
        "enlarged": fit.resized[0] > width or fit.resized[1] > height,
        "duplicate": int((facts.groups == facts.groups[row]).sum()) > 1,
        "too small": side < facts.smallest,
    }
    return (
        side >= low
        and (not high or side <= high)
        and (wanted.bucket is None or fit.bucket == wanted.bucket)
        and (not wanted.folder or folder.startswith(wanted.folder.rstrip("/") + "/"))
        and (not wanted.part or part == wanted.part or (wanted.part == "train" and part == "probe"))
        and bool(tests[wanted.problem])
    )


@pytest.mark.parametrize(
    "wanted",
    [
        PictureFilter(),
        PictureFilter(sides=(300, 800)),
        PictureFilter(sides=(0, 255)),
        PictureFilter(bucket=(512, 512)),
        PictureFilter(bucket=(8, 8)),
        PictureFilter(folder="/a/one"),
        PictureFilter(folder="/a/one/inner/", sides=(512, 0)),
        *(PictureFilter(part=part) for part in PARTS),
        *(
            PictureFilter(problem=problem)
            for problem in (
                "no caption",
                "odd caption",
                "transparent",
                "truncated",
                "cropped",
                "strongly cropped",
                "enlarged",
                "duplicate",
            )
        ),
        PictureFilter(problem="too small", folder="/a/one more"),
    ],
)
def test_a_filter_shows_what_a_plain_loop_would(
    columns: Columns, wanted: PictureFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.data.picture_filter._CHUNK", 777)
    settings = default_settings()
    settings.data.smallest = 300
    facts = learn(columns, settings)
    mask = matching(columns, facts, wanted)
    rows = random.Random(1).sample(range(len(columns)), 400)
    assert [bool(mask[row]) for row in rows] == [_plain(columns, facts, wanted, row) for row in rows]
    ordered = in_order(columns, mask)
    assert ordered.tolist() == [row for row in columns.by_name.tolist() if mask[row]]


def test_a_filter_can_be_stopped(columns: Columns) -> None:
    with pytest.raises(Stopped):
        matching(columns, Facts(), PictureFilter(sides=(1, 0)), lambda: True)
    with pytest.raises(ValueError, match="not known"):
        matching(columns, Facts(), PictureFilter(bucket=(512, 512)))


def test_duplicates_are_those_that_share_a_group() -> None:
    assert several(np.array([0, 1, 1, 3, 0, 5], dtype=np.int32)).tolist() == [True, True, True, False, True, False]


def test_what_must_be_worked_out_first() -> None:
    assert not PictureFilter(text="x", tags=("y",), sides=(1, 2), folder="z", problem="no caption").needs_facts
    assert PictureFilter(bucket=(1, 1)).needs_facts and PictureFilter(problem="cropped").needs_facts


def test_what_a_hand_decides() -> None:
    assert by_hand(["a"], ["b", "c"], ["b", "d"], True) == (["a", "b", "d"], ["c"])
    assert by_hand(["a", "b"], [], ["b"], False) == (["a"], ["b"])
    assert by_hand(["a"], ["b"], ["a", "b", "c"], None) == ([], [])


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Eight pictures on the disk with tags."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64 + number, 64)).save(folder / f"{number}.png")
        tags = "wildcat" if number % 2 else "cat, wildcat"
        (folder / f"{number}.txt").write_text(f"{tags}, n{number % 3}", encoding="utf-8")
    (folder / "7.caption").write_text("a cat " * 60, encoding="utf-8")
    made = Index(tmp_path / "index.sqlite")
    made.scan([folder])
    return made


def test_what_stands_beside_a_tag(index: Index) -> None:
    found = together(index, "cat", lambda: False)
    assert (found.pictures, found.looked_at) == (4, 4)
    assert found.counts == {"wildcat": 4, "n0": 2, "n1": 1, "n2": 1}
    sample = together(index, "wildcat", lambda: False, most=4)
    assert (sample.pictures, sample.looked_at) == (8, 4)
    assert sum(sample.counts[name] for name in ("n0", "n1", "n2")) == 4
    with pytest.raises(Stopped):
        together(index, "cat", lambda: True)


def test_tokens_are_counted_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    learning.count_tokens(index, default_settings(), lambda *at: told.append(at))
    tokens = index.columns().tokens
    assert told == [(8, 8)] and tokens[7] == 120 and 0 < tokens[0] < 10
    learning.count_tokens(index, default_settings(), lambda *at: told.append(at))
    assert told == [(8, 8)]
    mask = matching(index.columns(), Facts(limit=75), PictureFilter(problem="truncated"))
    assert mask.tolist() == [False] * 7 + [True]
    index.close()


def test_near_duplicates_are_found_after_a_close_look(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "0 again.png").write_bytes((folder / "0.png").read_bytes() + b"more")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    index.scan([folder])
    learning.look_closely(index, default_settings())
    columns = index.columns()
    paths = [Path(one.path).name for one in index.by_ids(columns.ids.tolist())]
    facts = learn(columns, default_settings())
    rows = [paths.index("0.png"), paths.index("0 again.png")]
    assert facts.groups[rows[0]] == facts.groups[rows[1]]
    assert all(index.by_ids(columns.ids.tolist())[row].content_hash for row in rows)
    index.close()
