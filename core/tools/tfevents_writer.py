"""Writes TensorBoard's event files: a run's events as scalars, while it runs or afterwards."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from core import atomic
from core import events as ev
from core.errors import UserError
from core.run_data import measuring_tag
from core.runs import Run
from core.tools.crc32c import masked

#: (tag, step, value)
Point = tuple[str, int, float]

_LENGTH, _CRC = struct.Struct("<Q"), struct.Struct("<I")
_TIME, _VALUE = struct.Struct("<Bd"), struct.Struct("<Bf")
#: SessionLog with the status START: TensorBoard drops the points at and after its step, which a resume makes anew.
_START = b"\x3a\x02\x08\x01"


def points(event: ev.Event) -> Iterator[Point]:
    """What an event says as scalars, by the tags of core.run_data; numbers that are not finite are kept as they are."""
    if isinstance(event, ev.Step):
        for tag in ("loss", "grad_norm", "speed", "images", "epoch", "seconds"):
            yield tag, event.step, getattr(event, tag)
        for group, rate in event.rates.items():
            yield f"rate/{group}", event.step, rate
    elif isinstance(event, ev.Evaluated):
        yield measuring_tag(event), event.step, event.duration
        yield f"{event.weights or 'stable'}/{event.split}", event.step, event.loss
        for number, loss in enumerate(event.buckets if not event.weights else ()):
            yield f"stable/{event.split}/{number}", event.step, loss
    elif isinstance(event, ev.Points):
        for step, value in zip(event.steps, event.values, strict=True):
            yield event.tag, int(step), value
    elif isinstance(event, ev.Telemetry):
        for tag in ("cpu_percent", "ram_bytes", "kwh", "cost"):
            yield tag, event.step, getattr(event, tag)
        if event.co2_grams:
            yield "co2_grams", event.step, event.co2_grams
        for gpu in event.gpus:
            for name in ("vram_bytes", "watts", "celsius", "utilisation", "limit_watts"):
                if getattr(gpu, name) >= 0:
                    yield f"gpu{gpu.index}/{name}", event.step, getattr(gpu, name)


class EventFile:
    """An event file that grows; each write is whole, so that TensorBoard can follow it."""

    def __init__(self, file: BinaryIO, when: float) -> None:
        """`file` is empty and open for writing bytes; `when` is the time of its first record."""
        self._file = file
        self._file.write(record(_TIME.pack(0x09, when) + _field(0x1A, b"brain.Event:2")))

    def write(self, event: ev.Event) -> None:
        """Append what an event says; one that says no number adds nothing. OSError when the disk is full."""
        when = event.time or time.time()
        rows = [scalar(when, *point) for point in points(event)]
        if isinstance(event, ev.Started) and event.step:
            rows.append(record(_TIME.pack(0x09, when) + b"\x10" + _varint(event.step + 1) + _START))
        if rows:
            self._file.write(b"".join(rows))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def scalar(when: float, tag: str, step: int, value: float) -> bytes:
    """A record with one scalar as `simple_value`; what 32 bits cannot hold becomes infinite."""
    try:
        number = _VALUE.pack(0x15, value)
    except OverflowError:
        number = _VALUE.pack(0x15, math.copysign(math.inf, value))
    summary = _field(0x0A, _tag(tag) + number)
    return record(_TIME.pack(0x09, when) + b"\x10" + _varint(step) + _field(0x2A, summary))


def record(data: bytes) -> bytes:
    """A TFRecord: length, its checksum, data, its checksum."""
    return _head(len(data)) + data + _CRC.pack(masked(data))


@lru_cache(1024)
def _head(length: int) -> bytes:
    packed = _LENGTH.pack(length)
    return packed + _CRC.pack(masked(packed))


@lru_cache(1024)
def _tag(tag: str) -> bytes:
    return _field(0x0A, tag.encode())


def _field(key: int, data: bytes) -> bytes:
    return bytes([key]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # a negative step is written as two's complement
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def file_name(when: float) -> str:
    """TensorBoard finds files by "tfevents" in their names and reads them by the time in it."""
    return f"events.out.tfevents.{int(when)}.burnish.{os.getpid()}"


def open_live(run: Run) -> EventFile:
    """A new event file in the run's tensorboard/ folder; each start of a worker adds one. UserError when it cannot."""
    now = time.time()
    path = run.tensorboard_path / file_name(now)
    try:
        path.parent.mkdir(exist_ok=True)
        return EventFile(path.open("wb", buffering=0), now)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}).") from None


def export(run: Run, folder: Path) -> Path:
    """Write all that a run's events say into one event file in `folder`; an earlier export of the run is replaced.

    UserError when the run has no events, or the file cannot be written.
    """
    facts = run.facts()
    path = folder / f"events.out.tfevents.{int(facts['created'])}.burnish.{facts['id']}"
    begun = next(_events(run), None)
    if begun is None:
        raise UserError(f"{run.path} holds no events yet, so there is nothing to export. Wait for its first step.")
    try:
        with atomic.replacing(path) as temporary, contextlib.closing(temporary.open("wb")) as raw:
            file = EventFile(raw, begun.time)
            for event in _events(run):
                file.write(event)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}). Choose another folder.") from None
    return path


def _events(run: Run) -> Iterator[ev.Event]:
    follower = ev.Follower(run.events_path)
    while True:
        events = follower.read()
        yield from events
        if not events and not follower.behind():
            return
