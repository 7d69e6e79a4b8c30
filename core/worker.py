"""One child process per job: python -m core.worker train|cache|grid|caption|sweep DIR. Writes events, is commanded."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import events as ev
from core.errors import UserError, disk_sentence
from core.launch import END_WITH, OFFLINE, distributed_command, worker_environment
from core.runs import CommandReader, Run, open_run
from core.speaker import Speaker

if TYPE_CHECKING:
    from core.engine.control import Control
    from core.telemetry import Nvml

OK, FAILED, MISTAKE = 0, 1, 2
#: How long a process that cannot go on waits for rank 0 to say why.
_LAST_WORD_SECONDS = 30.0
#: A reading is written when so small a share of the run's time has passed since the last one, or so many seconds: a run
#: of 45 days would write gigabytes of them every two seconds.
_READING_SHARE, _LONGEST_UNWRITTEN = 1e-4, 30.0
_log = logging.getLogger("burnish")


def main(arguments: list[str]) -> int:
    """Do the job of a run folder; the exit status is 0 for success, 2 for a user's mistake, 1 for a failure of ours."""
    if len(arguments) != 2 or arguments[0] not in ("train", "cache", "grid", "caption", "sweep"):
        print("usage: python -m core.worker train|cache|grid|caption|sweep RUN_DIR", file=sys.stderr)
        return MISTAKE
    kind, folder = arguments
    os.environ.update(OFFLINE)
    try:
        run = open_run(Path(folder))
        _write_to_console_log(run)
        if kind == "sweep":
            from core.sweep.queue import work

            return work(run.path)
        if kind == "train" and "RANK" not in os.environ and run.settings().hardware.processes > 1:
            return _launch_processes(run)
        return _work(kind, run)
    except UserError as error:
        print(error, file=sys.stderr)
        return MISTAKE


def _write_to_console_log(run: Run) -> None:
    """Send all that this process prints, warnings of libraries and crashes too, to the run's console.log."""
    try:
        file = os.open(run.console_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError as error:
        raise UserError(f"{run.console_path} cannot be written ({error.strerror or error}).") from None
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    # It misses kernels for 4-bit weights on a processor, which nothing here has.
    logging.getLogger("bitsandbytes.backends").setLevel(logging.ERROR)


def _launch_processes(run: Run) -> int:
    """Start one process per GPU and wait; their rank 0 speaks for the run.

    A terminal's ctrl-C reaches all processes. torchrun would kill them 30 seconds later and all ranks but 0 would end
    at once, so they are started deaf to it: rank 0 hears it again and tells the others at the next step.
    """
    settings = run.settings()
    command = distributed_command(run.path, settings.hardware.processes)
    _log.info("starting %s", " ".join(command))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, env=worker_environment())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: run.send("stop"))
    code = child.wait()
    if code and run.state()[0] in ("new", "interrupted"):
        text = f"One of the processes died (status {code}). See {run.console_path}."
        _end(ev.Writer(run.events_path), "failed", text)
    state = run.state()[0]
    return OK if state in ("finished", "stopped") else (MISTAKE if code == MISTAKE else FAILED)


def _work(kind: str, run: Run) -> int:
    """Hold the run and do the job; every way out leaves an Ended event."""
    main_rank = os.environ.get("RANK", "0") == "0"
    if not main_rank:
        return _follow_rank_zero(kind, run)
    with run.locked():
        status = _speak(kind, run)
    if kind == "train":
        _keep_curves(run)
    return status


def _keep_curves(run: Run) -> None:
    """Write a long run's curves into the cache (0.2 s for 100,000 steps), so that Compare opens it at once."""
    from core import compare

    try:
        compare.keep_if_long(run.path)
    except Exception:  # the run is over and whole; this only saves time later
        _log.exception("the curves could not be kept")


def _follow_rank_zero(kind: str, run: Run) -> int:
    """A rank other than 0: works, says nothing."""
    from core.engine.control import Control

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follower = ev.Follower(run.events_path)
    follower.position = follower.behind()
    try:
        for _ in _job(kind, run, Control()):
            pass
        return OK
    except UserError as error:
        _log.error("%s", error)
        _wait_for_last_word(follower)
        return MISTAKE
    except Exception:
        _log.exception("a process failed")
        return FAILED


def _wait_for_last_word(follower: ev.Follower) -> None:
    """Mostly rank 0 has the same trouble and is about to say so; torchrun would end it as soon as one process ends."""
    deadline = time.monotonic() + _LAST_WORD_SECONDS
    while time.monotonic() < deadline:
        if any(isinstance(event, ev.Ended) for event in follower.read()):
            return
        time.sleep(0.1)


def _speak(kind: str, run: Run) -> int:
    """Run the job and write its events; errors become an Ended event with one sentence."""
    from core.engine.control import Control

    control = Control(CommandReader(run.commands_path, time.time()))
    _stop_on_signals(control)
    writer = Speaker(run, patient=kind == "train")
    control.unwritten = writer.unwritten
    try:
        for event in _job(kind, run, control, writer):
            writer.write(event)
        return OK
    except UserError as error:
        _log.error("%s", error)
        _end(writer, "failed", str(error))
        return MISTAKE
    except Exception as error:
        _log.exception("the job failed")
        sentence = disk_sentence(error) if isinstance(error, OSError) else ""
        if sentence:
            _end(writer, "failed", sentence)
            return MISTAKE
        trace = "".join(traceback.format_exception_only(error)).strip()
        _end(writer, "failed", f"Burnish failed ({trace}). The whole story is in {run.console_path}.")
        return FAILED
    finally:
        writer.close()


def _job(kind: str, run: Run, control: Control, writer: Speaker | None = None) -> Iterator[ev.Event]:
    """The events of a job; a train job's sensors are read beside it."""
    if kind == "grid":
        from core.engine.render import render_job

        yield from render_job(run, control)
        return
    if kind == "caption":
        from core.engine.caption_job import caption_events

        yield from caption_events(run, control)
        return
    from core.engine.session import Session

    settings = run.settings()
    if kind == "train" and writer is not None and settings.output.tensorboard:
        writer.write_for_tensorboard()
    session = Session(run, settings, control)
    if kind == "cache":
        yield from session.cache_only()
        return
    if writer is None:
        yield from session.events()
        return
    watch = _Watch(run, session, writer)
    try:
        yield from session.events()
    finally:
        watch.stop()


def _end(writer: Any, state: str, text: str) -> None:
    """Write the last event; a full disk must not hide the error that is being told."""
    try:
        writer.write(ev.Ended(state=state, text=text))
    except OSError:
        _log.exception("the last event could not be written")
        print(text, file=sys.stderr, flush=True)


def _stop_on_signals(control: Control) -> None:
    """The first ctrl-C (or SIGTERM) stops and saves; the second one ends at once."""

    def handler(number: int, frame: object) -> None:
        if control.interrupted:
            os._exit(130)
        control.stop()

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


class _Watch:
    """Reads the sensors in a thread and writes Telemetry events against the session's step."""

    def __init__(self, run: Run, session: Any, writer: Speaker) -> None:
        from core.rest_share import RestShare
        from core.telemetry import LONGEST_GAP, Energy, Nvml, Sensors

        hardware = session.settings.hardware
        self._session = session
        self._writer = writer
        self._hardware = hardware
        nvml = Nvml()
        nvml.keep(_gpus_of(session, nvml))
        gap = max(LONGEST_GAP, 10 * hardware.telemetry_seconds)
        before = 3.6e6 * run.energy_kwh()
        self._sensors = Sensors(Energy(hardware.rest_watts, before, longest_gap=gap), nvml)
        self._share = RestShare() if hardware.rest_watts else None
        self._written = -_LONGEST_UNWRITTEN
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        from core.processes import named_lives

        owner = os.environ.get(END_WITH, "")
        while True:
            if owner and not named_lives(owner):  # nobody is left who wants this training, or would ever end it
                os._exit(FAILED)
            self._read()
            if self._done.wait(self._hardware.telemetry_seconds):
                return

    def _read(self, last: bool = False) -> None:
        reading = self._sensors.read(self._share.value() if self._share else 1.0)
        energy = self._sensors.energy
        self._session.kwh = energy.kwh
        now = time.monotonic()
        if not last and now - self._written < unwritten_seconds(self._session.seconds):
            return
        self._written = now
        event = ev.Telemetry(
            step=self._session.step,
            seconds=round(self._session.seconds, 3),
            gpus=reading.gpus,
            cpu_percent=reading.cpu_percent,
            ram_bytes=reading.ram_bytes,
            ram_total_bytes=reading.ram_total_bytes,
            worker_bytes=reading.process_bytes,
            kwh=energy.kwh,
            energy_source=energy.source,
            cost=energy.kwh * self._hardware.price_per_kwh,
            currency=self._hardware.currency,
            co2_grams=energy.kwh * self._hardware.co2_per_kwh,
        )
        try:
            self._writer.write(event)
        except OSError:
            _log.exception("a sensor reading could not be written")

    def stop(self) -> None:
        """Take a last reading and end the thread; a driver that hangs holds up neither."""
        self._done.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._read(last=True)
            self._sensors.nvml.close()
        if self._share:
            self._share.close()


def unwritten_seconds(worked: float) -> float:
    """How long readings of the sensors are only added up, and not written, in a run that has worked so many seconds."""
    return min(_LONGEST_UNWRITTEN, worked * _READING_SHARE)


def _gpus_of(session: Any, nvml: Nvml) -> list[int]:
    """The GPUs of this machine that the run works on, by the driver's numbers; none where it works on the processor."""
    from core.telemetry import used_gpus

    if session.accelerator.device.type != "cuda":
        return []
    import torch

    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    uuids: list[str] = []
    with contextlib.suppress(Exception):  # no reading of a sensor may end a run
        known = (torch.cuda.get_device_properties(i) for i in range(min(count, torch.cuda.device_count())))
        uuids = [str(properties.uuid) for properties in known]
    return used_gpus(nvml, count, os.environ, uuids)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
