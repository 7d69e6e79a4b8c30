"""Tests of core/worker.py's reading of the sensors: a run's own GPUs, its energy, and an end with its owner."""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core import events as ev
from core.runs import Run
from core.speaker import Speaker
from core.telemetry import MachineReading, Sensors
from core.worker import _Watch
from tests.fixtures.fake_cards import FakeCards
from tests.fixtures.processes import child
from tests.fixtures.run_folders import new_run, telemetry, write_events


def watched(run: Run, device: str = "cuda") -> list[ev.Telemetry]:
    """The readings of a run that ended at once."""
    session = SimpleNamespace(
        settings=run.settings(), accelerator=SimpleNamespace(device=SimpleNamespace(type=device)), step=7, seconds=3.0
    )
    writer = Speaker(run)
    _Watch(run, session, writer).stop()
    writer.close()
    found = [event for event in ev.Follower(run.events_path).read() if isinstance(event, ev.Telemetry)]
    assert session.kwh == found[-1].kwh
    return found


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeCards:
    fake = FakeCards(4, limit=250_000)
    monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.mark.parametrize(
    ("visible", "processes", "device", "wanted"),
    [
        (None, None, "cuda", [0]),
        ("2,1", None, "cuda", [2]),
        ("GPU-3-fake,1", "2", "cuda", [1, 3]),
        (None, "2", "cuda", [0, 1]),
        ("2", None, "cpu", []),
    ],
)
def test_only_the_gpus_that_the_run_works_on(
    visible: str | None,
    processes: str | None,
    device: str,
    wanted: list[int],
    driver: FakeCards,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("LOCAL_WORLD_SIZE", processes)):
        if value is not None:
            monkeypatch.setenv(name, value)
    last = watched(new_run(tmp_path / "run"), device)[-1]
    assert [gpu.index for gpu in last.gpus] == wanted
    assert all((gpu.watts, gpu.limit_watts, gpu.default_limit_watts) == (245, 250, 350) for gpu in last.gpus)
    assert last.energy_source == ("power" if wanted else "none") and (last.kwh > 0) == bool(wanted)


def test_energy_goes_on_from_the_run_s_earlier_parts(driver: FakeCards, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", hardware__co2_per_kwh=400, hardware__price_per_kwh=0.5, hardware__currency="CHF")
    write_events(run, [telemetry(5, 2.0)])
    first, *_, last = watched(run)[1:]
    assert first.kwh == 2.0 <= last.kwh < 2.01 and last.step == 7
    assert (last.co2_grams, last.cost) == pytest.approx((400 * last.kwh, 0.5 * last.kwh)) and last.currency == "CHF"


_OWNED = """
import sys, time
from pathlib import Path
from tests.core.test_watch import watched_for_ever
watched_for_ever(Path(sys.argv[1]))
"""


def watched_for_ever(path: Path) -> None:
    """A worker that would never end by itself."""
    run = Run(path)
    session: Any = SimpleNamespace(
        settings=run.settings(), accelerator=SimpleNamespace(device=SimpleNamespace(type="cpu")), step=0, seconds=0.0
    )
    watch = _Watch(run, session, Speaker(run))
    watch._thread.join()


def test_a_worker_ends_with_the_process_that_wants_it(tmp_path: Path) -> None:
    from core.launch import END_WITH

    owner = child("from core.processes import own_name; print(own_name()); input()")
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()
    run = new_run(tmp_path / "run", hardware__telemetry_seconds=0.1)
    worker = child(_OWNED, str(run.path), **{END_WITH: name})
    follower = ev.Follower(run.events_path)
    from tests.fixtures.processes import wait_until

    wait_until(lambda: follower.read(), 60, "a first reading")
    assert worker.poll() is None
    owner.kill()
    owner.communicate()
    _, errors = worker.communicate(timeout=30)
    assert worker.returncode == 1, errors


@pytest.mark.parametrize(("worked", "written"), [(3.0, 5), (4e6, 2)])
def test_a_long_run_reads_all_and_writes_less(
    worked: float, written: int, driver: FakeCards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first and the last reading are always written; those between only when enough of the run has passed."""
    enough = threading.Event()
    read, count = Sensors.read, itertools.count(1)

    def counted(self: Sensors, rest_share: float) -> MachineReading:
        found = read(self, rest_share)
        if next(count) == 4:
            enough.set()
            threading.Event().wait(0.5)  # the thread is held here until the end is asked for
        return found

    monkeypatch.setattr(Sensors, "read", counted)
    run = new_run(tmp_path / "run", hardware__telemetry_seconds=0.1)
    device = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    session = SimpleNamespace(settings=run.settings(), accelerator=device, step=7, seconds=worked)
    writer = Speaker(run)
    watch = _Watch(run, session, writer)
    assert enough.wait(20)
    watch.stop()
    writer.close()
    found = [event for event in ev.Follower(run.events_path).read() if isinstance(event, ev.Telemetry)]
    assert len(found) == written
