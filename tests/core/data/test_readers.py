"""Tests of core/data/readers.py: jobs in processes, which may die of a file, and end with the program."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import psutil
import pytest

from core.data import readers as module
from core.data.readers import Readers, serve
from core.data.reading import CRASHED, HeadJob, LookJob, Want
from tests.core.data.samples import corners, save
from tests.fixtures.processes import ROOT, child, reader_processes, wait_until


@dataclass(frozen=True)
class Deadly:
    """Numbers of which 13 ends the process, and a word that fails; it must be known to the reader processes."""

    ANSWER: ClassVar[Any] = list[int]
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def run(self, patient: bool) -> list[int]:
        if 13 in self.numbers:
            os._exit(9)
        if 0 in self.numbers:
            raise RuntimeError("a bug")
        return [number * 2 for number in self.numbers]

    def halves(self) -> tuple[Deadly, Deadly]:
        middle = len(self.numbers) // 2
        return Deadly(self.numbers[:middle]), Deadly(self.numbers[middle:])

    def joined(self, first: list[int], second: list[int]) -> list[int]:
        return first + second

    def crashed(self) -> list[int]:
        return [-1]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Deadly]:
    """Deadly under a name that the processes can import."""
    (tmp_path / "deadly_job.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    import deadly_job  # type: ignore[import-not-found]

    return deadly_job.Deadly  # type: ignore[no-any-return]


def running() -> int:
    """How many readers this process has."""
    return len(reader_processes())


def test_few_files_are_read_without_any_process(tmp_path: Path) -> None:
    save(tmp_path / "a.png", corners(4, 4))
    job = HeadJob(str(tmp_path), [Want("a.png", True, ())])
    with Readers(alone=2, processes=1) as readers:
        assert readers.submit(job).result().reads[0].width == 4
        assert readers.submit(job).result().reads[0].width == 4
        assert running() == 0
        assert readers.submit(job).result().reads[0].width == 4
        assert running() == 1
    assert running() == 0


def test_a_file_that_kills_its_reader_costs_itself_alone(known: type[Deadly]) -> None:
    with Readers(alone=0, processes=2) as readers:
        futures = [readers.submit(known(numbers)) for numbers in ((1, 2, 13, 4, 5), (6, 7), (13,), (8,))]
        assert [future.result() for future in futures] == [[2, 4, -1, 8, 10], [12, 14], [-1], [16]]


def test_a_bug_in_a_reader_is_loud(known: type[Deadly]) -> None:
    with Readers(alone=0, processes=1) as readers:
        with pytest.raises(RuntimeError, match=r"(?s)A reader failed.*a bug"):
            readers.submit(known((0,))).result()
        assert readers.submit(known((1,))).result() == [2]


def test_the_jobs_name_a_file_that_crashes() -> None:
    assert HeadJob("x", [Want("a.png", True, ())]).crashed().reads[0].reason == CRASHED
    assert LookJob(["a.png"]).crashed() == [(b"", None, CRASHED)]


def test_patience_changes_nothing_but_the_pace(tmp_path: Path) -> None:
    for number in range(9):
        save(tmp_path / f"{number}.png", corners(4 + number, 4))
        (tmp_path / f"{number}.txt").write_text(f"all, tag {number % 2}", encoding="utf-8")
    job = HeadJob(str(tmp_path), [Want(f"{number}.png", True, (".txt",)) for number in range(9)])
    assert job.run(patient=True) == job.run(patient=False)
    assert job.run(patient=True).tags == {"all": 9, "tag 0": 5, "tag 1": 4}
    first, second = job.halves()
    assert job.joined(first.run(False), second.run(False)) == job.run(False)
    looks = LookJob([str(tmp_path / f"{number}.png") for number in range(9)])
    assert looks.run(True) == looks.run(False)


def test_a_reader_ends_with_its_program(tmp_path: Path) -> None:
    code = (
        "from core.data.readers import Readers\nfrom core.data.reading import HeadJob\n"
        "r = Readers(alone=0, processes=2)\nr.submit(HeadJob('x', [])).result()\nprint('up', flush=True)\ninput()"
    )
    program = child(code)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        processes = psutil.Process(program.pid).children()
        assert len(processes) == 2
        program.kill()
    wait_until(lambda: not any(process.is_running() for process in processes), what="the end of the readers")


def test_readers_are_light() -> None:
    code = "import sys, core.data.readers, core.data.reading; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"torch", "PySide6", "pydantic", "numpy", "PIL.Image", "core.settings"}


def test_what_a_decoder_prints_does_not_disturb_the_answers(tmp_path: Path) -> None:
    jobs, answers = io.BytesIO(), io.BytesIO()
    for name in ("a", "b"):
        module._send(jobs, "core.data.reading:HeadJob", HeadJob(str(tmp_path), [Want(name, True, ())]))
    jobs.seek(0)
    serve(jobs, answers)
    answers.seek(0)
    told = [msgspec.msgpack.decode(module._receive(answers)[1]) for _ in range(2)]
    assert [one["reads"][0][4] for one in told] == ["the file is missing"] * 2


def test_closing_does_not_wait_for_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("named pipes")
    os.mkfifo(tmp_path / "a.png")  # opening it waits for ever
    readers = Readers(alone=0, processes=1)
    future = readers.submit(HeadJob(str(tmp_path), [Want("a.png", True, ())]))
    closer = threading.Thread(target=readers.close)
    closer.start()
    closer.join(20)
    assert not closer.is_alive()
    assert isinstance(future.exception(), (EOFError, OSError, msgspec.DecodeError))
    assert module._MOST_PROCESSES >= 1
