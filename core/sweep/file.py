"""Sweep files: TOML that says what varies, by which values and rules; read strictly and written atomically."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomlkit

from core import atomic, paths, presets
from core.errors import UserError
from core.schema import Entry
from core.sweep.formulas import Formula, FormulaError
from core.sweep.options import SweepOptions

#: Format of sweep files that this version writes and the newest that it reads.
FORMAT = 1
#: Tables whose keys are settings, or names of the user's.
_OF_SETTINGS = ("vary", "set", "rules")
_HEAD = ("format", "name", "description", "base")
_TABLES = (*_OF_SETTINGS, "constants", "together", *SweepOptions.model_fields)
_MOST_VALUES = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """Evenly spaced numbers from `start` to `stop`, both included; "log" spaces them by equal factors."""

    start: float
    stop: float
    count: int
    scale: Literal["linear", "log"] = "linear"

    def numbers(self) -> list[float]:
        """The numbers, to 6 digits, so that 1e-5 to 1e-3 has 1e-4 in its middle and not 9.999999e-5."""
        last = max(1, self.count - 1)
        if self.scale == "log":
            found = [self.start * (self.stop / self.start) ** (i / last) for i in range(self.count)]
        else:
            found = [self.start + (self.stop - self.start) * i / last for i in range(self.count)]
        ends = {0: self.start, self.count - 1: self.stop}
        return [ends.get(i, float(f"{number:.6g}")) for i, number in enumerate(found)]


Values = list[Any] | Range


@dataclass
class Sweep:
    """A sweep as its file says it.

    Attributes:
        base: A built-in preset's name, one of the user's, or a preset file beside the sweep's.
        vary: By setting, the values it takes, in the order of the runs: the last varies fastest.
        fixed: Settings that all runs have instead of the base's.
        rules: By setting, the formula that gives its value.
        constants: Numbers of the user's for formulas.
        together: Groups of settings that take their values side by side, whatever the others do.
        folder: Where the file lies; a base's path is relative to it.
    """

    name: str = "Sweep"
    description: str = ""
    base: str = ""
    vary: dict[str, Values] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    together: list[list[str]] = field(default_factory=list)
    options: SweepOptions = field(default_factory=SweepOptions)
    folder: Path | None = None


def read(path: Path) -> Sweep:
    """Read a sweep file; UserError when it is missing, unreadable or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8, so it is no sweep.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from None
    sweep = parse(text, str(path))
    sweep.folder = path.absolute().parent
    return sweep


def parse(text: str, source: str) -> Sweep:
    """Read a sweep's text; UserError for broken TOML, unknown keys, impossible values and newer formats."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source} is not valid TOML: {error}.") from None
    _check_head(tables, source)
    known = presets.entries()
    options = {page: tables[page] for page in SweepOptions.model_fields if page in tables}
    sweep = Sweep(
        name=tables.get("name", Path(source).stem),
        description=tables.get("description", ""),
        base=tables.get("base", ""),
        vary={key: _values(known[key], value, source) for key, value in _settings(tables, "vary", source).items()},
        fixed=_settings(tables, "set", source),
        rules=_settings(tables, "rules", source),
        constants=_constants(tables.get("constants", {}), source),
        together=tables.get("together", []),
        options=presets.build(presets.flatten(options, source, SweepOptions), source, SweepOptions),
    )
    check(sweep, source)
    return sweep


def _check_head(tables: Mapping[str, Any], source: str) -> None:
    """UserError for a newer format, tables that there are not, and heads that are no texts."""
    version = tables.get("format", FORMAT)
    if type(version) is not int or version < 1:
        raise UserError(f"{source}: format = {version!r} is not a version; it should be {FORMAT}.")
    if version > FORMAT:
        raise UserError(
            f"{source} was written by a newer version of Burnish (format {version}, this one knows {FORMAT}). "
            "Update Burnish to open it."
        )
    for key, value in tables.items():
        if key not in (*_HEAD, *_TABLES):
            guess = presets.nearest(key, (*_HEAD, *_TABLES))
            hint = f"Did you mean '{guess}'?" if guess else f"A sweep has {', '.join((*_HEAD, *_TABLES))}."
            raise UserError(f"{source}: a sweep has no '{key}'. {hint}")
        wanted: tuple[type, str] = (dict, "a table")
        if key in _HEAD:
            wanted = (int, "a whole number") if key == "format" else (str, "a text")
        elif key == "together":
            wanted = (list, "a list of lists of settings")
        if not isinstance(value, wanted[0]):
            raise UserError(f"{source}: {key} = {value!r} is not possible: it must be {wanted[1]}.")


def _settings(tables: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """{"page.field": value} of a table of settings, written with dots, in quotes or as tables below it."""
    known = presets.entries()
    found: dict[str, Any] = {}
    for key, value in tables.get(name, {}).items():
        if "." in key or not isinstance(value, dict):
            found[key] = value
        else:
            found.update({f"{key}.{inner}": part for inner, part in value.items()})
    for key in found:
        if key not in known:
            raise presets.unknown_key(key, f"{source}, [{name}]", known)
    return found


def _constants(table: Mapping[str, Any], source: str) -> dict[str, float]:
    for name, value in table.items():
        if type(value) not in (int, float) or not name.isidentifier():
            raise UserError(
                f"{source}, [constants]: {name} = {value!r} is not possible: it must be a number by a name."
            )
    return dict(table)


def _values(entry: Entry, value: Any, source: str) -> Values:
    """A list as it stands, a range from a table, a single value as a list of one."""
    where = f"{source}, [vary] {entry.key}"
    if isinstance(value, dict):
        return _range(entry, value, where)
    values = value if isinstance(value, list) else [value]
    if entry.kind in ("list", "tables") and not all(isinstance(one, list) for one in values):
        raise UserError(f"{where}: each value is a list itself, so write a list of lists.")
    if not values:
        raise UserError(f"{where}: give at least one value.")
    return values


def _range(entry: Entry, table: Mapping[str, Any], where: str) -> Range:
    for key in table:
        if key not in Range.__slots__:
            guess = presets.nearest(key, Range.__slots__)
            hint = f"Did you mean '{guess}'?" if guess else "It has start, stop, count and scale."
            raise UserError(f"{where}: a range has no '{key}'. {hint}")
    complaint = f"{where}: a range wants numbers for start and stop."
    start, stop = _number(table.get("start"), complaint), _number(table.get("stop"), complaint)
    count, scale = table.get("count", 0), table.get("scale", "linear")
    if entry.kind not in ("int", "float"):
        raise UserError(f"{where}: only numbers have ranges; give a list of values.")
    if type(count) is not int or not 2 <= count <= _MOST_VALUES:
        raise UserError(f"{where}: count = {count!r} is not possible: it must be from 2 to {_MOST_VALUES}.")
    if scale not in ("linear", "log"):
        raise UserError(f"{where}: scale = {scale!r} is not possible: it must be linear or log.")
    if scale == "log" and (start <= 0 or stop <= 0):
        raise UserError(f"{where}: a logarithmic range wants numbers above 0.")
    return Range(start, stop, count, scale)


def _number(value: Any, complaint: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(complaint)
    return value


def check(sweep: Sweep, source: str) -> None:
    """UserError for keys that stand in two places, formulas that cannot be read and groups that make no sense."""
    for key in sweep.rules:
        if key in sweep.vary:
            raise UserError(f"{source}: {key} stands under [vary] and under [rules]; leave it in one of them.")
    for key, text in sweep.rules.items():
        if not isinstance(text, str):
            raise UserError(f"{source}, [rules] {key}: write the formula in quotes, or put a fixed value under [set].")
        try:
            Formula(text)
        except FormulaError as error:
            raise UserError(f"{source}, [rules] {key} = '{text}': {error}.") from None
    seen: set[str] = set()
    for group in sweep.together:
        for key in group if isinstance(group, list) else [group]:
            if key not in sweep.vary:
                raise UserError(f"{source}: together names {key!r}, which does not stand under [vary].")
            if key in seen:
                raise UserError(f"{source}: together names {key} twice.")
            seen.add(key)
    if sweep.options.sweep.seeds > 1 and ("training.seed" in sweep.vary or "training.seed" in sweep.rules):
        raise UserError(f"{source}: give either sweep.seeds or values for training.seed.")


def find_base(sweep: Sweep) -> Path:
    """The file of the base preset: beside the sweep's file, built in, the user's own, or a path."""
    text = sweep.base
    if not text:
        raise UserError(f"{sweep.name}: the sweep names no base. Write base = with a preset's name or file.")
    beside = (sweep.folder or Path()) / text
    own = paths.presets_folder() / f"{text}.toml"
    for path in (beside, paths.resolve(text), paths.builtin_presets_folder() / f"{text}.toml", own):
        if path.is_file():
            return path
    known = [path.stem for folder in (own.parent, paths.builtin_presets_folder()) for path in folder.glob("*.toml")]
    guess = presets.nearest(text, known)
    hint = f" Did you mean '{guess}'?" if guess else f" There are {', '.join(sorted(known))}."
    raise UserError(f"{sweep.name}: there is no preset '{text}' to start from.{hint}")


def base_values(sweep: Sweep) -> dict[str, Any]:
    """Complete values of the base preset; UserError when it is missing or wrong."""
    return presets.flat(presets.load(find_base(sweep)))


def to_toml(sweep: Sweep) -> str:
    """The sweep as TOML."""
    document = tomlkit.document()
    for name in _HEAD:
        value = FORMAT if name == "format" else getattr(sweep, name)
        if value:
            document[name] = value
    if sweep.together:
        document["together"] = sweep.together
    _add(document, "vary", {key: _told(values) for key, values in sweep.vary.items()})
    _add(document, "set", sweep.fixed)
    _add(document, "rules", sweep.rules)
    if sweep.constants:
        document["constants"] = sweep.constants
    changed = presets.differences(sweep.options, SweepOptions())
    for page in SweepOptions.model_fields:
        table = {key.split(".")[1]: value for key, value in changed.items() if key.startswith(f"{page}.")}
        if table:
            document[page] = table
    return tomlkit.dumps(document)


def _add(document: tomlkit.TOMLDocument, name: str, values: Mapping[str, Any]) -> None:
    """A table of settings with dotted keys."""
    if not values:
        return
    table = tomlkit.table()
    for key, value in values.items():
        table.append(tomlkit.key(key.split(".")), tomlkit.item(value))
    document[name] = table


def _told(values: Values) -> Any:
    if not isinstance(values, Range):
        return values
    table = tomlkit.inline_table()
    table.update({name: getattr(values, name) for name in Range.__slots__})
    return table


def save(path: Path, sweep: Sweep) -> None:
    """Write a sweep file; UserError when it cannot be written."""
    try:
        atomic.write_text(path, to_toml(sweep))
    except OSError as error:
        raise UserError(f"{path}: the sweep cannot be saved ({error.strerror or error}).") from None
