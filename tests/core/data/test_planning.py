"""Tests of core/data/planning.py and dataset.py: the plan holds what was decided, in order, and is found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.data.assignment import assign
from core.data.buckets import Fit
from core.data.captions import Captions
from core.data.dataset import Dataset
from core.data.index import Index
from core.data.pictures import load, to_bucket
from core.data.planning import make_plan, open_dataset, plan_name
from core.errors import UserError
from core.settings import Settings, default_settings
from core.settings.folder_rules import FolderRules
from tests.core.data.samples import corners, save


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = default_settings()
    made.data.folders = [str(tmp_path / "pictures")]
    made.data.resolution, made.data.bucket_step = 128, 32
    made.data.min_side, made.data.max_side = 64, 256
    made.training.batch_size = 2
    return made


@pytest.fixture
def index(tmp_path: Path) -> Index:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(14):
        save(folder / f"{number:02}.png", corners(40 + 10 * number, 60), 6 if number % 2 else 0)
    (folder / "03.txt").write_text("a, b", encoding="utf-8")
    (folder / "broken.png").touch()
    found = Index(tmp_path / "index.sqlite")
    found.scan([folder])
    found.hash_missing()
    return found


def test_rows_go_from_files_to_pixels(tmp_path: Path, settings: Settings, index: Index) -> None:
    data = open_dataset(settings, index, tmp_path / "plans")
    plan = data.plan
    assert len(plan) == 14 and plan.trained == 13 and plan.validation.tolist() == [13] and len(plan.probe) == 1
    items = data.items(np.arange(14))
    assert sorted(Path(item.path).name for item in items) == [f"{n:02}.png" for n in range(14)]
    for item in items:
        image = load(Path(item.path))
        assert image.size == item.size
        pixels = to_bucket(image, item.fit)
        assert pixels.shape == (item.fit.bucket[1], item.fit.bucket[0], 3)
        assert item.fit.bucket == plan.buckets[plan.bucket[item.row]]
        decoded = data.decode(item.row, item.path)
        assert decoded.content_hash == item.content_hash == plan.content_hash(item.row)
        assert decoded.pixels is not None and np.array_equal(decoded.pixels, pixels)
        assert decoded.phash is not None
    captions = {Path(item.path).stem: item.captions for item in items}
    assert captions["03"] == Captions("a, b", "") and captions["04"] == Captions("", "")


def test_the_plan_is_what_was_assigned_sorted_for_training(settings: Settings, index: Index) -> None:
    columns = index.columns()
    given, plan = assign(columns, settings), make_plan(settings, columns)
    row = {number: place for place, number in enumerate(columns.ids.tolist())}
    rows = [row[number] for number in plan.ids.tolist()]
    assert sorted(rows[: plan.trained]) == given.parts.train.tolist()
    assert rows[plan.trained :] == given.parts.validation.tolist()
    assert [rows[place] for place in plan.probe] == given.parts.probe.tolist()
    for place, number in enumerate(rows):
        expected = given.fits[number]
        assert plan.fit(place) == Fit(
            expected.bucket, expected.resized, expected.crop, pytest.approx(expected.ar_error)
        )
    trained = plan.bucket[: plan.trained].tolist()
    assert trained == sorted(trained)
    assert sum(group.uses for group in plan.groups) == plan.trained
    for group in plan.groups:
        assert set(trained[group.start : group.start + group.count]) == {group.bucket}


def test_a_plan_is_made_once_and_anew_for_what_changes_it(
    tmp_path: Path, settings: Settings, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(*arguments: object) -> object:
        made.append(1)
        return make_plan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("core.data.planning.make_plan", counted)

    def opened() -> Dataset:
        return open_dataset(settings, index, tmp_path / "plans")

    first = opened()
    assert opened().plan.fingerprint() == first.plan.fingerprint() and len(made) == 1
    settings.training.learning_rate = 0.5
    opened()
    assert len(made) == 1
    names = {plan_name(settings, index)}
    settings.training.batch_size = 4
    names.add(plan_name(settings, index))
    settings.validation.seed = 3
    names.add(plan_name(settings, index))
    save(tmp_path / "pictures" / "new.png", corners(99, 77))
    index.scan([tmp_path / "pictures"])
    names.add(plan_name(settings, index))
    assert len(names) == 4
    assert len(opened().plan) == 15 and len(made) == 2


def test_the_order_does_not_depend_on_names_and_places(tmp_path: Path, settings: Settings, index: Index) -> None:
    before = [make_plan(settings, index.columns()).content_hash(row) for row in range(14)]
    other = tmp_path / "elsewhere"
    other.mkdir()
    for path in (tmp_path / "pictures").glob("*.png"):
        (other / f"x{99 - int(path.stem) if path.stem.isdigit() else 0}.png").write_bytes(path.read_bytes())
    with Index(tmp_path / "other.sqlite") as moved:
        moved.scan([other])
        moved.hash_missing()
        assert [make_plan(settings, moved.columns()).content_hash(row) for row in range(14)] == before


def test_rules_of_folders_reach_the_plan_and_the_page(tmp_path: Path, settings: Settings, index: Index) -> None:
    rule = FolderRules(path=str(tmp_path / "pictures"), repeats=3, trigger="zwx", flip="yes", captions="tags")
    settings.data.folder_rules = [rule]
    data = open_dataset(settings, index, tmp_path / "plans")
    assert sum(group.uses for group in data.plan.groups) == 3 * data.plan.trained
    page = data.page(0)
    assert (page.trigger, page.flip, page.captions) == ("zwx", True, "tags")
    assert data.sides(0) == (False, True) and data.mirrored(np.arange(len(data))).all()
    assert settings.data.trigger == ""


def test_only_broken_pictures_are_told_with_an_example(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    with Index(tmp_path / "index.sqlite") as index:
        index.scan([tmp_path / "pictures"])
        with pytest.raises(UserError, match=r"None of the pictures .*a\.png: the file is empty"):
            open_dataset(settings, index, tmp_path / "plans")


def test_an_index_that_was_never_scanned_is_told(tmp_path: Path, settings: Settings) -> None:
    with Index(tmp_path / "i.sqlite") as index, pytest.raises(UserError, match="no picture in"):
        open_dataset(settings, index, tmp_path / "plans")


def test_settings_that_leave_nothing_to_train_on_are_told(tmp_path: Path, settings: Settings, index: Index) -> None:
    settings.data.smallest = 4000
    with pytest.raises(UserError, match=r"data\.smallest"):
        open_dataset(settings, index, tmp_path / "plans")
