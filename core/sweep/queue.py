"""The queue of a sweep: a process without torch that starts one worker per run, watches them and ends them early.

Workers are common ones in sessions of their own. When this process is killed they go on; the next one picks them up,
leaves what is done alone and goes on with what is half done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core import events as ev
from core.errors import UserError, disk_sentence
from core.launch import start_detached, worker_command, worker_environment
from core.run_data import RunData
from core.runs import CommandReader, Kind, Run
from core.sweep.early import reason_to_end
from core.sweep.file import Sweep
from core.sweep.folder import Status, SweepFolder
from core.sweep.plan import SweepPlan
from core.telemetry import Nvml

#: Seconds between two looks at the workers.
POLL_SECONDS = 0.5
#: A worker that dies without a word so often, and does no step more, is given up.
_ATTEMPTS = 3
_ASK_AGAIN_SECONDS = 5.0
_log = logging.getLogger("burnish")

Launch = Callable[[Run, dict[str, str]], "subprocess.Popen[bytes]"]


def launch_worker(run: Run, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the worker of a run."""
    return launch_process("train", run, environment)


def launch_process(kind: Kind, run: Run, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker so that it outlives this process, with its output in the folder's console.log."""
    return start_detached(worker_command(kind, run.path), environment, run.console_path)


def usable_gpus(chosen: list[str], found: int | None = None, visible: str | None = None) -> list[str]:
    """Numbers of the GPUs that runs may have: those chosen, all that there are, or what CUDA_VISIBLE_DEVICES leaves.

    `found` and `visible` stand in for the driver and the environment in tests. UserError for one that is not there.
    """
    if found is None:
        nvml = Nvml()
        found = len(nvml.gpus())
        nvml.close()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    there = [str(number) for number in range(found)]
    if visible is not None and found:
        there = [name.strip() for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    wanted = [name.strip() for name in chosen if name.strip()]
    for name in wanted:
        if name not in there:
            raise UserError(f"queue.gpus: there is no GPU '{name}' here; there are {', '.join(there) or 'none'}.")
    return wanted or there


def side_by_side_count(sweep: Sweep, plan: SweepPlan) -> int:
    """Runs that will go side by side; UserError for GPUs that are not there."""
    most = sweep.options.queue.at_once
    hardware = plan.settings(plan.runs[0]).hardware if plan.runs else None
    gpus = usable_gpus(sweep.options.queue.gpus) if hardware is not None and hardware.device != "cpu" else []
    if not gpus or hardware is None:
        return max(1, most)
    fit = max(1, len(gpus) // hardware.processes)
    return min(most, fit) if most else fit


@dataclass
class _Active:
    """A run that has a worker.

    Attributes:
        child: The worker, None when an earlier queue started it.
        judged: So many measurements were looked at.
        asked: When it was last asked to stop (monotonic seconds), None when it was not.
    """

    run: Run
    gpus: list[str]
    child: subprocess.Popen[bytes] | None = None
    began: float = field(default_factory=time.monotonic)
    data: RunData = field(default_factory=RunData)
    follower: ev.Follower = field(init=False)
    judged: int = 0
    asked: float | None = None

    def __post_init__(self) -> None:
        self.follower = ev.Follower(self.run.events_path)

    def alive(self) -> bool:
        """Whether its worker, or another one of the same run, lives."""
        if self.child is not None and self.child.poll() is None:
            return True
        return self.run.worker_pid() is not None

    def ask_to_stop(self) -> None:
        """Save and end; said again now and then, for a worker does not hear what was said while it was loading."""
        now = time.monotonic()
        if self.asked is None or now - self.asked > _ASK_AGAIN_SECONDS:
            self.asked = now
            self.run.send("stop")

    def feed(self) -> None:
        """Take in what the worker has said."""
        while events := self.follower.read():
            self.data.feed(events)


class Queue:
    """Works a sweep off. One owner, one thread."""

    def __init__(self, folder: SweepFolder, launch: Launch = launch_worker, gpus: list[str] | None = None) -> None:
        """`launch` and `gpus` (those to use) are given by tests; UserError for GPUs that are not there."""
        self._folder = folder
        self._launch = launch
        self._options = folder.sweep.options
        self._gpus = usable_gpus(self._options.queue.gpus) if gpus is None else gpus
        self._active: dict[str, _Active] = {}
        self._attempts: dict[str, tuple[int, int]] = {}
        self._commands = CommandReader(folder.process.commands_path, time.time())
        self._holding = False
        self._stopping = False
        self._tidied: set[str] = set()

    def stop(self) -> None:
        """Save and end the present runs, and start none; they go on with the next queue."""
        self._stopping = True

    def run(self) -> str:
        """Work until all is done ("finished") or it was stopped ("stopped")."""
        while True:
            self._obey()
            self._look(self._folder.statuses())
            if self._stopping:
                self._pause_all()
            elif not self._holding and len(self._active) < max(1, self._options.queue.at_once, len(self._gpus)):
                self._start_some(self._folder.statuses())
            if not self._active:
                statuses = self._folder.statuses()
                if all(status.done for status in statuses):
                    return "finished"
                if self._stopping or self._holding:
                    return "stopped"
            time.sleep(POLL_SECONDS)

    def _obey(self) -> None:
        for command in self._commands.poll():
            if command == "stop":
                self._stopping = True
            elif command == "pause":
                self._holding = True
            elif command == "continue":
                self._holding = self._stopping = False

    # -- living runs -------------------------------------------------------------------------------------------

    def _look(self, statuses: list[Status]) -> None:
        """Take over workers that live, judge them, and take note of those that are gone."""
        for status in statuses:
            if status.state == "running" and status.run.id not in self._active:
                _log.info("%s has a worker already", status.run.id)
                self._active[status.run.id] = _Active(Run(status.path), list(status.gpus))
            elif status.state in ("finished", "ended early"):
                self._tidy(status)
        skipped = self._folder.journal().skipped
        for run_id, active in list(self._active.items()):
            if active.alive():
                self._judge(run_id, active, run_id in skipped)
            else:
                del self._active[run_id]
                self._gone(run_id, active)

    def _judge(self, run_id: str, active: _Active, skipped: bool) -> None:
        """End a run that was skipped, or that shows that nothing more is to be learned from it."""
        if active.asked is not None or skipped:
            active.ask_to_stop()
            return
        active.feed()
        measured = sum(len(active.data.curve(f"stable/{split}")) for split in ("validation", "train"))
        if measured == active.judged:
            return
        active.judged = measured
        reason = reason_to_end(active.data, self._options.end)
        if reason:
            _log.info("%s ends early: %s", run_id, reason)
            self._folder.note("ended early", run_id, text=reason)
            active.ask_to_stop()

    def _gone(self, run_id: str, active: _Active) -> None:
        """A worker ended: where it did so without a word, count; after some such ends the run is given up."""
        state, step = active.run.state()
        _log.info("%s: %s at step %s", run_id, state, step)
        if state not in ("new", "interrupted"):
            return
        count, before = self._attempts.get(run_id, (0, -1))
        count = count + 1 if step <= before else 1
        self._attempts[run_id] = (count, step)
        if count >= _ATTEMPTS:
            text = f"Its worker died {count} times without a word. {_console(active.run)}"
            self._folder.note("gave up", run_id, text=text.strip())

    def _pause_all(self) -> None:
        for run_id, active in self._active.items():
            if active.asked is None and active.alive():
                self._folder.note("paused", run_id)
                active.ask_to_stop()

    def _tidy(self, status: Status) -> None:
        """Remove what the options do not keep of a run that is done."""
        keep = self._options.queue.keep
        if status.run.id in self._tidied or keep == "all":
            return
        self._tidied.add(status.run.id)
        run = Run(status.path)
        for state in run.states():
            shutil.rmtree(state.path, ignore_errors=True)
        if keep == "curves" and (saved := run.checkpoints()):
            writer = ev.Writer(run.events_path)
            for model in saved:
                run.remove_checkpoint(model)
                path = model.path.relative_to(run.path).as_posix()
                writer.write(ev.CheckpointRemoved(step=model.step, path=path))
            writer.close()

    # -- new runs ----------------------------------------------------------------------------------------------

    def _start_some(self, statuses: list[Status]) -> None:
        """Start the next runs as far as there is room; none overtakes another."""
        for status in statuses:
            if status.state != "waiting" or status.run.id in self._active:
                continue
            gpus = self._room_for(status.run.id)
            if gpus is None:
                return
            self._start(status.run.id, gpus)

    def _room_for(self, run_id: str) -> list[str] | None:
        """The GPUs that a run would get, [] on the processor; None while there is no room."""
        hardware = self._folder.settings(run_id).hardware
        most = self._options.queue.at_once
        if hardware.device == "cpu" or not self._gpus:
            return [] if len(self._active) < max(1, most) else None
        if most and len(self._active) >= most:
            return None
        if hardware.processes > len(self._gpus):
            text = f"It wants {hardware.processes} GPUs, but the sweep has {len(self._gpus)}."
            self._folder.note("gave up", run_id, text=text)
            return None
        taken = {gpu for active in self._active.values() for gpu in active.gpus}
        free = [gpu for gpu in self._gpus if gpu not in taken]
        return free[: hardware.processes] if len(free) >= hardware.processes else None

    def _start(self, run_id: str, gpus: list[str]) -> None:
        run = self._folder.open_run(run_id)
        self._folder.note("started", run_id, gpus=gpus)
        _log.info("starting %s %s", run_id, f"on GPU {', '.join(gpus)}" if gpus else "")
        self._active[run_id] = _Active(run, gpus, self._launch(run, self._environment(gpus)))

    def _environment(self, gpus: list[str]) -> dict[str, str]:
        """A worker's environment: its GPUs, or its share of the processor's cores."""
        environment = worker_environment()
        if gpus:
            # As nvidia-smi counts them; CUDA by itself puts the fastest first.
            environment |= {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        elif self._options.queue.at_once > 1:
            threads = max(1, (os.cpu_count() or 1) // self._options.queue.at_once)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        return environment


def _console(run: Run) -> str:
    """The last line that a run's worker printed."""
    with contextlib.suppress(OSError):
        lines = run.console_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
    return ""


def work(path: Path, launch: Launch = launch_worker) -> int:
    """The process of a sweep: work its queue off and leave an Ended event; the exit status.

    UserError when another process is at the sweep already.
    """
    folder = SweepFolder(path)
    with folder.process.locked():
        writer = ev.Writer(folder.process.events_path)
        try:
            queue = Queue(folder, launch)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: queue.stop())
            writer.write(ev.Ended(state=queue.run()))
            return 0
        except (UserError, OSError) as error:
            sentence = str(error) if isinstance(error, UserError) else disk_sentence(error)
            if not sentence:
                raise
            _log.error("%s", sentence)
            with contextlib.suppress(OSError):
                writer.write(ev.Ended(state="failed", text=sentence))
            return 2
        finally:
            writer.close()
