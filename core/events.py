"""Everything a worker can say: a tagged union of events, one JSON object a line in events.jsonl."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any, Union

import msgspec


def _snake(name: str) -> str:
    """Tag of an event class: StateSaved -> state_saved."""
    return "".join(("_" if c.isupper() and i else "") + c.lower() for i, c in enumerate(name))


class Event(msgspec.Struct, tag_field="type", tag=_snake, kw_only=True, omit_defaults=True):
    """Base of all events. `time` is the wall clock in seconds since 1970, filled in when the event is written."""

    time: float = 0.0


class Started(Event):
    """The training loop is ready to run (again).

    Attributes:
        step: Steps done before; more than 0 when the run goes on from a saved state. Readers drop later points.
        images_per_step: Effective batch: batch size x accumulation x processes.
        trainable, parameters: Counts of trained weights and of all weights of the parts that are trained.
    """

    step: int
    total_steps: int
    steps_per_epoch: float
    images_per_step: int
    pictures: int
    validation_pictures: int
    trainable: int
    parameters: int
    device: str
    precision: str
    version: str = ""


class Progress(Event):
    """How far a phase is: "index", "cache", "load", "texts", "evaluate", "sample", "save", "grid", "caption"."""

    phase: str
    done: int
    total: int
    text: str = ""


class Step(Event, gc=False):
    """One change of the weights. It can hold no circle, so the garbage collector leaves its millions alone.

    Attributes:
        loss: Mean training loss over the effective batch; noisy by nature.
        rates: Learning rate of each group of weights ("unet", "text_encoder").
        images: Pictures seen since the run began.
        speed: Pictures per second, training only.
        grad_norm: Length of the gradient before clipping.
        seconds: Seconds that the run has worked in all, pauses left out.
    """

    step: int
    loss: float
    rates: dict[str, float]
    images: int
    epoch: float
    speed: float
    grad_norm: float
    seconds: float


class Evaluated(Event):
    """Stable loss of one split ("train" or "validation") at a step; `buckets` from little noise to much.

    Attributes:
        duration: Seconds that it took.
        weights: "" for the weights that the run shows and saves (its EMA where it keeps one), "raw" for the trained
            ones measured beside them.
    """

    step: int
    split: str
    loss: float
    buckets: list[float]
    duration: float
    weights: str = ""


class Gpu(msgspec.Struct, kw_only=True):
    """One GPU's reading; -1 where the card does not say.

    Attributes:
        limit_watts: Power that the card may draw now; `default_limit_watts` is what it left the factory with, and it
            can be set from `least_limit_watts` to `most_limit_watts`.
    """

    index: int
    name: str
    vram_bytes: int
    vram_total_bytes: int
    watts: float = -1.0
    celsius: float = -1.0
    utilisation: float = -1.0
    limit_watts: float = -1.0
    default_limit_watts: float = -1.0
    least_limit_watts: float = -1.0
    most_limit_watts: float = -1.0


def short_name(name: str) -> str:
    """A GPU's name without its makers: "RTX 3090"."""
    return name.removeprefix("NVIDIA ").removeprefix("GeForce ")


class Points(Event, gc=False):
    """A stretch of a curve that another program made (an imported run); `steps` ascend, a line holds some thousands."""

    tag: str
    steps: list[float]
    values: list[float]


class Telemetry(Event):
    """Sensors of the machine at a step.

    Attributes:
        kwh: Energy of the run so far (all GPUs, plus the constant for the rest of the machine).
        energy_source: "counter" (NVML's energy counter), "power" (integrated power), "constant" (only the constant
            that the user set), "none" (nothing measures it).
        cost: kwh times the price; in `currency`.
        co2_grams: kwh times the grams of CO2 per kWh that the settings give; 0 where they give none.
    """

    step: int
    seconds: float
    gpus: list[Gpu]
    cpu_percent: float
    ram_bytes: int
    ram_total_bytes: int
    worker_bytes: int
    kwh: float = 0.0
    energy_source: str = "none"
    cost: float = 0.0
    currency: str = ""
    co2_grams: float = 0.0


class Checkpoint(Event):
    """A model that other programs can load was written; `path` is relative to the run folder."""

    step: int
    path: str
    bytes: int


class CheckpointRemoved(Event):
    """An older model was removed, as the settings ask; `path` is relative to the run folder."""

    step: int
    path: str


class StateSaved(Event):
    """The state for a resume was written."""

    step: int
    path: str


class Sample(Event):
    """A picture was drawn during the training; `path` is relative to the run folder."""

    step: int
    path: str
    prompt: str
    seed: int
    index: int


class Message(Event):
    """Something to tell the user that ends nothing; `level` is "info" or "warning"."""

    text: str
    level: str = "info"
    step: int = -1


class Paused(Event):
    """The training waits for the command "continue"."""

    step: int


class Continued(Event):
    """The training goes on after a pause."""

    step: int


class Ended(Event):
    """The last event of a worker: state "finished", "stopped" or "failed"; `text` says why it failed."""

    state: str
    step: int = 0
    text: str = ""


class Cell(Event):
    """A picture of a grid was made; x, y, z are indices into the axes' values; `path` is relative to the job."""

    index: int
    total: int
    path: str
    x: int
    y: int
    z: int
    seed: int
    labels: list[str]
    parameters: str


class GridMade(Event):
    """A whole grid picture was written; one for each value of z."""

    path: str
    z: int


class Captioned(Event):
    """Words were found for a picture; a job tells of all pictures of a preview, else of a few now and then.

    Attributes:
        path: The picture's file.
        kind: "tags" or "natural": which of its two caption files is meant.
        action: What was done with that file, or in a preview would be: "new", "added", "replaced", "kept" (the words
            that are there stay), "nothing" (the model had no words); "broken" when the picture cannot be captioned.
        words: The model's words; of a broken one the reason.
        before: What the file said before.
    """

    path: str
    kind: str
    action: str
    words: str
    before: str = ""


class CaptionTotals(Event):
    """What became of a job's pictures, those of its earlier workers included; a `preview` wrote nothing."""

    written: int
    kept: int
    broken: int
    preview: bool = False


AnyEvent = Union[  # noqa: UP007  msgspec needs the union as a value
    Started,
    Progress,
    Step,
    Evaluated,
    Telemetry,
    Checkpoint,
    CheckpointRemoved,
    StateSaved,
    Sample,
    Message,
    Paused,
    Continued,
    Ended,
    Cell,
    GridMade,
    Points,
    Captioned,
    CaptionTotals,
]

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """One line, with its newline. Numbers that JSON cannot hold (nan) become null and read back as nan."""
    return _encoder.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent | None:
    """The event of a line; None for a line that is damaged or of a type that this version does not know."""
    try:
        event: AnyEvent = _decoder.decode(line)
        return event
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _decode_with_nan(line)


def _decode_with_nan(line: bytes) -> AnyEvent | None:
    """A diverged run writes nan as null; give it back as nan."""
    try:
        raw: Any = msgspec.json.decode(line)
        if isinstance(raw, dict) and raw.get("type") in ("step", "evaluated", "points"):
            for key in ("loss", "grad_norm"):
                if key in raw and raw[key] is None:
                    raw[key] = float("nan")
            for key in ("buckets", "values"):
                if key in raw:
                    raw[key] = [float("nan") if value is None else value for value in raw[key]]
            event: AnyEvent = msgspec.convert(raw, AnyEvent)
            return event
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    return None


def decode_block(block: bytes) -> list[AnyEvent]:
    """Events of a block of whole lines; the fast way for long files, line by line where a line is damaged."""
    try:
        return _decoder.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        events = (decode(line) for line in block.split(b"\n") if line.strip())
        return [event for event in events if event is not None]


class Writer:
    """Appends events to a file; each line is written whole and at once, so that readers never wait for a buffer."""

    def __init__(self, path: Path) -> None:
        """Open for appending; a line that a killed worker left unfinished is ended before the next one."""
        self._torn = False
        if path.exists() and path.stat().st_size:
            with path.open("rb") as old:
                old.seek(-1, 2)
                self._torn = old.read(1) != b"\n"
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, event: Event) -> None:
        """Append an event with the present time. OSError when the disk is full; later events are whole again."""
        if not event.time:
            event.time = round(time.time(), 3)
        line = (b"\n" if self._torn else b"") + encode(event)
        written = self._file.write(line)
        self._torn = written != len(line) if written else self._torn
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Follower:
    """Reads what a growing file has got since the last call; bytes are kept until their newline arrives."""

    def __init__(self, path: Path, block_bytes: int = 1 << 20) -> None:
        self.path = path
        self.position = 0
        self._rest = b""
        self._block_bytes = block_bytes

    def read(self) -> list[AnyEvent]:
        """The new events of at most one block ([] when there are none, or the file does not exist yet)."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.position)
                data = file.read(self._block_bytes)
        except FileNotFoundError:
            return []
        self.position += len(data)
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._rest += data
            return []
        lines = self._rest + data[:cut]
        self._rest = data[cut:]
        return decode_block(lines)

    @property
    def taken(self) -> int:
        """Bytes of the whole lines that were handed out so far; a torn last line is not among them."""
        return self.position - len(self._rest)

    def behind(self) -> int:
        """Bytes of the file that were not read yet."""
        try:
            return max(0, self.path.stat().st_size - self.position)
        except FileNotFoundError:
            return 0
