"""The preset in the making: takes values that this version has and allows, and says why it takes others not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core import presets
from core.errors import UserError
from core.schema import Entry

#: Said of options that come with another version.
NOT_HERE = "not in this version"

_LARGEST = 1e15


class Draft:
    """Values by key, each one checked when it comes."""

    def __init__(self) -> None:
        self._entries = presets.entries()
        self.values: dict[str, Any] = {}

    def has(self, key: str, value: object = None) -> bool:
        """Whether this version has an option (and, of a menu, the choice `value`)."""
        entry = self._entries.get(key)
        return entry is not None and (value is None or not entry.choices or str(value) in entry.choices)

    def put(self, key: str, value: Any) -> str:
        """Set an option; "" when it was taken, otherwise why it was not, as a note for people."""
        entry = self._entries.get(key)
        if entry is None:
            return f"{NOT_HERE} ({key})"
        try:
            typed = _typed(entry, value)
        except (ValueError, OverflowError):
            return f"left out: {presets.explain(entry, key, value)}"
        if entry.kind == "choice" and typed not in entry.choices:
            return f"{NOT_HERE} ({key} = {typed})"
        try:
            presets.build({key: typed}, key)
        except UserError as error:
            return f"left out: {str(error).removeprefix(f'{key}: ')}"
        self.values[key] = typed
        return ""

    def by_alias(self, name: str, table: str = "") -> str:
        """The option that calls itself by a name of kohya's (of one table, if given), "" when none does."""
        for key, entry in self._entries.items():
            if (not table or entry.page == table) and (name in entry.option.aliases or (table and entry.field == name)):
                return key
        return ""

    def first(self, keys: Sequence[str]) -> str:
        """The first of several names that this version has, "" for none."""
        return next((key for key in keys if key in self._entries), "")


def _typed(entry: Entry, value: Any) -> Any:
    """A value of the option's kind; ValueError when it is none."""
    if entry.kind == "bool":
        return on(value)
    if entry.kind == "float":
        return number(value)
    if entry.kind == "int":
        found = number(value)
        if not found.is_integer():
            raise ValueError(value)
        return int(found)
    if entry.kind == "tables":
        return value
    if entry.kind == "list":
        return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
    return str(value)


def number(value: Any) -> float:
    """A number as kohya's files write it ("1e-4", 5, " 0.05 ").

    ValueError for anything else; also for nan, infinities, and what is so large that counting with it would overflow.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not a number")
    found = float(str(value).strip())
    if not abs(found) <= _LARGEST:
        raise ValueError(f"{value!r} is no sensible number")
    return found


def on(value: Any) -> bool:
    """Whether a switch is on: True, or a text that does not say no."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "false", "0", "no", "none", "off")
    return bool(value)
