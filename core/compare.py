"""Several runs beside each other: their curves over any axis, their minima, and what their settings differ in. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from core import presets, run_columns, run_notes
from core.quantities import show_number
from core.run_data import AXES, Floats, RunData
from core.runs import Run
from core.sweep.results import Result, best, result_of
from core.timestep_views import gap

#: Settings that say where and under what name, not how.
_NAMES = frozenset(("output.name", "output.folder"))
#: Stands for the number at the end of an imported run's name, which is all that is known of its settings.
NUMBER = "name"
_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\d.])")


_RATE = re.compile(r"(?<![a-z])(?:lr|rates?)(?![a-z])")


@dataclass(frozen=True, slots=True)
class Metric:
    """A curve that runs can be compared by.

    Attributes:
        tags: Curves of RunData that it is, the first that is there.
        noisy: Read only when smoothed; its lowest point says nothing.
        is_loss: Whether less is better, so that its minimum is marked.
    """

    key: str
    label: str
    tags: tuple[str, ...]
    noisy: bool = False
    is_loss: bool = True


METRICS: dict[str, Metric] = {
    one.key: one
    for one in (
        Metric("validation", "Stable loss, held-out pictures", ("stable/validation",)),
        Metric("train", "Stable loss, training pictures", ("stable/train",)),
        Metric("gap", "Gap: held-out minus training pictures", (), is_loss=False),
        Metric("loss", "Training loss", ("loss",), noisy=True),
        Metric("debiased", "Training loss, debiased", ("debiased", "loss/debiased"), noisy=True),
        Metric("rate", "Learning rate", ("rate/unet",), is_loss=False),
        Metric("speed", "Images per second", ("speed",), noisy=True, is_loss=False),
    )
}


@dataclass(frozen=True)
class Compared:
    """A run as Compare needs it.

    Attributes:
        label: Its name, as short as it can be told from the others that it is compared with; see named().
        group: What it belongs to: the name of its sweep or of the imported folder; "" for a run of its own.
        created: When it was made, seconds since 1970.
        settings: {"page.field": value}; of an imported run only NUMBER, when its name ends in one.
        lowest: (step, loss) of the lowest measured point of the held-out pictures.
        reading: The data's source, for run_columns.keep().
    """

    path: Path
    name: str
    label: str
    group: str
    kind: str
    result: Result
    created: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    lowest: tuple[float, float] | None = None
    notes: run_notes.Notes = field(default_factory=run_notes.Notes)
    reading: run_columns.ReadRun | None = None

    @property
    def id(self) -> str:
        """What tells it from all others."""
        return str(self.path)

    @property
    def data(self) -> RunData:
        """Its curves."""
        return self.reading.data if self.reading else RunData()


def short_name(name: str, group: str) -> str:
    """A run's name without that of its group."""
    return name.removeprefix(f"{group}/").removeprefix(f"{group}: ") if group else name


def named(runs: Sequence[Compared]) -> list[Compared]:
    """The runs with their labels: without the group's name where all are of one, with it where they are of several."""
    several = len({run.group for run in runs}) > 1
    found = []
    for run in runs:
        short = short_name(run.name, run.group)
        found.append(f"{run.group}/{short}" if several and run.group else short)
    labels = told_apart(found, [run.created for run in runs])
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def told_apart(names: Sequence[str], created: Sequence[float]) -> list[str]:
    """The names; one that several have is followed by when its run was made: "Starter demo, 22 Nov 08:28"."""
    found = list(names)
    for form in ("%d %b %H:%M", "%d %b %H:%M:%S"):
        many = Counter(found)
        found = [
            f"{name}, {time.strftime(form, time.localtime(when))}" if many[shown] > 1 else shown
            for name, shown, when in zip(names, found, created, strict=True)
        ]
    return found


def name_order(name: str) -> tuple[float, str]:
    """A key that puts names in the order of the number at their end, those without one last."""
    numbers = _NUMBER.findall(name.rsplit("/", 1)[-1])
    return (float(numbers[-1]) if numbers else math.inf), name


def group_of(path: Path, facts: dict[str, Any]) -> str:
    """The name of the sweep or imported folder that a run belongs to, "" for one that stands alone."""
    sweep = path.parent.parent
    if path.parent.name == "runs" and (sweep / "sweep.toml").is_file():
        return Run(sweep).name
    name = str(facts["name"])
    return name.rsplit("/", 1)[0] if facts["kind"] == "imported" and "/" in name else ""


def load(path: Path) -> Compared:
    """A run with all that is compared. UserError when it is none, or cannot be read."""
    run = Run(path)
    facts = run.facts()
    reading = run_columns.read(run.events_path)
    if reading.about:
        result, flat = Result(**reading.about["result"]), dict(reading.about["settings"])
    else:
        settings = None if facts["kind"] == "imported" else run.settings()
        result = result_of(run, settings, reading.data)
        flat = presets.flat(settings) if settings is not None else {}
    made = Compared(
        path=path,
        name=str(facts["name"]),
        label=str(facts["name"]),
        group=group_of(path, facts),
        kind=str(facts["kind"]),
        result=result,
        created=float(facts["created"]),
        settings=flat,
        lowest=_lowest(reading.data),
        notes=run_notes.read(path),
        reading=reading,
    )
    return _by_its_name(made) if facts["kind"] == "imported" else made


def keep(run: Compared) -> None:
    """Write down what load() took long to find, so that it opens at once next time."""
    if run.reading is not None and run.reading.worth_keeping:
        about = {"result": asdict(run.result), "settings": run.settings}
        run_columns.keep(run.path / "events.jsonl", run.reading, about)


def keep_if_long(path: Path) -> None:
    """Do so for a run that has just ended, if it is long."""
    if run_columns.is_long(path / "events.jsonl"):
        keep(load(path))


def _by_its_name(run: Compared) -> Compared:
    """An imported run says no settings: its rate stands in a curve, or the number in its name says rate or batch.

    It does where the name has that word ("long_lr_sweep/1e-6", "batch_size_sqrt/4"), as people name such folders.
    """
    number, name = name_order(run.name)
    settings: dict[str, Any] = {NUMBER: number} if math.isfinite(number) else {}
    result = run.result
    rates = run.data.curves.get("rate/unet")
    if rates is not None and len(rates):
        result = replace(result, rate=float(np.nanmax(rates.values)))
    elif settings and _RATE.search(name.lower()) and number < 1:
        result = replace(result, rate=number)
    elif settings and "batch" in name.lower() and number.is_integer():
        result = replace(result, batch=int(number))
    return replace(run, settings=settings, result=result)


def _lowest(data: RunData) -> tuple[float, float] | None:
    curve = data.curves.get("stable/validation")
    if curve is None or not np.isfinite(curve.values).any():
        return None
    place = int(np.nanargmin(curve.values))
    return float(curve.steps[place]), float(curve.values[place])


# -- curves -----------------------------------------------------------------------------------------------------


def line(data: RunData, metric: str) -> tuple[Floats, Floats]:
    """(steps, values) of a metric of METRICS; empty where the run has none."""
    if metric == "gap":
        return gap(data)
    for tag in METRICS[metric].tags:
        curve = data.curves.get(tag)
        if curve is not None and len(curve):
            return curve.steps, curve.values
    return np.empty(0), np.empty(0)


def axes_of(data: RunData) -> list[str]:
    """Axes of AXES that a run has readings for."""
    found = []
    for axis in AXES:
        curve = data.curves.get("seconds" if axis == "hours" else axis)
        if axis == "step" or (curve is not None and len(curve) and curve.values[-1] > 0):
            found.append(axis)
    return found


def minimum_of(data: RunData, metric: str, axis: str) -> tuple[float, float] | None:
    """(x, value) of a loss at its lowest measured point; None for other curves, noisy ones and where there is none."""
    steps, values = line(data, metric)
    if not METRICS[metric].is_loss or METRICS[metric].noisy or not np.isfinite(values).any():
        return None
    place = int(np.nanargmin(values))
    return float(data.x_of(steps[place : place + 1], axis)[0]), float(values[place])


def start_value(data: RunData, metric: str) -> float | None:
    """A stable loss before anything was learnt, its first value: what lies above is of no use. None: other curves."""
    values = line(data, metric)[1]
    known = values[np.isfinite(values)]
    return float(known[0]) if METRICS[metric].is_loss and not METRICS[metric].noisy and len(known) else None


def nearest_checkpoint(data: RunData, step: float) -> int | None:
    """The step of the checkpoint that is nearest to a step."""
    return min((saved.step for saved in data.checkpoints), key=lambda at: abs(at - step), default=None)


# -- the table --------------------------------------------------------------------------------------------------

#: Fields of a Result that the CSV of the table holds.
_IN_CSV = (
    *("loss", "loss_error", "step", "step_from", "step_to", "images", "epochs"),
    *("rate", "batch", "hours", "kwh", "cost", "currency", "co2_grams", "verdict"),
)


def leaders(runs: Iterable[Compared]) -> list[str]:
    """Ids of the run with the lowest minimum and of those that cannot be told from it; one id: it is the best."""
    by_place = {run.result.path: run.id for run in runs}
    return [by_place[row.path] for row in best([run.result for run in runs])]


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all runs.

    Attributes:
        values: One for each run; None where it is not known.
    """

    key: str
    label: str
    page: str
    unit: str
    values: list[Any]

    @property
    def is_number(self) -> bool:
        """Whether every known value is a number, so that runs can be ordered by it."""
        known = [value for value in self.values if value is not None]
        return bool(known) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)

    def words(self, place: int) -> str:
        """A value as people read it, with its unit; "" when it is not known."""
        return value_words(self.values[place], self.unit)


def value_words(value: Any, unit: str = "") -> str:
    """A setting's value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{show_number(value)} {unit}".strip()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def differences(runs: Sequence[Compared]) -> list[Difference]:
    """The settings in which the runs differ, in the order of the form; those of one imported folder by its numbers."""
    known = presets.entries()
    places = {key: place for place, key in enumerate(known)}
    found = []
    keys = dict.fromkeys(key for run in runs for key in run.settings if key not in _NAMES)
    for key in sorted(keys, key=lambda one: places.get(one, -1)):
        values = [run.settings.get(key) for run in runs]
        if all(value == values[0] for value in values[1:]):
            continue
        option = known[key].option if key in known else None
        label = option.label if option else "Number in the name" if key == NUMBER else key
        unit = option.unit if option else ""
        found.append(Difference(key, label, key.partition(".")[0] if option else "", unit, values))
    return found


def table_csv(runs: Sequence[Compared]) -> str:
    """The table of minima with the settings that differ, as CSV with a line of names."""
    varied = differences(runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["run", "group", "lowest_loss", "lowest_step", *_IN_CSV]
    writer.writerow([*names, *(one.key for one in varied), "note", "folder"])
    for place, run in enumerate(runs):
        step, loss = run.lowest or (None, None)
        row: list[Any] = [run.label, run.group, loss, step, *(getattr(run.result, name) for name in _IN_CSV)]
        row += [value_words(one.values[place]) for one in varied] + [run.notes.note, str(run.path)]
        writer.writerow(["" if value is None else value for value in row])
    return text.getvalue()


def curves_csv(runs: Sequence[Compared], metric: str) -> str:
    """Every point of a metric as CSV: run, step, each known axis, value. Nothing is smoothed or left out."""
    axes = [axis for axis in AXES if any(axis in axes_of(run.data) for run in runs)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "group", *axes, METRICS[metric].label])
    for run in runs:
        steps, values = line(run.data, metric)
        own = axes_of(run.data)
        columns = [run.data.x_of(steps, axis).tolist() if axis in own else [""] * len(steps) for axis in axes]
        writer.writerows([run.label, run.group, *row] for row in zip(*columns, values.tolist(), strict=True))
    return text.getvalue()
