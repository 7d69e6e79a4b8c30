"""The runs of a sweep, as a pure function: every combination of values, rules worked out, limits set, names given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from core import presets
from core.checks import is_visible
from core.errors import UserError
from core.quantities import show_rounded
from core.schema import Entry
from core.settings import Settings
from core.sweep.file import Range, Sweep, Values, base_values, check
from core.sweep.formulas import Formula, FormulaError

Known = Mapping[str, Entry]

#: More runs than this are a mistake.
MOST_RUNS = 1000
SEED, NAME, STEPS, EVERY = "training.seed", "output.name", "training.max_steps", "validation.every_steps"
MOST_SHARE = "validation.most_share"
#: Settings that do not change what is trained.
_NO_MATTER = (NAME, "output.folder")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        id: Name of its folder, which begins with its number.
        name: What tells it from the others, for people: "Learning rate 1e-5, Rank 8".
        varied: The settings that vary, with this run's values.
        changes: All settings that differ from the base: varied, worked out by rules, limits and the run's name.
    """

    id: str
    name: str
    varied: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a sweep on their common ground.

    Attributes:
        base: Complete values that the runs' changes are laid over.
        twins: Runs that were left out because they would have repeated others.
    """

    name: str
    base: dict[str, Any]
    runs: list[PlannedRun]
    twins: int = 0

    def settings(self, run: PlannedRun) -> Settings:
        """A run's complete settings; UserError for an impossible value."""
        return presets.build({**self.base, **run.changes}, f"{self.name}, {run.name}")

    def varied_keys(self) -> list[str]:
        """The settings that vary, in order."""
        return list(dict.fromkeys(key for run in self.runs for key in run.varied))


def plan(sweep: Sweep, ground: Mapping[str, Any] | None = None) -> SweepPlan:
    """The runs that a sweep describes; `ground`: complete values to start from, None: those of its base preset.

    Raises UserError for values, rules or combinations that are impossible, and for settings without effect.
    """
    check(sweep, sweep.name)
    base = {**(base_values(sweep) if ground is None else dict(ground)), **sweep.fixed}
    presets.build(base, f"{sweep.name}, [set]")
    known = presets.entries()
    rows = list(_rows(sweep, base, known))
    runs: list[PlannedRun] = []
    seen: set[str] = set()
    effective: set[str] = set()
    for varied in rows:
        values = _limited(sweep, _ruled(sweep, base, varied, known))
        presets.build(values, sweep.name)
        effective |= {key for key in varied if is_visible(key, values, known)}
        mark = _fingerprint(values, known)
        if mark not in seen:
            seen.add(mark)
            runs.append(_named(sweep, base, varied, values, len(runs) + 1, known))
    _require_effect(sweep, effective, known)
    return SweepPlan(sweep.name, base, runs, len(rows) - len(runs))


def axis_values(entry: Entry, values: Values) -> list[Any]:
    """The values of one setting; whole numbers of a range each once."""
    if not isinstance(values, Range):
        return list(values)
    numbers = values.numbers()
    return list(dict.fromkeys(round(number) for number in numbers)) if entry.kind == "int" else numbers


def _rows(sweep: Sweep, base: Mapping[str, Any], known: Known) -> Iterator[dict[str, Any]]:
    """{setting: value} of every run, the last setting changing fastest and the seed faster still."""
    axes = [_columns(sweep, group, known) for group in _groups(sweep)]
    options = sweep.options.sweep
    if options.seeds > 1:
        axes.append([{SEED: int(base[SEED]) + number} for number in range(options.seeds)])
    size = 1
    for axis in axes:
        size *= len(axis)
    if size > MOST_RUNS:
        raise UserError(f"{sweep.name}: these are {size:,} runs; {MOST_RUNS:,} are the most. Give fewer values.")
    for parts in product(*axes):
        row: dict[str, Any] = {}
        for part in parts:
            row.update(part)
        yield row


def _groups(sweep: Sweep) -> list[list[str]]:
    """Settings that take their values side by side; in order of the file."""
    if sweep.options.sweep.combine == "paired":
        return [list(sweep.vary)] if sweep.vary else []
    groups: list[list[str]] = []
    for key in sweep.vary:
        mates = next((group for group in sweep.together if key in group), [key])
        if mates not in groups:
            groups.append(mates)
    return groups


def _columns(sweep: Sweep, group: list[str], known: Known) -> list[dict[str, Any]]:
    """The values of a group, row by row; a single value stands in every row."""
    lists = {key: axis_values(known[key], sweep.vary[key]) for key in group}
    length = max(len(values) for values in lists.values())
    for key, values in lists.items():
        if len(values) not in (1, length):
            longest = next(other for other, found in lists.items() if len(found) == length)
            raise UserError(
                f"{sweep.name}: {key} has {len(values)} values and {longest} has {length}, but they go side by side. "
                "Give both as many."
            )
    return [{key: values[row if len(values) > 1 else 0] for key, values in lists.items()} for row in range(length)]


def _ruled(sweep: Sweep, base: Mapping[str, Any], varied: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Complete values of a run: base, then what varies, then what the rules say, each after those that it names."""
    values = {**base, **varied}
    if sweep.rules:  # a wrong value is told of before a formula stumbles over it
        presets.build(values, sweep.name)
    waiting = {key: Formula(text) for key, text in sweep.rules.items()}
    while waiting:
        ready = [k for k, formula in waiting.items() if not _needs(formula, known, sweep) & (set(waiting) - {k})]
        ready = [key for key in ready if key not in _needs(waiting[key], known, sweep)]
        if not ready:
            raise UserError(f"{sweep.name}: the rules of {' and '.join(waiting)} need each other. Break the circle.")
        for key in ready:
            values[key] = _worked_out(sweep, key, waiting.pop(key), base[key], values, known)
    return values


def _needs(formula: Formula, known: Known, sweep: Sweep) -> set[str]:
    """The settings that a formula names."""
    return {key for name in formula.names if (key := _setting_of(name, known, sweep))}


def _setting_of(name: str, known: Known, sweep: Sweep) -> str:
    """The setting that a formula's name means, "" for a constant, "base" and what is unknown.

    A name without a page is that of the only setting called so, among several that which varies.
    """
    if name in known:
        return name
    if name == "base" or name in sweep.constants:
        return ""
    called = [key for key, entry in known.items() if entry.field == name]
    if len(called) > 1:
        called = [key for key in called if key in sweep.vary] or called
    return called[0] if len(called) == 1 else ""


def _worked_out(
    sweep: Sweep, ruled: str, formula: Formula, base: Any, values: Mapping[str, Any], known: Known
) -> int | float:
    """A rule's value: whole where the setting is; UserError when there is none."""
    entry = known[ruled]
    where = f"{sweep.name}, rule {entry.key} = '{formula.text}'"
    if entry.kind not in ("int", "float"):
        raise UserError(f"{where}: only numbers follow rules.")
    given: dict[str, Any] = {"base": base, **sweep.constants}
    for name in formula.names:
        key = _setting_of(name, known, sweep)
        if key:
            given[name] = values[key]
        elif name not in given:
            raise UserError(f"{where}: {_unknown(name, known, sweep)}")
    try:
        number = formula.value(given)
    except FormulaError as error:
        raise UserError(f"{where}: {error}.") from None
    return round(number) if entry.kind == "int" else float(f"{number:.8g}")


def _unknown(name: str, known: Known, sweep: Sweep) -> str:
    """What is wrong with a name that means nothing."""
    called = [key for key, entry in known.items() if entry.field == name]
    if called:
        return f"'{name}' may be {' or '.join(called)}; write it whole."
    short = [entry.field for entry in known.values()]
    guess = presets.nearest(name, [*known, *sweep.constants, *([] if "." in name else short)])
    return f"there is no '{name}'. " + (f"Did you mean '{guess}'?" if guess else "Put your own numbers in [constants].")


def _limited(sweep: Sweep, values: dict[str, Any]) -> dict[str, Any]:
    """The values with the sweep's limits: the length, and the interval that gives so many measurements."""
    options = sweep.options.sweep
    if options.steps:
        values[STEPS] = min(values[STEPS], options.steps) if values[STEPS] else options.steps
    if options.measurements:
        if not values[STEPS]:
            raise UserError(
                f"{sweep.name}: {options.measurements} measurements of a run want its length in steps; set "
                "training.max_steps, or steps under [sweep]."
            )
        values[EVERY] = max(1, round(values[STEPS] / options.measurements))
        values[MOST_SHARE] = 0.0  # so many were asked for, whatever they cost
    return values


def _fingerprint(values: Mapping[str, Any], known: Known) -> str:
    """Equal for values that train the same: settings that are hidden, and names, do not count."""
    seen = {k: value for k, value in values.items() if k not in _NO_MATTER and is_visible(k, values, known)}
    return json.dumps(seen, sort_keys=True, default=str)


def _require_effect(sweep: Sweep, effective: set[str], known: Known) -> None:
    """UserError for a setting that varies and counts in no run."""
    for key in sweep.vary:
        if key not in effective:
            entry = known[key]
            why = f"it counts for {entry.owner.split('.')[1]} only" if entry.owner else "other settings switch it off"
            raise UserError(f"{sweep.name}: {key} varies, but has no effect in any run: {why}.")


def _named(
    sweep: Sweep, base: Mapping[str, Any], varied: dict[str, Any], values: Mapping[str, Any], number: int, known: Known
) -> PlannedRun:
    """The run with its name and folder, and all that differs from the base."""
    parts = [f"{_label(key, varied, known)} {show_value(value)}" for key, value in varied.items()]
    name = ", ".join(parts) or "as the preset"
    short = "-".join(f"{key.split('.')[1]}-{show_value(value)}" for key, value in varied.items())
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", short.replace("_", "-")).strip("-.")[:60]
    changes = {key: value for key, value in values.items() if value != base[key]}
    changes[NAME] = f"{sweep.name}: {name}"
    return PlannedRun(f"{number:03d}-{short}".rstrip("-."), name, dict(varied), changes)


def _label(key: str, varied: Mapping[str, Any], known: Known) -> str:
    """An option's label; with its page where two that vary are called the same."""
    label = known[key].option.label
    twice = sum(known[other].option.label == label for other in varied) > 1
    return f"{label} ({known[key].page})" if twice else label


def table(found: SweepPlan, sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) that show a plan's runs: what varies, what rules say of it, and the steps."""
    known = presets.entries()
    keys = [key for key in dict.fromkeys([*found.varied_keys(), *sweep.rules, STEPS]) if key in known]
    heads = ["Run", *(_label(key, dict.fromkeys(keys), known) for key in keys)]
    rows = []
    for number, run in enumerate(found.runs, 1):
        values = {**found.base, **run.changes}
        rows.append([str(number), *(show_value(values[key]) for key in keys)])
    return heads, rows


def show_value(value: Any) -> str:
    """A setting's value in a few letters."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return show_rounded(value, 5)
    if isinstance(value, list):
        return "; ".join(map(show_value, value)) or "none"
    return str(value) or "none"
