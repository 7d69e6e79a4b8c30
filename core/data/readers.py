"""Readers: processes that do the jobs of core/data/reading.py beside the program, for the index.

They are started as `python -m core.data.readers` and spoken to through pipes: that needs nothing of the program that
starts them (a window, a training worker, Windows), they load neither Qt nor torch, and they end when it is gone,
however it ended. Few files are read in the program itself, which costs no start.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

import msgspec

from core.data.reading import Job
from core.paths import ROOT

_Beside = TypeVar("_Beside")

#: Processes at most: two saturate a warm disk beside the writing into the index; more hide the latency of a slow one.
_MOST_PROCESSES = 3

#: So many files are read in the program itself before processes are started.
_ALONE = 3_000


class Readers:
    """Does jobs in the program itself first, then in processes of their own. Close it.

    A process that dies of a file (a decoder's fault) costs that file alone, which is called broken.
    """

    def __init__(self, alone: int = _ALONE, processes: int = 0) -> None:
        """`alone`: files before processes are started; `processes`: 0 for as many as this machine has use for."""
        self._processes = processes or min(_MOST_PROCESSES, os.cpu_count() or 1)
        self._alone = alone
        self._pace = _Pace()
        self._pool: ThreadPoolExecutor | None = None
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._started: list[_Process] = []

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, also in the middle of a job."""
        for process in self._started:
            process.end()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        for process in self._started:
            process.close()
        self._started.clear()

    @property
    def room(self) -> int:
        """How many jobs may be under way at once."""
        return 1 if self._pool is None else self._processes * 2

    def submit(self, job: Job) -> Future[Any]:
        """The answer to a job, which may be there at once."""
        if self._pool is None and self._alone <= 0:
            self._start()
        if self._pool is not None:
            return self._pool.submit(self._ask, job)
        self._alone -= len(job)
        future: Future[Any] = Future()
        future.set_result(self._pace.run(job))
        return future

    def in_order(self, jobs: Iterable[tuple[_Beside, Job]]) -> Iterator[tuple[_Beside, Any]]:
        """The answers in the order of the jobs, each with what came beside its job; the next ones are under way."""
        waiting: deque[tuple[_Beside, Future[Any]]] = deque()
        for mine, job in jobs:
            waiting.append((mine, self.submit(job)))
            while len(waiting) > self.room:
                beside, answer = waiting.popleft()
                yield beside, answer.result()
        for beside, answer in waiting:
            yield beside, answer.result()

    def _start(self) -> None:
        self._pool = ThreadPoolExecutor(self._processes, "reader")
        for _ in range(self._processes):
            process = _Process()
            self._started.append(process)
            self._idle.put(process)

    def _ask(self, job: Job) -> Any:
        process = self._idle.get()
        try:
            return self._answer(process, job)
        finally:
            self._idle.put(process)

    def _answer(self, process: _Process, job: Job) -> Any:
        """The answer of a process; where it dies of the job, the file that kills it is looked for."""
        try:
            return process.ask(job)
        except (OSError, EOFError, msgspec.DecodeError):
            if not process.restart():
                raise  # the job is no longer wanted
        if len(job) == 1:
            return job.crashed()
        first, second = job.halves()
        return job.joined(self._answer(process, first), self._answer(process, second))


class _Pace:
    """Runs jobs, with threads once the last one did little but wait for its disk."""

    def __init__(self) -> None:
        self._patient = False

    def run(self, job: Job) -> Any:
        """The job's answer."""
        began, used = time.perf_counter(), time.process_time()
        answer = job.run(self._patient)
        # Waiting for a share of a busy processor looks the same, but hardly to this degree.
        self._patient = time.process_time() - used < 0.15 * (time.perf_counter() - began)
        return answer


class _Process:
    """One reader process; used by one thread at a time."""

    def __init__(self) -> None:
        self._ended = False
        self._child: subprocess.Popen[bytes] | None = None
        self.restart()

    def restart(self) -> bool:
        """Start it (again); False when it was told to end."""
        self.close()
        if self._ended:
            return False
        places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "core.data.readers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        return True

    def ask(self, job: Job) -> Any:
        """The answer to a job. OSError or EOFError when the process is gone, RuntimeError for a bug in it."""
        if self._child is None or self._child.stdin is None or self._child.stdout is None:
            raise EOFError
        pipes: Any = self._child
        _send(pipes.stdin, f"{type(job).__module__}:{type(job).__qualname__}", job)
        told, data = _receive(pipes.stdout)
        if told == _FAILURE:
            raise RuntimeError(f"A reader failed: {msgspec.msgpack.decode(data, type=str)}")
        return msgspec.msgpack.decode(data, type=type(job).ANSWER, dec_hook=lambda wanted, found: wanted(found))

    def end(self) -> None:
        """Kill it, also while another thread waits for its answer; restart() then does nothing."""
        self._ended = True
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def close(self) -> None:
        """Kill it and let go of its pipes; no other thread may be waiting for it."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what could not be written to it any more
                        pipe.close()


#: In place of an answer: a traceback.
_FAILURE = "!"
_FRAME = struct.Struct("<IQ")


def _send(pipe: BinaryIO, kind: str, value: Any) -> None:
    """Write one message: the job's class ("module:name"), and the value as msgpack, which can hold data only."""
    name, data = kind.encode(), msgspec.msgpack.encode(value)
    pipe.write(_FRAME.pack(len(name), len(data)) + name + data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> tuple[str, bytes]:
    """(class, data) of the next message; EOFError when the other side is gone."""
    name, data = _FRAME.unpack(_exactly(pipe, _FRAME.size))
    return _exactly(pipe, name).decode(), _exactly(pipe, data)


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer jobs until there are no more: the life of a reader process."""
    pace = _Pace()
    while True:
        try:
            kind, data = _receive(jobs)
        except EOFError:
            return
        try:
            module, _, name = kind.partition(":")
            job: Any = msgspec.msgpack.decode(data, type=getattr(importlib.import_module(module), name))
            value = pace.run(job)
        except Exception:
            import traceback

            kind, value = _FAILURE, traceback.format_exc()
        _send(answers, kind, value)


def main() -> None:
    """Keep stdout for the answers: whatever a decoder prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the program; this ends with its pipe
    gc.set_threshold(100_000)  # many small results, no cycles
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        serve(os.fdopen(0, "rb", closefd=False), answers)


if __name__ == "__main__":
    main()
