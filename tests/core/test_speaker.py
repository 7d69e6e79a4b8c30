"""Tests of core/speaker.py on a disk that really runs full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import events as ev
from core.run_data import read_run
from core.runs import Run
from core.speaker import RESERVE_BYTES, Speaker
from tests.fixtures.small_disk import SmallDisk, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", 400) as found:
        yield found


def test_a_full_disk_is_told_and_no_event_is_lost(disk: SmallDisk) -> None:
    run = Run(disk.path)
    speaker = Speaker(run, patient=True)
    filler = disk.fill()
    count = 0
    while not speaker.unwritten():
        count += 1
        speaker.write(ev.Message(text=f"{count} {'x' * 500}"))
    speaker.write(ev.Paused(step=7))
    told = read_run(run.events_path)
    assert told.paused and len(told.messages) == count, "the reserve was not given up for the last words"
    for number in range(count + 1, count + 300):
        speaker.write(ev.Message(text=f"{number} {'x' * 500}"))
    speaker.write(
        ev.Telemetry(step=7, seconds=1, gpus=[], cpu_percent=0, ram_bytes=0, ram_total_bytes=0, worker_bytes=0)
    )
    assert speaker.unwritten() and len(read_run(run.events_path).messages) < count + 299
    filler.unlink()
    assert not speaker.unwritten()
    assert (disk.path / ".reserve.part").stat().st_size == RESERVE_BYTES
    found = read_run(run.events_path)
    assert [int(message.text.split()[0]) for message in found.messages] == list(range(1, count + 300))
    assert found.telemetry is None
    speaker.close()
    assert [path.name for path in disk.path.iterdir()] == ["events.jsonl"]


def test_without_patience_a_full_disk_is_an_error(disk: SmallDisk) -> None:
    speaker = Speaker(Run(disk.path))
    filler = disk.fill()
    with pytest.raises(OSError, match="No space left"):
        while True:
            speaker.write(ev.Message(text="x" * 500))
    filler.unlink()
    speaker.write(ev.Ended(state="failed", text="why"))
    speaker.close()
    ended = read_run(disk.path / "events.jsonl").ended
    assert ended is not None and ended.text == "why"
