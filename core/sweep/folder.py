"""A sweep's folder: the frozen plan, the journal of what was asked and done, and the state of every run from these.

    run.json       what it is (kind "sweep")         sweep.toml     what was asked for
    base.toml      complete settings of the base     plan.json      the runs, with what each changes
    queue.jsonl    order, skipped runs, early ends    runs/ID/       the runs themselves, common run folders

Nothing that can be derived is stored: after a kill the state of a run is what its own folder says.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec

from core import atomic, paths, presets, runs
from core import events as ev
from core.checks import require_startable
from core.errors import UserError
from core.runs import Run
from core.settings import Settings
from core.sweep import file
from core.sweep.file import Sweep
from core.sweep.plan import PlannedRun, SweepPlan

State = Literal["waiting", "running", "finished", "ended early", "stopped", "failed", "skipped"]
#: States after which a run is not started again by itself.
DONE = frozenset(("finished", "ended early", "stopped", "failed"))
_PLAN_FORMAT = 1


class Note(msgspec.Struct, omit_defaults=True):
    """One line of queue.jsonl.

    Attributes:
        what: Asked for: "move", "skip", "restore", "again". Done: "started", "paused", "ended early", "gave up".
        run: Id of the run.
        place: Where a moved run goes among all, from 0.
        gpus: Numbers of the GPUs that a started run has.
        text: Why a run ended.
    """

    what: str
    run: str
    time: float = 0.0
    place: int = 0
    gpus: list[str] = []
    text: str = ""


@dataclass
class Journal:
    """What queue.jsonl says, played from the beginning."""

    order: list[str]
    skipped: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    gpus: dict[str, list[str]] = field(default_factory=dict)

    def play(self, note: Note) -> None:
        """Take one line in; lines about runs that there are not are passed over."""
        if note.run not in self.order:
            return
        match note.what:
            case "move":
                self.order.remove(note.run)
                self.order.insert(max(0, min(note.place, len(self.order))), note.run)
            case "skip":
                self.skipped.add(note.run)
            case "restore":
                self.skipped.discard(note.run)
            case "again":
                for notes in (self.ended, self.failed):
                    notes.pop(note.run, None)
                self.skipped.discard(note.run)
                self.again.add(note.run)
            case "started":
                self.paused.discard(note.run)
                self.again.discard(note.run)
                self.gpus[note.run] = note.gpus
            case "paused":
                self.paused.add(note.run)
            case "ended early":
                self.ended[note.run] = note.text
            case "gave up":
                self.failed[note.run] = note.text


@dataclass(frozen=True)
class Status:
    """A run of the sweep as it is now.

    Attributes:
        step: Its last one.
        text: Why it ended, where it did not simply finish.
    """

    run: PlannedRun
    path: Path
    state: State
    step: int = 0
    text: str = ""
    gpus: Sequence[str] = ()

    @property
    def done(self) -> bool:
        """Whether the queue is through with it."""
        return self.state in DONE or self.state == "skipped"


class SweepFolder:
    """A sweep by its folder. Holds no state but what the folder says when asked; the plan is read once."""

    def __init__(self, path: Path) -> None:
        """UserError when it is not a sweep's folder, or a newer version's."""
        self.path = path.expanduser().absolute()
        self.process = Run(self.path)
        if self.process.facts()["kind"] != "sweep":
            raise UserError(f"{path} is not the folder of a sweep. 'python3 main.py sweep SWEEP.toml' makes one.")
        self.queue_path = self.path / "queue.jsonl"
        self.sweep = file.read(self.path / "sweep.toml")
        self.plan = self._read_plan()
        self._by_id = {run.id: run for run in self.plan.runs}
        self._known: dict[str, tuple[tuple[int, int], str, int]] = {}

    def _read_plan(self) -> SweepPlan:
        path = self.path / "plan.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw["format"] > _PLAN_FORMAT:
                raise UserError(f"{path} was written by a newer version of Burnish. Update Burnish to open it.")
            planned = [PlannedRun(**run) for run in raw["runs"]]
            return SweepPlan(raw["name"], presets.read(self.path / "base.toml").values, planned, raw["twins"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({error}), so the sweep's runs are not known.") from None

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.plan.name

    def run_path(self, run_id: str) -> Path:
        """The folder of a run, which is made when it starts."""
        return self.path / "runs" / run_id

    def settings(self, run_id: str) -> Settings:
        """Complete settings of a run."""
        return self.plan.settings(self._by_id[run_id])

    # -- the journal -----------------------------------------------------------------------------------------

    def note(self, what: str, run_id: str, *, place: int = 0, gpus: Sequence[str] = (), text: str = "") -> None:
        """Write a line into the journal; UserError when it cannot be written or there is no such run."""
        if run_id not in self._by_id:
            guess = presets.nearest(run_id, self._by_id)
            raise UserError(f"{self.name} has no run '{run_id}'." + (f" Did you mean '{guess}'?" if guess else ""))
        line = msgspec.json.encode(Note(what, run_id, round(time.time(), 3), place, list(gpus), text))
        try:
            with self.queue_path.open("ab+", buffering=0) as stream:
                size = stream.seek(0, 2)
                if size:  # a line that a killed process left unfinished is ended first
                    stream.seek(size - 1)
                    line = line if stream.read(1) == b"\n" else b"\n" + line
                stream.write(line + b"\n")
        except OSError as error:
            raise UserError(f"{self.queue_path} cannot be written ({error.strerror or error}).") from None

    def journal(self) -> Journal:
        """What the journal says now; damaged lines are passed over."""
        found = Journal([run.id for run in self.plan.runs])
        for note in self._notes():
            found.play(note)
        return found

    def _notes(self) -> Iterator[Note]:
        try:
            lines = self.queue_path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):
                yield msgspec.json.decode(line, type=Note)

    # -- what is -----------------------------------------------------------------------------------------------

    def statuses(self) -> list[Status]:
        """Every run as it is now, in the order of the queue."""
        journal = self.journal()
        return [self._status(self._by_id[run_id], journal) for run_id in journal.order]

    def _status(self, run: PlannedRun, journal: Journal) -> Status:
        path = self.run_path(run.id)
        state, step = self._state_of(Run(path))
        status = Status(run, path, "waiting", step, gpus=journal.gpus.get(run.id, ()))
        skipped = run.id in journal.skipped
        if state in ("running", "paused"):
            return replace(status, state="running", text="paused" if state == "paused" else "")
        if run.id in journal.again and state != "finished":
            return replace(status, state="skipped" if skipped else "waiting")
        if state == "finished":
            return replace(status, state="finished")
        if run.id in journal.ended:
            return replace(status, state="ended early", text=journal.ended[run.id])
        if state == "failed" or run.id in journal.failed:
            return replace(status, state="failed", text=journal.failed.get(run.id) or last_words(path))
        if skipped:
            return replace(status, state="skipped")
        if state == "stopped" and run.id not in journal.paused:
            return replace(status, state="stopped", text="It was stopped by hand.")
        return status

    def _state_of(self, run: Run) -> tuple[str, int]:
        """Run.state(), with the end of runs without a worker read once and not at every look."""
        try:
            facts = run.events_path.stat()
        except OSError:
            return ("running" if run.worker_pid() is not None else "new"), 0
        if run.worker_pid() is not None:
            return run.state()
        mark = (facts.st_size, facts.st_mtime_ns)
        known = self._known.get(run.path.name)
        if known is None or known[0] != mark:
            known = self._known[run.path.name] = (mark, *run.state())
        return known[1], known[2]

    def state(self) -> str:
        """ "running", "finished" (all runs are done or skipped), "new" or "paused" (there is more to do)."""
        if self.process.worker_pid() is not None:
            return "running"
        statuses = self.statuses()
        if all(status.done for status in statuses):
            return "finished"
        return "new" if all(status.state == "waiting" and not status.step for status in statuses) else "paused"

    def failure(self) -> str:
        """Why the queue itself ended the last time, "" when nothing was wrong with it."""
        found = runs.tail_events(self.process.events_path, lambda event: isinstance(event, ev.Ended))
        last = next((event for event in reversed(found) if isinstance(event, ev.Ended)), None)
        return last.text if last is not None and last.state == "failed" else ""

    # -- the runs ----------------------------------------------------------------------------------------------

    def open_run(self, run_id: str) -> Run:
        """A run's folder, made when it is not there yet."""
        path = self.run_path(run_id)
        if not (path / "run.json").exists():
            return runs.create(self.settings(run_id), path, preset=self.sweep.base, remember=False)
        return Run(path)


def last_words(path: Path) -> str:
    """Why a run failed, by its last event."""
    found = runs.tail_events(path / "events.jsonl", lambda event: isinstance(event, ev.Ended))
    return next((event.text for event in reversed(found) if isinstance(event, ev.Ended)), "")


def create(sweep: Sweep, made: SweepPlan, path: Path | None = None) -> SweepFolder:
    """Make a sweep's folder from its plan; UserError when a run could not start, or the folder cannot be made."""
    frozen = require_all_startable(made)
    if path is None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{runs.slug(sweep.name)}-{uuid.uuid4().hex[:4]}"
        path = sweeps_folder() / name
    path = path.expanduser().absolute()
    if (path / "run.json").exists():
        raise UserError(f"{path} holds a run or a sweep already. Go on with it by --resume, or choose another folder.")
    base = runs.freeze_paths(presets.build(made.base, sweep.name))
    plain = {"format": _PLAN_FORMAT, "name": made.name, "twins": made.twins, "runs": [asdict(run) for run in frozen]}
    try:
        (path / "runs").mkdir(parents=True, exist_ok=True)
        presets.freeze(path / "base.toml", base)
        atomic.write_text(path / "plan.json", json.dumps(plain, indent=1))
        atomic.write_text(path / "sweep.toml", file.to_toml(replace(sweep, base="base.toml")))
        runs.write_facts(path, sweep.name, "sweep", preset=sweep.base)
    except OSError as error:
        raise UserError(f"{path}: the sweep's folder cannot be made ({error.strerror or error}).") from None
    _remember(path)
    return SweepFolder(path)


def require_all_startable(made: SweepPlan) -> list[PlannedRun]:
    """The runs with absolute paths; UserError when nothing varies or one of them could not start."""
    if not made.runs or not made.varied_keys():
        raise UserError(f"{made.name}: nothing varies, so there is no series of runs. Give a setting some values.")
    return [_frozen(made, run) for run in made.runs]


def _frozen(made: SweepPlan, run: PlannedRun) -> PlannedRun:
    """A run with absolute paths; UserError when it could not start."""
    try:
        settings = made.settings(run)
        require_startable(settings)
    except UserError as error:
        raise UserError(f"{made.name}, {run.name}: {error}") from None
    values = presets.flat(runs.freeze_paths(settings))
    return replace(run, changes={key: values[key] for key in run.changes})


def sweeps_folder() -> Path:
    """Where sweeps go unless a folder is named."""
    return paths.home_folder() / "sweeps"


def _remember(path: Path) -> None:
    """Keep the path of a sweep that lies outside the usual folder, so that the window finds it again."""
    if path.parent == sweeps_folder():
        return
    with contextlib.suppress(OSError):
        known = [str(other) for other in _remembered() if other != path and (other / "plan.json").exists()]
        atomic.write_text(paths.home_folder() / "other-sweeps.json", json.dumps([str(path), *known][:200], indent=1))


def _remembered() -> list[Path]:
    try:
        text = (paths.home_folder() / "other-sweeps.json").read_text(encoding="utf-8")
        return [Path(path) for path in json.loads(text)]
    except (OSError, ValueError, TypeError):
        return []


def sweep_paths() -> list[Path]:
    """Folders of all sweeps that can be found, in no order."""
    folder = sweeps_folder()
    found = list(folder.iterdir()) if folder.is_dir() else []
    return [path for path in (*found, *_remembered()) if (path / "plan.json").is_file()]


def list_sweeps() -> list[SweepFolder]:
    """All sweeps that can be found, the newest first; those that cannot be read are left out."""
    dated = []
    for path in sweep_paths():
        with contextlib.suppress(UserError):
            sweep = SweepFolder(path)
            dated.append((float(sweep.process.facts()["created"]), sweep))
    return [sweep for _, sweep in sorted(dated, key=lambda item: -item[0])]


def find(name: str) -> SweepFolder:
    """A sweep by its folder, id or name; UserError when there is none."""
    path = paths.resolve(name)
    if (path / "run.json").exists():
        return SweepFolder(path)
    for sweep in list_sweeps():
        facts = sweep.process.facts()
        if name in (facts["id"], facts["name"], sweep.path.name):
            return sweep
    raise UserError(f"There is no sweep '{name}'. 'python3 main.py sweep --list' shows those that there are.")


def run_paths() -> Iterator[Path]:
    """Folders of the runs of all sweeps, for the list of runs."""
    for path in sweep_paths():
        for run in (path / "runs").iterdir():
            if (run / "run.json").is_file():
                yield run
