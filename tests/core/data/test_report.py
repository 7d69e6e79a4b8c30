"""Tests of core/data/report.py: the numbers are those that training will have."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.data.buckets import fit_many
from core.data.index import Picture
from core.data.order import Order
from core.data.report import count_tags, make_report
from core.data.split import split
from core.settings import Settings, default_settings


def picture(number: int, width: int, height: int, **changes: str) -> Picture:
    values = {
        "tags": "a",
        "natural": "",
        "caption_problem": "",
        "reason": "",
        "content_hash": f"{number:032x}",
    }
    return Picture(number, f"/p/{number:03}.png", width, height, **{**values, **changes})


@pytest.fixture
def settings() -> Settings:
    made = default_settings()
    made.data.resolution = 1024
    made.training.batch_size = 3
    made.training.accumulation = 2
    made.hardware.processes = 2
    return made


def test_the_keys_that_scripts_rely_on(settings: Settings) -> None:
    broken = [picture(9, 0, 0, reason="the file is empty")]
    report = make_report([picture(1, 1024, 1024), picture(2, 2048, 1024)], broken, settings).to_json()
    assert json.loads(json.dumps(report)) == report
    assert report["images"] == 2
    assert report["broken"] == [{"path": "/p/009.png", "reason": "the file is empty"}]
    assert report["buckets"] == [
        {"width": 1024, "height": 512, "count": 1},
        {"width": 1024, "height": 1024, "count": 1},
    ]
    assert {"captioned", "mean_ar_error", "steps_per_epoch"} < report.keys()


def test_cropping_and_enlarging(settings: Settings) -> None:
    settings.data.min_side = settings.data.max_side = 1024
    pictures = [picture(1, 1024, 1024), picture(2, 2048, 1024), picture(3, 500, 1000)]
    report = make_report(pictures, [], settings)
    assert report.mean_ar_error == pytest.approx((0 + 1 + 0.5) / 3)
    assert report.cropped_share == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert {entry["path"] for entry in report.most_cropped} == {"/p/002.png", "/p/003.png"}
    assert report.upscaled == 1


def test_the_ten_most_cropped_worst_first(settings: Settings) -> None:
    settings.data.min_side = settings.data.max_side = 1024
    report = make_report([picture(n, 1024 + 10 * n, 1024) for n in range(30)], [], settings)
    assert [entry["path"] for entry in report.most_cropped] == [f"/p/{n:03}.png" for n in range(29, 19, -1)]
    shares = [entry["share"] for entry in report.most_cropped]
    assert shares == sorted(shares, reverse=True)


def test_captions(settings: Settings) -> None:
    pictures = [
        picture(1, 64, 64, tags="b, a", caption_problem="x.txt is not UTF-8."),
        picture(2, 64, 64, tags="a, c\na, d"),
        picture(3, 64, 64, tags="", natural="A sentence."),
        picture(4, 64, 64, tags=""),
    ]
    report = make_report(pictures, [], settings)
    assert (report.captioned, report.without_caption) == (3, 1)
    assert report.caption_problems == [{"path": "/p/001.png", "problem": "x.txt is not UTF-8."}]
    assert list(report.tags.items()) == [("a", 2), ("b", 1), ("c", 1), ("d", 1)]


def test_only_the_most_frequent_tags() -> None:
    assert list(count_tags((f"t{n % 7}, t{n % 3}" for n in range(100)), top=2)) == ["t0", "t1"]


def test_steps_are_those_of_the_order_of_the_training_part(settings: Settings) -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(300, 2000, (200, 2))
    pictures = [picture(n, int(w), int(h)) for n, (w, h) in enumerate(sizes)]
    report = make_report(pictures, [], settings)
    parts = split([one.content_hash for one in pictures], settings.validation)
    order = Order(fit_many(sizes, settings.data).bucket[parts.train], 6, 0)
    assert (report.train, report.validation) == (184, 16)
    assert report.steps_per_epoch == -(-order.batches_per_epoch // 2)


def test_without_hashes_the_held_out_part_has_the_same_size(settings: Settings) -> None:
    hashed = make_report([picture(n, 512, 512) for n in range(50)], [], settings)
    plain = make_report([picture(n, 512, 512, content_hash="") for n in range(50)], [], settings)
    assert (plain.validation, plain.train) == (hashed.validation, hashed.train) == (5, 45)


def test_no_pictures(settings: Settings) -> None:
    report = make_report([], [], settings)
    assert (report.images, report.steps_per_epoch, report.mean_ar_error, report.buckets) == (0, 0, 0.0, [])
