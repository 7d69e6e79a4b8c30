"""Tests of core/data/dataset.py: the index, the buckets and the split put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.buckets import fit
from core.data.captions import Captions
from core.data.dataset import build_dataset
from core.data.index import Index
from core.data.pictures import load, to_bucket
from core.data.split import split
from core.errors import UserError
from core.settings import Settings, default_settings
from tests.core.data.samples import corners, save


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = default_settings()
    made.data.folders = [str(tmp_path)]
    made.data.resolution, made.data.bucket_step = 128, 32
    made.data.min_side, made.data.max_side = 64, 256
    return made


def test_items_go_from_files_to_arrays(tmp_path: Path, settings: Settings) -> None:
    for number in range(12):
        save(tmp_path / f"{number:02}.png", corners(40 + 10 * number, 60), 6 if number % 2 else 0)
    (tmp_path / "03.txt").write_text("a, b", encoding="utf-8")
    (tmp_path / "broken.png").touch()
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path])
        data = build_dataset(settings, index)
    assert [Path(item.path).name for item in data.items] == [f"{n:02}.png" for n in range(12)]
    assert data.items[3].captions == Captions("a, b", "")
    for item in data.items:
        image = load(Path(item.path))
        assert item.fit == fit(image.size, settings.data, data.buckets)
        assert item.fit.bucket == data.buckets[item.bucket]
        assert to_bucket(image, item.fit).shape == (item.fit.bucket[1], item.fit.bucket[0], 3)
    expected = split([item.content_hash for item in data.items], settings.validation)
    assert data.split.validation.tolist() == expected.validation.tolist()
    assert len(data.split.validation) == 1
    assert all(len(item.content_hash) == 32 for item in data.items)


def test_only_broken_pictures_are_told_with_an_example(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.png").touch()
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path])
        with pytest.raises(UserError, match=r"None of the 1 pictures .*a\.png: the file is empty"):
            build_dataset(settings, index)


def test_an_index_that_was_never_scanned_is_told(settings: Settings) -> None:
    with Index(Path(":memory:")) as index, pytest.raises(UserError, match="no picture in"):
        build_dataset(settings, index)


def test_one_picture_is_trained_on(tmp_path: Path, settings: Settings) -> None:
    save(tmp_path / "a.png")
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path])
        parts = build_dataset(settings, index).split
    assert (parts.train.tolist(), parts.validation.tolist()) == ([0], [])
