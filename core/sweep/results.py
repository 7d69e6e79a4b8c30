"""The results of a sweep: for each run its minimum of the validation loss and what it took; as a table and as CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.advisor import judge_run
from core.outlook import effective_batch, effective_rates
from core.run_data import RunData, read_run
from core.runs import Run
from core.settings import Settings
from core.sweep.early import diverged
from core.sweep.folder import Status, SweepFolder
from core.sweep.plan import STEPS, SweepPlan

#: Verdicts whose minimum is one: the curve has fallen, and the lowest place is not simply the last one measured.
_SURE = ("turned", "settled")


@dataclass(frozen=True)
class Result:
    """One run of a sweep, or any other, by its minimum; None where the run has not said it.

    Attributes:
        id: Its folder's name.
        varied: The settings that vary in the sweep, with this run's values.
        state: Of the run in the queue ("finished", "ended early" ...).
        verdict: core.advisor's; "diverging" also where the worker gave up for numbers that broke.
        loss, loss_error: The lowest place of the curve and half the width of its 95 % interval.
        lowest_loss: The lowest measured point.
        step, step_from, step_to: Where the minimum lies, with its interval.
        at_end: Whether the loss still falls, so that the true minimum comes later and is lower.
        images, epochs, hours, kwh, cost, co2_grams: What it took until the minimum; CO2 where the settings give any.
        total_hours, total_kwh, total_cost, total_co2_grams: What the whole run took.
        rate: The UNet's full learning rate, scaled with the batch when that was asked for.
        text: Why it ended early or failed.
    """

    id: str
    name: str
    path: str
    varied: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    verdict: str = ""
    steps_done: int = 0
    loss: float | None = None
    loss_error: float | None = None
    lowest_loss: float | None = None
    step: float | None = None
    step_from: float | None = None
    step_to: float | None = None
    at_end: bool = False
    images: float | None = None
    epochs: float | None = None
    rate: float | None = None
    batch: int | None = None
    hours: float | None = None
    kwh: float | None = None
    cost: float | None = None
    co2_grams: float | None = None
    total_hours: float | None = None
    total_kwh: float | None = None
    total_cost: float | None = None
    total_co2_grams: float | None = None
    currency: str = ""
    text: str = ""


def results(folder: SweepFolder) -> list[Result]:
    """Every run of a sweep in the order of the plan; those that have not begun have no numbers."""
    places = {run.id: place for place, run in enumerate(folder.plan.runs)}
    return sorted(Reader(folder).rows(), key=lambda row: places[row.id])


class Reader:
    """Reads a sweep's results again and again; a run whose events did not change is not read anew."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int], Result]] = {}

    def rows(self) -> list[Result]:
        """Every run in the order of the queue."""
        return [self._row(status) for status in self._folder.statuses()]

    def _row(self, status: Status) -> Result:
        events = status.path / "events.jsonl"
        try:
            facts = events.stat()
            mark = (facts.st_size, facts.st_mtime_ns)
        except OSError:
            mark = (0, 0)
        known = self._known.get(status.run.id)
        if known is None or known[0] != mark:
            known = self._known[status.run.id] = (mark, self._read(status))
        return replace(known[1], state=status.state, text=status.text, steps_done=status.step)

    def _read(self, status: Status) -> Result:
        head: dict[str, Any] = {"name": status.run.name, "varied": status.run.varied}
        if (status.path / "run.json").exists():
            return result_of(Run(status.path), **head)
        head |= _rates(self._folder.settings(status.run.id))
        return Result(id=status.run.id, path=str(status.path), **head)


def result_of(run: Run, settings: Settings | None = None, data: RunData | None = None, **head: Any) -> Result:
    """The minimum of one run; also for runs of no sweep, imported ones too (these have no settings: give none).

    Args:
        settings: The run's, read when not given.
        data: Its curves, likewise.
        head: Fields of the Result that are known.
    """
    facts = run.facts()
    data = data or read_run(run.events_path)
    if settings is None and facts["kind"] != "imported":
        settings = run.settings()
    verdict = judge_run(data)
    head = {"id": run.path.name, "name": facts["name"], "path": str(run.path), **head}
    head["verdict"] = "diverging" if diverged(data) else verdict.state
    head["steps_done"] = data.last_step
    head |= _totals(data)
    if settings is not None:
        head |= _rates(settings)
    low = verdict.minimum
    if low is None:
        return Result(**_finite(head))
    place = low.step if head["verdict"] in _SURE else low.lowest_step
    head |= {
        "loss": low.loss,
        "loss_error": low.loss_error,
        "lowest_loss": low.lowest_loss,
        "step": place,
        "step_from": low.step_from,
        "step_to": low.step_to,
        "at_end": head["verdict"] == "still falling",
        "images": _at(data, "images", place),
        "epochs": _at(data, "epoch", place),
        "hours": _hours(_at(data, "seconds", place)),
        "kwh": _at(data, "kwh", place) if _has_energy(data) else None,
        "cost": _at(data, "cost", place) if _has_energy(data) else None,
        "co2_grams": _at(data, "co2_grams", place),
    }
    return Result(**_finite(head))


def _rates(settings: Settings) -> dict[str, Any]:
    return {"rate": effective_rates(settings)["unet"], "batch": effective_batch(settings)}


def _totals(data: RunData) -> dict[str, Any]:
    last = data.telemetry
    return {
        "total_hours": data.seconds / 3600 if data.seconds else None,
        "total_kwh": last.kwh if last and _has_energy(data) else None,
        "total_cost": last.cost if last and _has_energy(data) else None,
        "total_co2_grams": (last.co2_grams or None) if last else None,
        "currency": last.currency if last else "",
    }


def _has_energy(data: RunData) -> bool:
    """Whether anything measured the energy: a machine without a GPU and without a constant says 0 of it."""
    return bool(data.curve("kwh").values.any())


def _at(data: RunData, tag: str, step: float) -> float | None:
    """A curve's value at a step, 0 at step 0; None where there is no such curve."""
    curve = data.curves.get(tag)
    if curve is None or not len(curve):
        return None
    if step < curve.steps[0]:
        return float(curve.values[0] * step / curve.steps[0])
    return float(np.interp(step, curve.steps, curve.values))


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same with None for numbers that are not finite."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def best(rows: list[Result]) -> list[Result]:
    """The run with the lowest minimum, then those that cannot be told from it: their intervals reach each other.

    Runs that diverged count too, as long as they had a minimum before; those without one do not.
    """
    known = sorted((row for row in rows if row.loss is not None), key=lambda row: row.loss or 0.0)
    if not known:
        return []
    first = known[0]
    reach = (first.loss or 0.0) + (first.loss_error or 0.0)
    return [first, *(row for row in known[1:] if (row.loss or 0.0) - (row.loss_error or 0.0) <= reach)]


def hours_left(plan: SweepPlan, rows: list[Result]) -> float | None:
    """Hours until the queue is through, by what a picture took so far; None before any run tells.

    Runs whose length is counted in epochs, and those that end early, are not foreseen.
    """
    worked = [
        (row.total_hours, row.steps_done * (row.batch or 1)) for row in rows if row.total_hours and row.steps_done
    ]
    images = sum(count for _, count in worked)
    if not images:
        return None
    planned = {run.id: int({**plan.base, **run.changes}[STEPS]) for run in plan.runs}
    open_rows = [row for row in rows if row.state in ("waiting", "running")]
    left = sum(max(0, planned[row.id] - row.steps_done) * (row.batch or 1) for row in open_rows)
    at_once = max(1, sum(row.state == "running" for row in rows))
    return sum(hours for hours, _ in worked) / images * left / at_once


def to_json(folder: SweepFolder) -> dict[str, Any]:
    """The document of `main.py sweep --results FOLDER --json`."""
    rows = results(folder)
    return {
        "sweep": str(folder.path),
        "name": folder.name,
        "state": folder.state(),
        "varied": folder.plan.varied_keys(),
        "runs": [asdict(row) for row in rows],
        "best": [row.id for row in best(rows)],
        "kwh": _sum(row.total_kwh for row in rows),
        "cost": _sum(row.total_cost for row in rows),
        "co2_grams": _sum(row.total_co2_grams for row in rows),
        "hours": _sum(row.total_hours for row in rows),
        "hours_left": hours_left(folder.plan, rows),
    }


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def to_csv(rows: list[Result]) -> str:
    """The results as CSV with a line of names; the varied settings have a column each."""
    keys = list(dict.fromkeys(key for row in rows for key in row.varied))
    plain = [name for name in Result.__dataclass_fields__ if name != "varied"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *keys, *plain[1:]])
    for row in rows:
        values = asdict(row)
        writer.writerow([row.id, *(row.varied.get(key, "") for key in keys), *(values[name] for name in plain[1:])])
    return text.getvalue()


def save_csv(path: Path, rows: list[Result]) -> None:
    """Write the table; UserError when that is not possible."""
    from core import atomic
    from core.errors import UserError

    try:
        atomic.write_text(path, to_csv(rows))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}). Choose another place.") from None
