"""A run folder: create, open, list, lock, commands, checkpoints. The only meeting place of a worker and its window."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import filelock
import msgspec
from pydantic import BaseModel

from core import __version__, atomic, paths, presets
from core import events as ev
from core.errors import UserError
from core.processes import lives, own_facts
from core.settings import Settings

#: Format of the run folder that this version writes and the newest that it reads.
RUN_FORMAT = 1

Kind = Literal["train", "cache", "grid", "caption", "sweep", "imported"]
Pages = TypeVar("Pages", bound=BaseModel)
CommandName = Literal["stop", "pause", "continue", "save", "sample"]
_STEP = re.compile(r"-step(\d+)$")
#: Events that say what state a run is in.
_TELLING = (ev.Started, ev.Step, ev.Paused, ev.Continued, ev.Ended)


class Command(msgspec.Struct):
    """One line of commands.jsonl."""

    command: str
    time: float


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A checkpoint in the run folder."""

    step: int
    path: Path


class Run:
    """A run (or a grid job) by its folder. Holds no state: everything is read from the files when asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events_path = path / "events.jsonl"
        self.commands_path = path / "commands.jsonl"
        self.console_path = path / "console.log"
        self.settings_path = path / "settings.toml"
        self.checkpoints_path = path / "checkpoints"
        self.states_path = path / "states"
        self.samples_path = path / "samples"
        self.grids_path = path / "grids"
        self.tensorboard_path = path / "tensorboard"

    def facts(self) -> dict[str, Any]:
        """run.json: format, id, name, kind, created, version, preset. UserError when it is not a run folder."""
        try:
            facts: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{self.path} is not a run folder of Burnish (it holds no run.json).") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / 'run.json'} cannot be read ({error}).") from None
        if not isinstance(facts, dict) or type(facts.get("format")) is not int:
            raise UserError(f"{self.path / 'run.json'} is damaged, or another program's, so this is no run folder.")
        if facts["format"] > RUN_FORMAT:
            raise UserError(
                f"{self.path} was made by a newer version of Burnish ({facts.get('version', '?')}). "
                "Update Burnish to open it."
            )
        return {"id": self.path.name, "name": self.path.name, "kind": "train", "created": 0.0, **facts}

    def keep_fact(self, name: str, value: object) -> Any:
        """Write a fact into run.json unless it is there; the value that holds from now on."""
        facts = self.facts()
        if name not in facts:
            facts[name] = value
            atomic.write_text(self.path / "run.json", json.dumps(facts, indent=1))
        return facts[name]

    @property
    def name(self) -> str:
        """The run's name as people see it."""
        return str(self.facts()["name"])

    def settings(self) -> Settings:
        """The frozen settings; UserError for an imported run, which has none."""
        facts = self.facts()
        if facts["kind"] == "imported":
            raise UserError(
                f"{facts['name']} was imported from {facts.get('source', 'another program')}: it has curves, but no "
                "settings and no models, so it cannot go on and no grid can be drawn of it."
            )
        return presets.thaw(self.settings_path)

    def checkpoints(self) -> list[SavedModel]:
        """Checkpoints in the folder, by step."""
        found = []
        for path in (*self.checkpoints_path.glob("*.safetensors"), *self.checkpoints_path.glob("*/model_index.json")):
            model = path.parent if path.name == "model_index.json" else path
            match = _STEP.search(model.stem)
            if match and not model.name.startswith("."):
                found.append(SavedModel(int(match.group(1)), model))
        return sorted(found, key=lambda saved: saved.step)

    def checkpoint_path(self, step: int, folder: bool = False) -> Path:
        """Where the checkpoint of a step goes: a file, or a folder in diffusers' layout."""
        return self.checkpoints_path / f"{slug(self.name)}-step{step:08d}{'' if folder else '.safetensors'}"

    def remove_checkpoint(self, saved: SavedModel) -> None:
        """Remove a checkpoint's file or folder; one that is gone already is no error."""
        if saved.path.is_dir():
            shutil.rmtree(saved.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                saved.path.unlink()

    def states(self) -> list[SavedModel]:
        """Training states in the folder, by step."""
        found = []
        for path in self.states_path.glob("step*"):
            if path.is_dir() and path.name[4:].isdigit():
                found.append(SavedModel(int(path.name[4:]), path))
        return sorted(found, key=lambda saved: saved.step)

    def prune_states(self, keep: int) -> None:
        """Remove all but the newest `keep` training states."""
        for old in self.states()[:-keep]:
            shutil.rmtree(old.path, ignore_errors=True)
        atomic.remove_leftovers(self.states_path)

    def energy_kwh(self) -> float:
        """Energy that the run has used so far, by the last reading in its events."""
        found = tail_events(self.events_path, lambda event: isinstance(event, ev.Telemetry))
        return next((event.kwh for event in reversed(found) if isinstance(event, ev.Telemetry)), 0.0)

    def send(self, command: CommandName) -> None:
        """Ask the worker for something; it looks between two steps. UserError when it cannot be written down."""
        line = msgspec.json.encode(Command(command, time.time())) + b"\n"
        try:
            with self.commands_path.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            pid = self.worker_pid()
            if command == "stop" and pid is not None and os.name != "nt":  # a full disk must not keep a run going
                os.kill(pid, signal.SIGTERM)
                return
            raise UserError(f"{self.commands_path} cannot be written ({error.strerror or error}).") from None

    def worker_pid(self) -> int | None:
        """Process number of the run's living worker, None when there is none."""
        try:
            facts = json.loads((self.path / "worker.json").read_text(encoding="utf-8"))
            pid = int(facts["pid"])
            return pid if lives(pid, float(facts["created"])) else None
        except (OSError, ValueError, KeyError):
            return None

    def state(self) -> tuple[str, int]:
        """(state, last step): "new", "running", "paused", "finished", "stopped", "failed" or "interrupted"."""
        state, step = _tail_state(self.events_path)
        if self.worker_pid() is not None:
            return ("paused" if state == "paused" else "running"), step
        if state in ("running", "paused"):
            return "interrupted", step
        return state, step

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; however the process dies, it lets go.

        What a killed worker left half-written is removed. UserError when another worker has the run, or its folder
        cannot be written.
        """
        lock = filelock.FileLock(self.path / "worker.lock")
        try:
            lock.acquire(timeout=3)
        except filelock.Timeout:
            raise UserError(f"{self.path}: another worker is at this run already. Wait for it or stop it.") from None
        except OSError as error:
            raise UserError(f"{self.path} cannot be written ({error.strerror or error}).") from None
        try:
            self._begin_work()
            yield
        finally:
            with contextlib.suppress(OSError):
                (self.path / "worker.json").unlink()
            lock.release()

    def _begin_work(self) -> None:
        """Sign the run folder with this process, and clear away what a killed one left."""
        for folder in (self.path, self.checkpoints_path, self.states_path, self.samples_path):
            atomic.remove_leftovers(folder)
        try:
            atomic.write_text(self.path / "worker.json", json.dumps(own_facts()))
        except OSError as error:
            raise UserError(f"{self.path} cannot be written ({error.strerror or error}).") from None


class CommandReader:
    """What was asked of this worker: lines of commands.jsonl written since the worker began."""

    def __init__(self, path: Path, since: float) -> None:
        self._path = path
        self._since = since
        self._position = 0
        self._rest = b""

    def poll(self) -> list[str]:
        """Names of the commands that arrived since the last call."""
        try:
            if self._path.stat().st_size <= self._position:
                return []
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except OSError:
            return []
        self._position += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):
                command = msgspec.json.decode(line, type=Command)
                if command.time >= self._since:
                    found.append(command.command)
        return found


def tail_events(path: Path, wanted: Callable[[ev.AnyEvent], bool]) -> list[ev.AnyEvent]:
    """The last events of an events file, from far enough back to hold a `wanted` one; [] when there is no file.

    Mostly that is the last 64 KiB; a run that was paused for hours has more sensor readings than that at its end.
    """
    size, length = 0, 1 << 16
    while True:
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - length))
                block = file.read()
        except FileNotFoundError:
            return []
        found = [event for line in block.split(b"\n") if line.strip() and (event := ev.decode(line)) is not None]
        if length >= size or any(map(wanted, found)):
            return found
        length *= 8


def _tail_state(path: Path) -> tuple[str, int]:
    """(state, last step) by the end of an events file: "new" without one, "running" while nothing has ended it."""
    if not path.exists():
        return "new", 0
    state, step = "running", 0
    for event in tail_events(path, lambda event: isinstance(event, _TELLING)):
        step = max(step, getattr(event, "step", 0))
        if isinstance(event, ev.Started):
            state, step = "running", event.step
        elif isinstance(event, ev.Ended):
            state, step = event.state, event.step or step
        elif isinstance(event, ev.Paused):
            state = "paused"
        elif isinstance(event, ev.Continued | ev.Step):
            state = "running"
    return state, step


def slug(text: str) -> str:
    """A name as part of a file name: letters, digits, dots, dashes."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:80] or "run"


def freeze_paths(settings: Pages) -> Pages:
    """A copy whose relative paths are absolute, so that the run means the same from every folder."""
    values = presets.flat(settings)
    for entry in presets.entries(type(settings)).values():
        if entry.option.editor not in ("path", "folder"):
            continue
        value = values[entry.key]
        values[entry.key] = [_absolute(v) for v in value] if isinstance(value, list) else _absolute(value)
    return presets.build(values, "settings", type(settings))


def _absolute(text: str) -> str:
    return text if not text or text.startswith(paths.SHIPPED) else str(paths.resolve(text))


def default_name(settings: Settings) -> str:
    """A name made of the first picture folder and the method."""
    folder = paths.resolve(settings.data.folders[0]).name if settings.data.folders else "run"
    return settings.output.name or f"{folder} {settings.training.method}"


def create(
    settings: Settings, path: Path | None = None, *, kind: Kind = "train", preset: str = "", remember: bool = True
) -> Run:
    """Make a run folder with its frozen settings; UserError when the folder is in use or cannot be made.

    `remember`: whether its place is kept where it lies outside the usual folder; a sweep's runs are found by the sweep.
    """
    settings = freeze_paths(settings)
    name = default_name(settings)
    if path is None:
        parent = paths.resolve(settings.output.folder) if settings.output.folder else paths.runs_folder()
        path = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(name)}-{uuid.uuid4().hex[:4]}"
    path = path.expanduser().absolute()
    if (path / "run.json").exists():
        raise UserError(f"{path} holds a run already. Go on with it by --resume, or choose another folder.")
    try:
        for folder in ("checkpoints", "samples", "grids"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        run = Run(path)
        presets.freeze(run.settings_path, settings)
        write_facts(path, name, kind, preset=preset)
    except OSError as error:
        raise UserError(f"{path}: the run folder cannot be made ({error.strerror or error}).") from None
    if kind == "train" and remember:
        _remember(path)
    return run


def write_facts(path: Path, name: str, kind: Kind, **more: str) -> None:
    """Write a new run.json, which makes a folder a run (or a grid job); OSError when it cannot be written."""
    facts = {
        "format": RUN_FORMAT,
        "id": uuid.uuid4().hex[:12],
        "name": name,
        "kind": kind,
        "created": time.time(),
        "version": __version__,
        **more,
    }
    atomic.write_text(path / "run.json", json.dumps(facts, indent=1))


def open_run(path: Path) -> Run:
    """The run in a folder; UserError when there is none or it is from a newer version."""
    run = Run(path.expanduser().absolute())
    run.facts()
    return run


def _remember(path: Path) -> None:
    """Keep the path of a run that lies outside the usual folder, so that the window finds it again."""
    if path.parent == paths.runs_folder():
        return
    with contextlib.suppress(OSError):
        known = [p for p in _remembered() if p != path and (p / "run.json").exists()]
        text = json.dumps([str(p) for p in [path, *known][:200]], indent=1)
        atomic.write_text(paths.home_folder() / "other-runs.json", text)


def _remembered() -> list[Path]:
    try:
        return [Path(p) for p in json.loads((paths.home_folder() / "other-runs.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def list_runs() -> list[Run]:
    """All runs that can be found, those of sweeps too, the newest first."""
    from core.sweep.folder import run_paths

    folder = paths.runs_folder()
    found = list(folder.iterdir()) if folder.is_dir() else []
    dated = []
    for path in [*found, *_remembered(), *run_paths()]:
        with contextlib.suppress(UserError):
            run = Run(path)
            dated.append((run.facts()["created"], run))
    return [run for _, run in sorted(dated, key=lambda item: -item[0])]


def find(name: str) -> Run:
    """A run by its folder, id or name; UserError when there is none."""
    path = paths.resolve(name)
    if (path / "run.json").exists():
        return open_run(path)
    for run in list_runs():
        facts = run.facts()
        if name in (facts.get("id"), facts.get("name"), run.path.name):
            return run
    raise UserError(f"There is no run '{name}'. 'python3 main.py runs list' shows those that there are.")
