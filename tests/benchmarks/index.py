"""The picture index: rates of a first and a second scan, memory, growth, and the columns of 12.4 million rows.

All pairs of a scan lie in one folder, and each scan has a process of its own. The million, for its memory, needs 9 GB
of disk for some minutes; BURNISH_BENCH_FOLDER=some/folder puts the files elsewhere.
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from core.data.index import Index
from tests.benchmarks.common import Figure, apart
from tests.fixtures.huge_index import fill

_PAIRS = 100_000
_FEW = 10_000
_MANY = 1_000_000
_ROWS = 12_400_000

_FIRST, _SECOND, _MEGABYTES = 12_000, 60_000, 300
#: Pixels of the pictures' sides. Small ones fill a block of the disk each, as large ones' heads do that a scan reads.
_SIDES, _SMALL_SIDES = (64, 200), (16, 64)


def run() -> dict[str, Figure]:
    """Scans of generated pairs in a temporary folder (warm disk), then columns of generated rows."""
    few, pairs, many = _scanned(_FEW), _scanned(_PAIRS), _scanned(_MANY, _SMALL_SIDES)
    first, second = _PAIRS / pairs["first"], _PAIRS / pairs["second"]
    longer, grown = pairs["first"] / few["first"], many["megabytes"] / pairs["megabytes"]
    figures = {
        "first scan": Figure(first, "pairs/s", f">= {_FIRST}", first >= _FIRST),
        "processor time of the first scan": Figure(pairs["processor"], "s", "-", True),
        "second scan": Figure(second, "pairs/s", f">= {_SECOND}", second >= _SECOND),
        **{
            f"memory at {count:,}": Figure(found["megabytes"], "MB", f"< {_MEGABYTES}", found["megabytes"] < _MEGABYTES)
            for count, found in ((_PAIRS, pairs), (_MANY, many))
        },
        "its growth": Figure(grown, "times", "<= 1.1", grown <= 1.1),
        "time for 10 times the pictures": Figure(longer, "times", "<= 11", longer <= 11),
    }
    with tempfile.TemporaryDirectory() as scratch:
        return figures | _columns(Path(scratch) / "index.sqlite")


def _columns(file: Path) -> dict[str, Figure]:
    fill(file, _ROWS)
    with Index(file) as index:
        began = time.perf_counter()
        index.columns()
        making = time.perf_counter() - began
    began = time.perf_counter()
    with Index(file) as index:
        assert len(index.columns()) == _ROWS
        mapping = time.perf_counter() - began
        index.set_tokens([(1, 20)])
        began = time.perf_counter()
        index.columns()
        patching = time.perf_counter() - began
    return {
        "columns of 12.4 million rows, mapped": Figure(mapping, "s", "< 1", mapping < 1),
        "columns made anew": Figure(making, "s", "-", True),
        "columns after a change of one picture": Figure(patching, "s", "-", True),
    }


def _scanned(count: int, sides: tuple[int, int] = _SIDES) -> dict[str, float]:
    """What the scans of so many pairs cost, in a process of its own; the pairs are made here, and gone after it."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BURNISH_BENCH_FOLDER")) as scratch:
        folder = Path(scratch) / "pairs"
        make_pairs(folder, count, sides)
        return apart(["-m", "tests.benchmarks.index", str(folder)], os.environ)


def measure(folder: Path) -> dict[str, float]:
    """Seconds of a first and a second scan, processor seconds of the first, and the most megabytes of all processes."""
    with Index(folder.with_suffix(".sqlite")) as index, _Peak() as peak:
        began, used = time.perf_counter(), sum(os.times()[:4])
        index.scan([folder])
        first, used = time.perf_counter() - began, sum(os.times()[:4]) - used
        began = time.perf_counter()
        index.scan([folder])
        second = time.perf_counter() - began
    return {"first": first, "second": second, "processor": used, "megabytes": peak.megabytes}


class _Peak:
    """The most memory that this process and its children had in a stretch of time; shared pages count once each."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.2):
            total = 0
            for process in (own, *own.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
            self.megabytes = max(self.megabytes, total / 1e6)


def make_pairs(folder: Path, pairs: int, sides: tuple[int, int] = _SIDES) -> None:
    """Pictures of a few kinds, told apart by their last bytes, each with tags of its own, all in one folder."""
    folder.mkdir(parents=True)
    chance = random.Random(0)
    files = _pictures(sides)
    for number in range(pairs):
        suffix, data = files[number % len(files)]
        tags = ", ".join(f"tag_{min(20_000, int(chance.paretovariate(0.5)))}" for _ in range(25))
        with (folder / f"{number:08}{suffix}").open("wb", 0) as file:
            file.write(data + number.to_bytes(4, "little"))
        with (folder / f"{number:08}.txt").open("wb", 0) as file:
            file.write(tags.encode())


def _pictures(sides: tuple[int, int]) -> list[tuple[str, bytes]]:
    generator = np.random.default_rng(0)
    files = []
    for number in range(24):
        width, height = (int(side) for side in generator.integers(*sides, 2))
        pixels = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        suffix = (".jpg", ".png", ".webp")[number % 3]
        file = io.BytesIO()
        Image.fromarray(pixels).resize((width, height)).save(file, {".jpg": "JPEG"}.get(suffix, suffix[1:].upper()))
        files.append((suffix, file.getvalue()))
    return files


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
