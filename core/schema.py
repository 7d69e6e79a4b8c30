"""The settings language: opt() declares one option, walk() lists them all; forms, CLI, presets and docs are derived."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from core.quantities import show_number

Level = Literal["basic", "advanced"]
Editor = Literal["", "log", "path", "folder", "text", "lines", "percent"]


class Section(BaseModel):
    """Base of every settings page and component table: unknown keys are errors, assignments are validated."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


@dataclass(frozen=True, slots=True)
class Option:
    """What opt() keeps beside a pydantic field.

    Attributes:
        label: Short name in the form.
        help: One or two sentences that say why someone would change it.
        unit: Shown inside the editor ("px", "steps", "W").
        usual: Range outside which the form warns (inclusive); hard limits are ge/gt/le/lt of the field.
        group: Section of the form; options of one page may form several.
        level: "basic" is always shown, "advanced" behind "more".
        when: (key, values): visible only while the option `key` has one of `values`.
        choices: Name of a component folder whose files are the menu ("optimizers").
        aliases: Names of the same option in other trainers; search and import use them.
        editor: A hint by kind of value, never by name of option: "log", "path", "folder", "text", "lines".
    """

    label: str
    help: str
    unit: str = ""
    usual: tuple[float, float] | None = None
    group: str = ""
    level: Level = "basic"
    when: tuple[str, tuple[Any, ...]] | None = None
    choices: str = ""
    aliases: tuple[str, ...] = ()
    editor: Editor = ""


def opt(
    default: Any,
    *,
    label: str,
    help: str,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    usual: tuple[float, float] | None = None,
    group: str = "",
    level: Level = "basic",
    when: tuple[str, Any] | None = None,
    choices: str = "",
    aliases: tuple[str, ...] = (),
    editor: Editor = "",
) -> Any:
    """Declare one option; the only place where it is named besides the line that uses it."""
    shown_when = None
    if when is not None:
        values = when[1] if isinstance(when[1], tuple) else (when[1],)
        shown_when = (when[0], values)
    meta = Option(label, help, unit, usual, group, level, shown_when, choices, aliases, editor)
    extra: dict[str, Any] = {"option": meta}
    if isinstance(default, list | dict):
        value = default
        return Field(default_factory=lambda: value.copy(), json_schema_extra=extra)
    return Field(default, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra)


@dataclass(frozen=True, slots=True)
class Entry:
    """One option as walk() finds it: where it is, what it may hold, and what it means.

    Attributes:
        key: "page.field", the name in presets, on the command line and in errors.
        page: First part of the key; for a component's own option the component's name.
        kind: "bool", "int", "float", "str", "choice", "list" (of str) or "tables" (a list of `table`s).
        low, high: Hard limits (inclusive unless low_open / high_open), None where there is none.
        choices: Allowed values of a "choice", or of each item of a "list" ("list" without: any texts).
        owner: "group.name" of the component a table belongs to ("methods.lora"), "" for a page.
        table: The Section of each item of "tables"; fields() lists what it has. None for other kinds.
    """

    key: str
    page: str
    field: str
    kind: str
    default: Any
    option: Option
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    optional: bool = False
    owner: str = ""
    table: type[Section] | None = None

    def range_text(self) -> str:
        """The hard range in words, "" where there is none."""
        left = "" if self.low is None else f"{'above' if self.low_open else 'at least'} {show_number(self.low)}"
        right = "" if self.high is None else f"{'below' if self.high_open else 'at most'} {show_number(self.high)}"
        return " and ".join(part for part in (left, right) if part)


def _kind(annotation: Any) -> tuple[str, tuple[str, ...], bool]:
    """Return (kind, literal choices, may be None) of a field's annotation."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        optional = len(inner) < len(get_args(annotation))
        annotation = inner[0]
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(a) for a in get_args(annotation)), optional
    if get_origin(annotation) is list:
        inner = get_args(annotation)[0]
        if isinstance(inner, type) and issubclass(inner, Section):
            return "tables", (), optional
        return "list", tuple(str(a) for a in get_args(inner)) if get_origin(inner) is Literal else (), optional
    for python_type, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
        if annotation is python_type:
            return name, (), optional
    raise TypeError(f"opt() does not know fields of type {annotation!r}")


def _limits(info: FieldInfo) -> dict[str, Any]:
    """Hard limits out of pydantic's metadata (annotated_types' Ge, Gt, Le, Lt)."""
    found: dict[str, Any] = {}
    for rule in info.metadata:
        for attribute, side in (("ge", "low"), ("gt", "low"), ("le", "high"), ("lt", "high")):
            value = getattr(rule, attribute, None)
            if value is not None:
                found[side] = float(value)
                found[f"{side}_open"] = attribute in ("gt", "lt")
    return found


def option_of(info: FieldInfo) -> Option:
    """The Option that opt() left in a field; TypeError if the field was not declared with opt()."""
    extra = info.json_schema_extra
    option = extra.get("option") if isinstance(extra, dict) else None
    if not isinstance(option, Option):
        raise TypeError("every settings field is declared with opt()")
    return option


def walk(model: type[BaseModel]) -> Iterator[Entry]:
    """Yield every option of a settings model in order of declaration.

    `model` has one Section per page or component table; each Section's fields are made by opt().
    """
    for page, page_info in model.model_fields.items():
        section = page_info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            owner = str((page_info.json_schema_extra or {}).get("owner", ""))  # type: ignore[union-attr]
            yield from fields(section, page, owner)


def fields(section: type[BaseModel], page: str, owner: str = "") -> Iterator[Entry]:
    """Every option of one Section: a page, a component's table, or the items of an option of kind "tables"."""
    from core import registry

    for name, info in section.model_fields.items():
        option = option_of(info)
        kind, choices, optional = _kind(info.annotation)
        if option.choices:
            kind, choices = "choice", tuple(registry.names(option.choices))
        yield Entry(
            f"{page}.{name}",
            page,
            name,
            kind,
            info.get_default(call_default_factory=True),
            option,
            choices,
            optional=optional,
            owner=owner,
            table=get_args(info.annotation)[0] if kind == "tables" else None,
            **_limits(info),
        )


def sparse(table: type[BaseModel], rows: Any) -> Any:
    """Items of "tables" with only what differs from the defaults: how presets and forms hold them.

    Anything that is no list of tables is given back as it is, for validation to complain about.
    """
    if not isinstance(rows, list | tuple):
        return rows
    defaults = {name: info.get_default(call_default_factory=True) for name, info in table.model_fields.items()}

    def differing(row: Any) -> Any:
        values = row.model_dump() if isinstance(row, BaseModel) else row
        if not isinstance(values, dict):
            return row
        return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}

    return [differing(row) for row in rows]


def unusual(entry: Entry, value: Any) -> str:
    """A warning when `value` is allowed but outside the usual range, "" otherwise."""
    usual = entry.option.usual
    if usual is None or not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    if usual[0] <= value <= usual[1]:
        return ""
    unit = f" {entry.option.unit}" if entry.option.unit else ""
    return f"usually between {show_number(usual[0])} and {show_number(usual[1])}{unit}"
