"""Tests of core/data/applied.py: the report and the filters have the settings applied once, and never an old state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import applied as module
from core.data.applied import Applied
from core.data.index import Index
from core.data.picture_facts import learn
from core.data.report import make_report
from core.settings import Settings, default_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = default_settings()
    made.data.folders = [str(tmp_path / "pictures")]
    return made


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (64 + 8 * number, 64)).save(folder / f"{number}.png")
    with Index(tmp_path / "index.sqlite") as opened:
        opened.scan([folder])
        yield opened


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each time that the settings are applied."""
    found: list[int] = []
    real = module.assign
    monkeypatch.setattr(module, "assign", lambda *given: (found.append(1), real(*given))[1])
    return found


@pytest.mark.parametrize("report_first", [True, False])
def test_once_for_both(index: Index, settings: Settings, times: list[int], report_first: bool, tmp_path: Path) -> None:
    applied = Applied()
    with Index(tmp_path / "index.sqlite") as other:  # each thread of the window has its own
        if report_first:
            report = make_report(index, settings, applied=applied)
        facts = learn(other.columns(), settings.model_copy(deep=True), applied)
        if not report_first:
            report = make_report(index, settings, applied=applied)
    assert len(times) == 1 and applied._kept is None  # and nothing stays in memory
    assert report == make_report(index, settings)
    alone = learn(index.columns(), settings)
    assert np.array_equal(facts.part, alone.part) and np.array_equal(facts.fits.bucket, alone.fits.bucket)


def test_the_same_asker_may_ask_again(index: Index, settings: Settings, times: list[int]) -> None:
    applied = Applied()
    first, again = (make_report(index, settings, applied=applied) for _ in range(2))
    assert first == again and len(times) == 1


@pytest.mark.parametrize(
    "page, field, value",
    [("data", "resolution", 128), ("validation", "share", 0.5), ("training", "batch_size", 5)],
)
def test_other_settings_are_applied(
    index: Index, settings: Settings, times: list[int], page: str, field: str, value: float
) -> None:
    applied = Applied()
    learn(index.columns(), settings, applied)
    changed = settings.model_copy(deep=True)
    setattr(getattr(changed, page), field, value)
    assert make_report(index, changed, applied=applied) == make_report(index, changed)
    assert len(times) == 3


def test_other_pictures_are_looked_at(index: Index, settings: Settings, times: list[int], tmp_path: Path) -> None:
    applied = Applied()
    learn(index.columns(), settings, applied)
    (tmp_path / "pictures" / "3.png").unlink()
    index.scan([tmp_path / "pictures"])
    assert make_report(index, settings, applied=applied).images == 11 and len(times) == 2


def test_columns_in_memory_are_never_taken_for_others(settings: Settings, tmp_path: Path, times: list[int]) -> None:
    applied = Applied()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        Image.new("RGB", (64, 64 + number)).save(folder / "0.png")
        with Index(Path(":memory:")) as opened:
            opened.scan([folder])
            learn(opened.columns(), settings, applied)
    assert len(times) == 2 and applied._kept is None
