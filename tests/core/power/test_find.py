"""Tests of core/power/find.py, job.py and kept.py: real children under pretended cards; limits always go back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from core import demo, presets, runs
from core.errors import Stopped, UserError
from core.power import find, kept
from core.power.find import Search, Trial, set_back
from core.power.job import Job, key_of, shortened
from core.power.kept import Result
from core.power.limits import Limiter, cards
from core.power.plan import Measured
from core.settings import Settings
from tests.fixtures import sweep_worker
from tests.fixtures.fake_cards import FakeCards
from tests.fixtures.processes import child, wait_until


def settings(**changes: Any) -> Settings:
    values = {key.replace("__", "."): value for key, value in changes.items()}
    return presets.build({**presets.flat(presets.load(demo.PRESET, [])), **values}, "test")


@pytest.fixture(autouse=True)
def few_warm_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_POLL_SECONDS", 0.02)


class Bench:
    """A search over pretended cards with a stand-in worker."""

    def __init__(self, fake: FakeCards, **changes: Any) -> None:
        self.fake = fake
        self.said: list[str] = []
        self.jobs: list[Job] = []
        self.pids: list[int] = []
        self.hook: Callable[[str], None] = lambda line: None
        self._settings = shortened(settings(**changes))

    def _say(self, line: str) -> None:
        self.said.append(line)
        self.hook(line)

    def _job(self, card: Any) -> Job:
        def launch(run: runs.Run, environment: dict[str, str]) -> Any:
            self.environment = environment
            process = sweep_worker.launch(run, environment)
            self.pids.append(process.pid)
            return process

        self.jobs.append(Job(self._settings, card, launch))
        return self.jobs[-1]

    def run(self, *limits: float, rest: float = 0.0) -> Result:
        nvml = self.fake.nvml()
        card = cards(nvml)[0]
        result = Result(card.uuid, card.name, "test", key_of(self._settings), rest, card.default_watts)
        trial = Trial(card, limits, seconds=0.2, settle=0.05)
        return Search(nvml, Limiter(nvml), self._say).run(trial, lambda: self._job(card), result)

    def require_tidy(self) -> None:
        assert self.fake.limits[0] == 280_000 and not kept.note_path().exists() and not kept.stop_path().exists()
        for pid in self.pids:
            assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert all(not job._folder.exists() for job in self.jobs)


def test_limits_are_measured_one_by_one_and_the_former_one_holds_again() -> None:
    bench = Bench(FakeCards(limit=280_000))
    noted: list[dict[str, float]] = []
    bench.hook = lambda line: noted.append(kept._note()["limits"])
    found = bench.run(150, 250, 350, rest=100.0)
    assert [limit for _, limit in bench.fake.history] == [280, 150, 250, 350, 280]
    assert noted[-1] == {"GPU-0-fake": 280.0}
    assert [row.limit_watts for row in found.rows] == [150, 250, 350]
    assert [row.watts for row in found.rows] == pytest.approx([145, 245, 305], abs=0.5)
    for row in found.rows:
        assert row.images > 0 and row.images_per_second == pytest.approx(row.images / row.seconds)
        assert 0.1 < row.seconds < 60 and row.images_per_kwh(100) < row.images_per_kwh()
    assert bench.environment["CUDA_VISIBLE_DEVICES"] == "GPU-0-fake"
    assert kept.latest("GPU-0-fake") == found and kept.latest("GPU-1") is None
    assert "150 W: " in bench.said[-3] and "images per kWh" in bench.said[-1]
    bench.require_tidy()


def test_what_was_measured_is_put_together() -> None:
    first = Bench(FakeCards(limit=280_000, refuse=4)).run(280)  # the present limit needs no permission
    assert [row.limit_watts for row in first.rows] == [280]
    kept.keep(Result("GPU-0-fake", "", "other", "another job", rows=[Measured(300, 1, 1)]))
    merged = Bench(FakeCards(limit=280_000)).run(200, 280)
    assert [row.limit_watts for row in merged.rows] == [200, 280] and len(kept.results()) == 2
    assert merged.rows[1] != first.rows[0], "a limit that is measured again is replaced"


def test_without_permission_nothing_is_started() -> None:
    bench = Bench(FakeCards(limit=280_000, refuse=4))
    with pytest.raises(UserError, match=r"only (root|an administrator) may.*'--limits now' measures the present"):
        bench.run(200)
    assert bench.jobs == []
    bench.require_tidy()


def test_a_busy_card_is_not_measured() -> None:
    bench = Bench(FakeCards(limit=280_000, load=83))
    with pytest.raises(UserError, match=r"GPU 0 .* is at work \(83 % load\)"):
        bench.run(280)
    assert bench.jobs == []


def test_a_job_that_dies_ends_it() -> None:
    bench = Bench(FakeCards(limit=280_000))

    def kill(line: str) -> None:
        if line.startswith("150 W"):
            psutil.Process(bench.pids[0]).kill()

    bench.hook = kill
    with pytest.raises(UserError, match="The training that was to be measured ended: "):
        bench.run(150, 250)
    assert [row.limit_watts for row in kept.results()[0].rows] == [150]
    bench.require_tidy()


def test_a_job_that_fails_says_why() -> None:
    bench = Bench(FakeCards(limit=280_000), training__learning_rate=0.2)
    with pytest.raises(UserError, match=r"ended: .*[a-z]"):
        bench.run(280)
    bench.require_tidy()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_ctrl_c_and_bugs_leave_no_limit_behind(error: type[BaseException]) -> None:
    bench = Bench(FakeCards(limit=280_000))

    def fail(line: str) -> None:
        if line.startswith("150 W"):
            raise error

    bench.hook = fail
    with pytest.raises(error):
        bench.run(150, 250)
    bench.require_tidy()


def test_the_stop_file_stops_it() -> None:
    kept.stop_path().touch()  # an old one does not
    bench = Bench(FakeCards(limit=280_000))
    bench.hook = lambda line: kept.stop_path().touch() if line.startswith("150 W") else None
    with pytest.raises(Stopped):
        bench.run(150, 250)
    assert len(kept.results()[0].rows) == 1
    bench.require_tidy()


def test_a_limit_that_cannot_be_set_back_stays_noted() -> None:
    bench = Bench(FakeCards(limit=280_000))

    def forbid(line: str) -> None:
        bench.fake.refuse = 4 if line.startswith("150 W") else 0

    bench.hook = forbid
    bench.run(150)
    assert "could not be set back" in bench.said[-1] and bench.fake.limits == [150_000]
    assert kept._note()["limits"] == {"GPU-0-fake": 280.0}


#: A shell's background job ignores ctrl-C, and its children do, unless they say otherwise.
_SEARCH = """
import signal
import sys
from pathlib import Path
from tests.core.power.test_find import Bench
from tests.fixtures.fake_cards import FakeCards
fake = FakeCards(limit=280_000)
log = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)
def note(handle, milliwatts):
    fake.limits[handle] = milliwatts
    with log.open("a") as file:
        file.write(f"{milliwatts // 1000}\\n")
fake.nvmlDeviceSetPowerManagementLimit = note
Bench(fake).run(150, *([250, 200] * 500))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals(number: int, tmp_path: Path) -> None:
    log = tmp_path / "set"
    process = child(_SEARCH, str(log))
    wait_until(lambda: log.exists() and "250" in log.read_text(encoding="utf-8"), 60, "the second limit")
    assert kept.measuring_pid() == process.pid and kept.left_over() == {}
    workers = psutil.Process(process.pid).children()
    with pytest.raises(UserError, match="Another measurement"):
        Bench(FakeCards(limit=280_000)).run(280)
    process.send_signal(number)
    process.communicate(timeout=30)
    set_last = log.read_text(encoding="utf-8").split()[-1]
    fake = FakeCards(limit=int(set_last) * 1000)
    if number == signal.SIGKILL:
        for worker in workers:
            worker.kill()
        assert set_last != "280" and kept.left_over() == {"GPU-0-fake": 280.0}
        assert "former limit of 280 W holds again" in set_back(fake.nvml(), Limiter(fake.nvml()))[0]
        assert fake.limits == [280_000]
    else:
        assert set_last == "280"
    assert kept.left_over() == {} and set_back(fake.nvml(), Limiter(fake.nvml())) == []


def test_the_former_limit_of_a_killed_one_is_not_forgotten_by_the_next() -> None:
    kept.write_note({"GPU-0-fake": 280.0})
    text = kept.note_path().read_text(encoding="utf-8").replace(f'"pid": {os.getpid()}', '"pid": 999999999')
    kept.note_path().write_text(text, encoding="utf-8")
    bench = Bench(FakeCards(limit=150_000))
    bench.run(200)
    assert [limit for _, limit in bench.fake.history] == [150, 200, 280]
    bench.require_tidy()


def test_a_search_off_the_main_thread_minds_no_signals() -> None:
    bench = Bench(FakeCards(limit=280_000))
    thread = threading.Thread(target=bench.run, args=(150,))
    thread.start()
    thread.join(60)
    assert len(kept.results()) == 1
    bench.require_tidy()


def test_results_that_are_damaged_are_none() -> None:
    kept.results_path().write_text('{"format": 1, "results": [{"uuid": 1}]}', encoding="utf-8")
    assert kept.results() == []
    kept.note_path().write_text("[", encoding="utf-8")
    assert kept.left_over() == {} and kept.measuring_pid() is None


def test_a_shortened_training_saves_measures_and_draws_nothing() -> None:
    long = settings(hardware__processes=4, hardware__rest_watts=90.0, training__batch_size=2, data__pictures=5000)
    short = shortened(long)
    assert (short.hardware.processes, short.hardware.rest_watts, short.data.pictures) == (1, 0.0, 64)
    assert (short.validation.every_steps, short.sample.every_steps, short.sample.prompts) == (0, 0, [])
    assert (short.output.save_every_steps, short.output.save_every_epochs, short.output.tensorboard) == (0, 0, False)
    assert short.training.max_steps > 10**6 and short.training.batch_size == 2
    assert shortened(settings(data__pictures=12)).data.pictures == 12
    assert key_of(short) == key_of(long) != key_of(settings(training__batch_size=4))
    with pytest.raises(UserError, match=r"data\.folders"):
        shortened(settings(data__folders=[]))
