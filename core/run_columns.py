"""A run's curves kept as columns in a file of the cache: a long run that was read once opens in milliseconds."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xxhash

from core import __version__, atomic, paths
from core import events as ev
from core.run_data import Curve, Floats, RunData

#: The first bytes of the file; another number, another format.
_MAGIC = b"BURNISH-CURVES-1"
#: Shorter event files are read faster than a second file is looked for.
_LEAST_BYTES = 1 << 18
#: Bytes at the beginning and before the place read to by which an events file is known again.
_PROBE = 4096
#: The cache holds no more than so many bytes; the files that were longest unused go first.
_MOST_BYTES = 4 << 30


class _Head(msgspec.Struct):
    """What stands before the columns.

    Attributes:
        version: Of Burnish, when it was written.
        about: As in ReadRun.
        position: Bytes of events.jsonl that are in here.
        probes: Hashes of its first bytes and of those before `position`.
        lengths: Of the columns, in order.
        curves: {tag: (column of steps, column of values, cuts)}.
        started, telemetry, ended, samples, checkpoints, last_step, seconds: As in RunData.
    """

    version: str
    about: dict[str, Any]
    position: int
    probes: tuple[str, str]
    lengths: list[int]
    curves: dict[str, tuple[int, int, int]]
    started: ev.Started | None
    telemetry: ev.Telemetry | None
    ended: ev.Ended | None
    samples: list[ev.Sample]
    checkpoints: list[ev.Checkpoint]
    last_step: int
    seconds: float


def cache_path(events_path: Path) -> Path:
    """Where the columns of an events file are kept."""
    mark = xxhash.xxh3_128_hexdigest(str(events_path.absolute()).encode())
    return paths.cache_folder() / "curves" / f"{mark}.bin"


@dataclass(frozen=True)
class ReadRun:
    """A run's data as read() found it.

    Attributes:
        data: Of a run from the cache messages, grid cells and captions are missing; all else is whole.
        position: Bytes of events.jsonl that are in it.
        decoded: How many of these were decoded just now; from `worth_keeping` on keep() saves time.
        about: What was found out about the run and kept with it; empty when there is news, or it was another version.
    """

    data: RunData
    position: int
    decoded: int
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def worth_keeping(self) -> bool:
        """Whether enough was decoded for keep() to save time."""
        return self.decoded >= _LEAST_BYTES


def is_long(events_path: Path) -> bool:
    """Whether an events file is long enough for keep() to save time."""
    try:
        return events_path.stat().st_size >= _LEAST_BYTES
    except OSError:
        return False


def read(events_path: Path) -> ReadRun:
    """All that an events file says now: what the cache holds is mapped into memory, only the rest is decoded."""
    follower = ev.Follower(events_path)
    data, before = RunData(), 0
    kept = _mapped(events_path)
    if kept is not None:
        data, before = kept[0], kept[1].position
        follower.position = before
    while events := follower.read() or follower.behind():
        if isinstance(events, list):
            data.feed(events)
    decoded = follower.taken - before
    known = kept is not None and not decoded and kept[1].version == __version__
    return ReadRun(data, follower.taken, decoded, kept[1].about if kept is not None and known else {})


def keep(events_path: Path, found: ReadRun, about: dict[str, Any] | None = None) -> None:
    """Write down the columns of a run, and what was found `about` it (what JSON holds).

    A failure costs nothing but time later, so it is passed over.
    """
    data = found.data
    with contextlib.suppress(OSError):
        columns, curves = _columns(data)
        head = _Head(
            version=__version__,
            about=about or {},
            position=found.position,
            probes=_probes(events_path, found.position),
            lengths=[len(column) for column in columns],
            curves=curves,
            started=data.started,
            telemetry=data.telemetry,
            ended=data.ended,
            samples=data.samples,
            checkpoints=data.checkpoints,
            last_step=data.last_step,
            seconds=data.seconds,
        )
        _write(cache_path(events_path), msgspec.json.encode(head), columns)
        _prune(cache_path(events_path).parent)


def _mapped(events_path: Path) -> tuple[RunData, _Head] | None:
    """The kept data with its head; None when there is none, or it is not of this file."""
    path = cache_path(events_path)
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            (length,) = struct.unpack("<Q", file.read(8))
            head = msgspec.json.decode(file.read(length), type=_Head)
        start = _aligned(len(_MAGIC) + 8 + length)
        if path.stat().st_size != start + 8 * sum(head.lengths):
            return None
        if _probes(events_path, head.position) != head.probes:
            return None
        # Copy on write: a run that grows may change its last points, the file never.
        ground = np.memmap(path, np.float64, "c", offset=start) if sum(head.lengths) else np.empty(0)
    except (OSError, ValueError, struct.error, msgspec.MsgspecError):
        return None
    return _data(head, np.asarray(ground)), head


def _data(head: _Head, ground: Floats) -> RunData:
    ends = np.cumsum([0, *head.lengths])
    columns = [ground[ends[i] : ends[i + 1]] for i in range(len(head.lengths))]
    data = RunData(
        samples=head.samples,
        checkpoints=head.checkpoints,
        started=head.started,
        telemetry=head.telemetry,
        ended=head.ended,
        last_step=head.last_step,
        seconds=head.seconds,
    )
    for tag, (steps, values, cuts) in head.curves.items():
        data.curves[tag] = Curve.of(columns[steps], columns[values], cuts)
    return data


def _columns(data: RunData) -> tuple[list[Floats], dict[str, tuple[int, int, int]]]:
    """The columns, each once (most curves share their steps), and which of them a curve is made of."""
    columns: list[Floats] = []
    places: dict[tuple[int, str], int] = {}

    def place(array: Floats) -> int:
        key = (len(array), xxhash.xxh3_128_hexdigest(np.ascontiguousarray(array).data))
        if key not in places:
            places[key] = len(columns)
            columns.append(array)
        return places[key]

    return columns, {tag: (place(c.steps), place(c.values), c.cuts) for tag, c in data.curves.items()}


def _probes(path: Path, position: int) -> tuple[str, str]:
    """Hashes by which a file that only grows is known again; OSError when it is shorter than `position`."""
    with path.open("rb") as file:
        first = file.read(min(_PROBE, position))
        file.seek(max(0, position - _PROBE))
        last = file.read(min(_PROBE, position))
    if len(last) < min(_PROBE, position):
        raise OSError(f"{path} is shorter than it was")
    return xxhash.xxh3_64_hexdigest(first), xxhash.xxh3_64_hexdigest(last)


def _write(path: Path, head: bytes, columns: list[Floats]) -> None:
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + struct.pack("<Q", len(head)) + head)
        file.write(bytes(_aligned(file.tell()) - file.tell()))
        for column in columns:
            file.write(np.ascontiguousarray(column).data)


def _aligned(place: int) -> int:
    return -(-place // 64) * 64


def _prune(folder: Path) -> None:
    """Remove what was longest unused while the cache is too large."""
    found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*.bin"))
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= _MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size
