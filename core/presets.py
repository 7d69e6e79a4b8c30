"""Presets: sparse TOML overlays on the defaults (or on another preset), read strictly and written atomically."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

import tomlkit
from pydantic import BaseModel, ValidationError

from core import atomic, paths
from core.errors import UserError
from core.migrations import FORMAT, migrate
from core.quantities import parse_number
from core.schema import Entry, fields, sparse, walk
from core.settings import Settings, settings_model

#: Keys at the top of a preset that are not settings.
_HEAD = ("format", "name", "description", "base", "order")


@dataclass(slots=True)
class Preset:
    """A preset as it stands in its file.

    Attributes:
        values: {"page.field": value} of what the file says itself, without its base.
        base: Name of the built-in preset that it lies on, "" for the defaults.
        order: Place in the menu of the built-in ones.
    """

    name: str
    description: str = ""
    base: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    order: int = 100


def entries(model: type[BaseModel] | None = None) -> dict[str, Entry]:
    """Every option by its key."""
    return {entry.key: entry for entry in walk(model or settings_model())}


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key most like a misspelt one, "" when none is near. A right field on a wrong page is near."""
    names = list(known)
    last = key.rsplit(".", 1)[-1]
    same_field = [name for name in names if name.rsplit(".", 1)[-1] == last]
    if same_field:
        return same_field[0]
    found = difflib.get_close_matches(key, names, 1, 0.6)
    if not found:
        by_field = {name.rsplit(".", 1)[-1]: name for name in names}
        found = [by_field[m] for m in difflib.get_close_matches(last, list(by_field), 1, 0.7)]
    return found[0] if found else ""


def unknown_key(key: str, source: str, known: Iterable[str]) -> UserError:
    """The error for a key that no option has, naming the nearest known one."""
    guess = nearest(key, known)
    hint = f" Did you mean '{guess}'?" if guess else " The reference of all settings is in resources/docs/settings.md."
    return UserError(f"{source}: there is no setting '{key}'.{hint}")


def flatten(tables: Mapping[str, Any], source: str, model: type[BaseModel] | None = None) -> dict[str, Any]:
    """{"page": {"field": value}} to {"page.field": value}; a UserError for what is not a known key."""
    known = entries(model)
    values: dict[str, Any] = {}
    for page, table in tables.items():
        if page in _HEAD:
            continue
        if not isinstance(table, Mapping):
            raise unknown_key(page, source, known)
        for name, value in table.items():
            key = f"{page}.{name}"
            if key not in known:
                raise unknown_key(key, source, known)
            table = known[key].table
            values[key] = sparse(table, value) if table else value
    return values


Model = TypeVar("Model", bound=BaseModel)


@overload
def build(values: Mapping[str, Any], source: str) -> Settings: ...
@overload
def build(values: Mapping[str, Any], source: str, model: type[Model]) -> Model: ...
def build(values: Mapping[str, Any], source: str, model: type[Any] | None = None) -> Any:
    """Settings (or another model of pages) from flat values.

    Raises a UserError that names the first impossible value, its place and what is possible.
    """
    model = model or settings_model()
    known = entries(model)
    tables: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        page, name = key.split(".", 1)
        tables.setdefault(page, {})[name] = value
    try:
        settings = model.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][:2])
        entry = known.get(key)
        if entry and entry.table and len(first["loc"]) > 2:
            raise _wrong_row(entry, first["loc"][2:], first["input"], source) from None
        raise UserError(f"{source}: {explain(entry, key, first['input'])}") from None
    for key, value in values.items():
        entry = known[key]
        if entry.option.choices and value not in entry.choices:
            raise UserError(f"{source}: {explain(entry, key, value)}")
    return settings


def _wrong_row(entry: Entry, place: tuple[int | str, ...], value: object, source: str) -> UserError:
    """The error for one item of a list of tables; `place` is its number from 0 and, for one value of it, the field."""
    head = f"{source}: {entry.key}, entry {int(place[0]) + 1}"
    if len(place) == 1 or entry.table is None:
        return UserError(f"{head}: {value!r} is not possible: it must be a table.")
    known = {inner.field: inner for inner in fields(entry.table, entry.key)}
    name = str(place[1])
    if name not in known:
        guess = nearest(name, known)
        hint = f" Did you mean '{guess}'?" if guess else f" There are {', '.join(known)}."
        return UserError(f"{head}: there is no '{name}'.{hint}")
    return UserError(f"{head}: {explain(known[name], name, value)}")


def explain(entry: Entry | None, key: str, value: object) -> str:
    """One sentence: what is wrong with `value` and what would be right."""
    if entry is None:
        return f"{key} = {value!r} is not possible."
    if entry.choices:
        guess = difflib.get_close_matches(str(value), entry.choices, 1, 0.5)
        hint = f" Did you mean '{guess[0]}'?" if guess else ""
        return f"{key} = {value!r} is not one of {', '.join(entry.choices)}.{hint}"
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list of texts"}
    words["tables"] = "a list of tables"
    wanted = words.get(entry.kind, "a text")
    limits = entry.range_text()
    return f"{key} = {value!r} is not possible: it must be {wanted}{' ' + limits if limits else ''}."


def parse(text: str, source: str, model: type[BaseModel] | None = None) -> Preset:
    """Read a preset's text; UserError for broken TOML, unknown keys and newer formats."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source} is not valid TOML: {error}.") from None
    migrate(tables, source)
    head = {"name": Path(source).stem, "description": "", "base": "", "order": 100}
    for key, default in head.items():
        if type(tables.get(key, default)) is not type(default):
            wanted = "a text" if isinstance(default, str) else "a whole number"
            raise UserError(f"{source}: {key} = {tables[key]!r} is not possible: it must be {wanted}.")
    return Preset(
        name=tables.get("name", head["name"]),
        description=tables.get("description", ""),
        base=tables.get("base", ""),
        values=flatten(tables, source, model),
        order=tables.get("order", 100),
    )


def read(path: Path, model: type[BaseModel] | None = None) -> Preset:
    """Read a preset file; UserError when it is missing, unreadable or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8, so it is no preset.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from None
    preset = parse(text, str(path), model)
    preset.path = path
    return preset


def builtin() -> dict[str, Preset]:
    """The presets that ship with Burnish, by file name without .toml, in the order of their menu."""
    found = {path.stem: read(path) for path in paths.builtin_presets_folder().glob("*.toml")}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def full_values(preset: Preset, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The preset's values laid over those of its bases."""
    if not preset.base:
        return dict(preset.values)
    path = paths.builtin_presets_folder() / f"{preset.base}.toml"
    if preset.base in seen:
        raise UserError(f"The presets {' -> '.join((*seen, preset.base))} lie on each other in a circle.")
    if not path.is_file():
        known = [p.stem for p in paths.builtin_presets_folder().glob("*.toml")]
        guess = nearest(preset.base, known)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise UserError(f"{preset.path or preset.name}: there is no built-in preset '{preset.base}' to lie on.{hint}")
    return {**full_values(read(path), (*seen, preset.base)), **preset.values}


def load(path: Path, changes: Iterable[str] = ()) -> Settings:
    """Complete settings from a preset file and "group.field=value" changes from the command line."""
    preset = read(path)
    values = full_values(preset)
    values.update(parse_changes(changes))
    return build(values, str(path))


def parse_changes(changes: Iterable[str], model: type[BaseModel] | None = None) -> dict[str, Any]:
    """{"page.field": value} of --set arguments; UserError for a wrong form, key or value."""
    known = entries(model)
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        key = key.strip()
        if not equals:
            raise UserError(f"--set {change}: write it as group.field=value, for instance training.seed=7.")
        if key not in known:
            raise unknown_key(key, "--set", known)
        values[key] = parse_value(known[key], text.strip())
    return values


def parse_value(entry: Entry, text: str) -> Any:
    """A typed value from the text that a person wrote; UserError when it cannot be one."""
    if entry.kind == "bool":
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if text.lower() not in words:
            raise UserError(explain(entry, entry.key, text))
        return words[text.lower()]
    if entry.kind in ("int", "float"):
        try:
            number = parse_number(text)
        except ValueError as error:
            raise UserError(f"{entry.key}: {error}.") from None
        if entry.kind == "float":
            return number
        if not number.is_integer():
            raise UserError(explain(entry, entry.key, text))
        return int(number)
    if entry.kind == "list":
        return [str(value) for value in _parse_list(entry, text, "['a', 'b']")]
    if entry.table:
        example = f"[{{{next(iter(entry.table.model_fields))} = 'a'}}]"
        return sparse(entry.table, _parse_list(entry, text, example))
    return text


def _parse_list(entry: Entry, text: str, example: str) -> list[Any]:
    """A TOML list, or one text that stands for a list of one."""
    if not text.startswith("["):
        return [text] if text else []
    try:
        return list(tomllib.loads(f"x = {text}")["x"])
    except tomllib.TOMLDecodeError:
        raise UserError(f"{entry.key}: {text} is not a list; write it as {example}.") from None


def flat(settings: BaseModel) -> dict[str, Any]:
    """Every option's present value by key."""
    return {f"{page}.{name}": value for page, table in settings.model_dump().items() for name, value in table.items()}


def differences(settings: BaseModel, base: BaseModel) -> dict[str, Any]:
    """Values of `settings` that are not those of `base`; lists of tables without the fields at their defaults."""
    ground = flat(base)
    found = {key: value for key, value in flat(settings).items() if key not in ground or value != ground[key]}
    tables = {entry.key: entry.table for entry in walk(type(settings)) if entry.table}
    return {key: sparse(tables[key], value) if key in tables else value for key, value in found.items()}


def to_toml(values: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """TOML text of flat values, one table a page, with the head's keys on top."""
    document = tomlkit.document()
    document["format"] = FORMAT
    for key, value in head.items():
        if value not in ("", None):
            document[key] = value
    pages: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        page, name = key.split(".", 1)
        pages.setdefault(page, {})[name] = value
    for page, table in pages.items():
        document[page] = tomlkit.table()
        # Lists of tables end the table that they stand in, so they come last in it.
        for name in sorted(table, key=lambda name: _is_tables(table[name])):
            document[page][name] = table[name]
    return tomlkit.dumps(document)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def save(path: Path, settings: Settings, name: str, description: str = "", base: str = "") -> None:
    """Write a sparse preset: only what differs from its base (a built-in preset's name, or "" for the defaults).

    UserError when the file cannot be written.
    """
    ground: BaseModel = type(settings)()
    if base:
        ground = build(full_values(Preset(name=base, base=base)), base)
    text = to_toml(differences(settings, ground), {"name": name, "description": description, "base": base})
    try:
        atomic.write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: the preset cannot be saved ({error.strerror or error}).") from None


def freeze(path: Path, settings: BaseModel) -> None:
    """Write complete settings: every option, so that a run can be repeated whatever later versions' defaults are."""
    atomic.write_text(path, to_toml(flat(settings), {}))


def thaw(path: Path) -> Settings:
    """Read frozen settings of this or an older version."""
    return build(read(path).values, str(path))
