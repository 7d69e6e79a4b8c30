"""Tests of core/data/report.py: the numbers are those that training will have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.assignment import assign
from core.data.buckets import plan_fits
from core.data.index import Index
from core.data.report import Report, make_report
from core.errors import Stopped
from core.settings import Settings, default_settings
from core.settings.folder_rules import FolderRules


@pytest.fixture
def settings() -> Settings:
    made = default_settings()
    made.data.resolution = 1024
    made.training.batch_size = 3
    made.training.accumulation = 2
    made.hardware.processes = 2
    return made


def picture(folder: Path, number: int, width: int, height: int, tags: str = "a") -> Path:
    """A small file of any size; the number makes its content."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:03}.png"
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[0, : min(width, 16)] = [255 * (number >> bit & 1) for bit in range(16)][: min(width, 16)]
    Image.fromarray(pixels).convert("1").save(path)
    if tags:
        path.with_suffix(".txt").write_text(tags)
    return path


def report_of(index: Index, folder: Path, settings: Settings) -> Report:
    index.scan([folder])
    return make_report(index, settings)


def test_the_keys_that_scripts_rely_on(index: Index, tmp_path: Path, settings: Settings) -> None:
    picture(tmp_path, 1, 1024, 1024)
    picture(tmp_path, 2, 2048, 1024)
    (tmp_path / "009.png").write_bytes(b"")
    report = report_of(index, tmp_path, settings).to_json()
    assert json.loads(json.dumps(report)) == report
    assert report["images"] == 2
    assert [(Path(one["path"]).name, bool(one["reason"])) for one in report["broken"]] == [("009.png", True)]
    assert sum(bucket["count"] for bucket in report["buckets"]) == 2
    assert {"width", "height", "count", "uses"} == set(report["buckets"][0])
    assert {"captioned", "mean_ar_error", "steps_per_epoch"} < report.keys()
    assert report["dropped"] == [{"what": "broken files", "count": 1}]


@pytest.mark.parametrize("plan", ["kohya", "least-crop"])
def test_cropping_and_enlarging(index: Index, tmp_path: Path, settings: Settings, plan: str) -> None:
    settings.data.buckets = plan  # type: ignore[assignment]
    settings.data.min_side = settings.data.max_side = 1024
    for number, size in enumerate([(1024, 1024), (2048, 1024), (500, 1000)]):
        picture(tmp_path, number, *size)
    report = report_of(index, tmp_path, settings)
    assert report.plan == plan
    assert report.mean_ar_error == pytest.approx((0 + 1 + 0.5) / 3)
    assert report.cropped_share == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert {Path(entry["path"]).name for entry in report.most_cropped} == {"001.png", "002.png"}
    assert (report.cropped, report.upscaled) == (2, 1)


def test_the_ten_most_cropped_worst_first(index: Index, tmp_path: Path, settings: Settings) -> None:
    settings.data.min_side = settings.data.max_side = 1024
    for number in range(30):
        picture(tmp_path, number, 1024 + 10 * number, 1024)
    report = report_of(index, tmp_path, settings)
    assert [Path(entry["path"]).name for entry in report.most_cropped] == [f"{n:03}.png" for n in range(29, 19, -1)]
    shares = [entry["share"] for entry in report.most_cropped]
    assert shares == sorted(shares, reverse=True)


def test_captions(index: Index, tmp_path: Path, settings: Settings) -> None:
    for number, tags in enumerate(["b, a", "a, c\na, d", "", ""], start=1):
        picture(tmp_path, number, 64, 64, tags)
    (tmp_path / "001.txt").write_bytes("b, ä, a".encode("latin-1"))
    (tmp_path / "003.caption").write_text("A sentence.")
    report = report_of(index, tmp_path, settings)
    assert (report.captioned, report.without_caption) == (3, 1)
    assert [Path(one["path"]).name for one in report.caption_problems] == ["001.png"]
    assert report.caption_problem_count == 1 and "UTF-8" in report.caption_problems[0]["problem"]
    assert list(report.tags.items()) == [("a", 2), ("b", 1), ("c", 1), ("d", 1), ("ä", 1)]


def test_long_captions_are_told_once_they_are_counted(index: Index, tmp_path: Path, settings: Settings) -> None:
    for number in range(5):
        picture(tmp_path, number, 64, 64)
    picture(tmp_path, 5, 64, 64, "")
    before = report_of(index, tmp_path, settings)
    assert (before.truncated, before.uncounted, before.token_limit) == (0, 5, 75)
    assert before.tokens == "not counted yet: 5 of 5"
    ids = index.columns().ids.tolist()
    index.set_tokens(zip(ids, [75, 76, 3, 200, 10, 0], strict=True))
    after = make_report(index, settings)
    assert (after.truncated, after.uncounted, after.tokens) == (2, 0, "counted")
    assert [(Path(one["path"]).name, one["tokens"]) for one in after.longest] == [("003.png", 200), ("001.png", 76)]
    settings.data.max_tokens = "150"
    assert make_report(index, settings).truncated == 1


def test_duplicates_exact_and_near(index: Index, tmp_path: Path, settings: Settings) -> None:
    for number in range(6):
        picture(tmp_path, number, 64, 64)
    picture(tmp_path / "b", 0, 64, 64)
    report = report_of(index, tmp_path, settings)
    assert (report.duplicates, report.near_duplicates, report.unseen) == (1, 0, 7)
    ids = index.columns().ids.tolist()
    index.learned((number, f"{number:032x}", 0b1111 if place in (2, 4) else 1 << (9 + 6 * place)) for place, number in
                  enumerate(ids))  # fmt: skip
    settings.data.near_duplicates = 0
    report = make_report(index, settings)
    assert (report.duplicates, report.near_duplicates, report.unseen) == (1, 1, 0)
    names = [sorted(str(Path(path).relative_to(tmp_path)) for path in one["paths"]) for one in report.duplicate_groups]
    assert sorted(names) == [["000.png", "b/000.png"], ["002.png", "004.png"]]
    assert [one["count"] for one in report.duplicate_groups] == [2, 2]


def test_steps_are_those_of_the_batches_of_the_training_part(index: Index, tmp_path: Path, settings: Settings) -> None:
    generator = np.random.default_rng(0)
    for number, (width, height) in enumerate(generator.integers(500, 900, (120, 2)).tolist()):
        picture(tmp_path, number, width, height)
    report = report_of(index, tmp_path, settings)
    assert (report.train, report.validation) == (108, 12)
    assert (report.uses_per_epoch, report.batches_per_epoch, report.short_batches) == (108, 18, 0)
    assert report.steps_per_epoch == 9
    assert sum(bucket["uses"] for bucket in report.buckets) == 108
    assert [report.batches_of(batch) for batch in (6, 1)] == [18, 108]
    settings.data.buckets = "kohya"
    kohya = make_report(index, settings)
    given = assign(index.columns(), settings)
    counts = np.bincount(plan_fits(index.columns(), settings).bucket[given.parts.train])
    assert kohya.batches_per_epoch == kohya.batches_of(6) == (-(-counts // 6)).sum() > 18
    assert kohya.short_batches == (counts % 6 > 0).sum()


def test_what_is_dropped_is_said(index: Index, tmp_path: Path, settings: Settings) -> None:
    for number in range(10):
        picture(tmp_path / "used", number, 600, 600)
        picture(tmp_path / "off", 20 + number, 600, 600)
    picture(tmp_path / "used", 30, 3000, 40)
    assert report_of(index, tmp_path, settings).dropped == []
    settings.data.smallest = 64
    settings.data.folder_rules = [FolderRules(path=str(tmp_path / "off"), repeats=0)]
    report = make_report(index, settings)
    assert [(one["count"], one["what"].split("(")[1]) for one in report.dropped] == [
        (1, "data.smallest)"),
        (10, "data.folder_rules)"),
    ]
    assert (report.train, report.validation) == (9, 1)
    assert sum(bucket["count"] for bucket in report.buckets) == 10


def test_folders_with_rules(index: Index, tmp_path: Path, settings: Settings) -> None:
    for number in range(12):
        picture(tmp_path / "a", number, 600, 600)
        picture(tmp_path / "b", 20 + number, 600, 600)
        picture(tmp_path / "c", 40 + number, 600, 600)
    settings.data.folder_rules = [
        FolderRules(path=str(tmp_path / "b"), repeats=2.5, role="regularisation"),
        FolderRules(path=str(tmp_path / "c"), role="validation"),
    ]
    report = report_of(index, tmp_path, settings)
    assert report.folders == [
        {"path": "", "role": "by chance", "pictures": 12, "train": 12, "validation": 0, "uses": 12},
        {"path": str(tmp_path / "b"), "role": "regularisation", "pictures": 12, "train": 12, "validation": 0,
         "uses": 30},
        {"path": str(tmp_path / "c"), "role": "validation", "pictures": 12, "train": 0, "validation": 12, "uses": 0},
    ]  # fmt: skip
    assert report.uses_per_epoch == 42


def test_it_can_be_stopped(index: Index, tmp_path: Path, settings: Settings) -> None:
    picture(tmp_path, 1, 64, 64)
    index.scan([tmp_path])

    def stop(done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        make_report(index, settings, stop)


def test_no_pictures(index: Index, settings: Settings) -> None:
    report = make_report(index, settings)
    assert (report.images, report.steps_per_epoch, report.mean_ar_error, report.buckets) == (0, 0, 0.0, [])
