"""A sweep as a person types it in a form: one draft per setting that varies, read into a Sweep and written back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core import presets
from core.errors import UserError
from core.quantities import parse_number, type_number
from core.schema import Entry
from core.sweep.file import Range, Sweep
from core.sweep.formulas import Formula, FormulaError
from core.sweep.options import SweepOptions
from core.sweep.plan import axis_values, show_value

Way = Literal["values", "linear", "log", "rule"]
#: What each way is called.
WAYS: dict[Way, str] = {"values": "Values", "linear": "Even steps", "log": "Equal factors", "rule": "Rule"}


@dataclass
class Draft:
    """What is typed for one setting.

    Attributes:
        text: Values one after the other, or the formula.
        together: Whether it takes its values side by side with the setting above it.
    """

    key: str
    way: Way = "values"
    text: str = ""
    start: str = ""
    stop: str = ""
    count: str = "5"
    together: bool = False


def ways(entry: Entry) -> list[Way]:
    """The ways that make sense for a kind of option."""
    return ["values", "linear", "log", "rule"] if entry.kind in ("int", "float") else ["values"]


def can_vary(entry: Entry) -> bool:
    """Whether a form offers the option: lists of tables are for files."""
    return entry.kind != "tables"


def first_draft(entry: Entry, value: Any) -> Draft:
    """What stands there when a setting is added: rates around the present one, else the present value."""
    if entry.kind == "float" and entry.option.editor == "log" and value:
        return Draft(entry.key, "log", show_value(value), show_value(value / 4), show_value(value * 4))
    if entry.kind == "bool":
        return Draft(entry.key, text="off, on")
    return Draft(entry.key, text=_plain(entry, value))


def read_values(entry: Entry, text: str) -> list[Any]:
    """Values written one after the other: numbers and words with commas, texts and lists with semicolons between them.

    UserError for what the option cannot be.
    """
    by = ";" if entry.kind in ("str", "list") else "[,;]"
    parts = [part.strip() for part in re.split(by, text) if part.strip()]
    if not parts:
        raise UserError(
            f"{entry.option.label}: give its values, with {'semicolons' if by == ';' else 'commas'} between."
        )
    found = []
    for part in parts:
        if entry.kind == "list":
            found.append([item.strip() for item in part.split(",")])
        else:
            found.append(presets.parse_value(entry, part))
    return found


def read_draft(entry: Entry, draft: Draft) -> list[Any] | Range | str:
    """Values, range or formula of a draft; UserError with a sentence for people."""
    label = entry.option.label
    if draft.way == "values":
        return read_values(entry, draft.text)
    if draft.way == "rule":
        try:
            Formula(draft.text)
        except FormulaError as error:
            raise UserError(f"{label}: {error}.") from None
        return draft.text.strip()
    try:
        start, stop, count = (parse_number(text) for text in (draft.start, draft.stop, draft.count))
    except ValueError as error:
        raise UserError(f"{label}: {error}.") from None
    if not count.is_integer() or not 2 <= count <= 1000:
        raise UserError(f"{label}: {draft.count} is no number of values; it must be from 2 to 1000.")
    if draft.way == "log" and min(start, stop) <= 0:
        raise UserError(f"{label}: equal factors want numbers above 0.")
    return Range(start, stop, int(count), draft.way)


def show_draft(entry: Entry, draft: Draft) -> list[str]:
    """What a draft's values are, as short texts; none for a rule. UserError as read_draft()."""
    found = read_draft(entry, draft)
    return [] if isinstance(found, str) else [show_value(value) for value in axis_values(entry, found)]


def read_constants(text: str) -> dict[str, float]:
    """ "images = 1600, base_rate = 1e-4" as numbers by name; UserError for anything else."""
    found: dict[str, float] = {}
    for part in re.split(r"[,;\n]", text):
        if not part.strip():
            continue
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or not name.isidentifier():
            raise UserError(f"'{part.strip()}' is no number with a name; write it like images = 1600.")
        try:
            found[name] = parse_number(number)
        except ValueError as error:
            raise UserError(f"{name}: {error}.") from None
    return found


def show_constants(constants: dict[str, float]) -> str:
    """The same as text."""
    return ", ".join(f"{name} = {type_number(number)}" for name, number in constants.items())


def read_sweep(name: str, drafts: Sequence[Draft], constants: str, options: SweepOptions) -> Sweep:
    """The sweep of a whole form; UserError names the first setting that makes no sense."""
    known = presets.entries()
    sweep = Sweep(name=name.strip() or "Sweep", constants=read_constants(constants), options=options)
    groups: list[list[str]] = []
    for draft in drafts:
        found = read_draft(known[draft.key], draft)
        if isinstance(found, str):
            sweep.rules[draft.key] = found
            continue
        if draft.together and groups:
            groups[-1].append(draft.key)
        else:
            groups.append([draft.key])
        sweep.vary[draft.key] = found
    sweep.together = [group for group in groups if len(group) > 1]
    return sweep


def drafts_of(sweep: Sweep) -> list[Draft]:
    """The drafts that would be typed for a sweep; settings of a group stand one after the other."""
    known = presets.entries()
    drafts: dict[str, Draft] = {}
    for key in sweep.vary:
        group = next((group for group in sweep.together if key in group), [key])
        for place, member in enumerate(group):
            drafts.setdefault(member, _draft(known[member], sweep.vary[member], place > 0))
    return [*drafts.values(), *(Draft(key, "rule", text) for key, text in sweep.rules.items())]


def _draft(entry: Entry, values: list[Any] | Range, together: bool) -> Draft:
    if isinstance(values, Range):
        ends = (type_number(values.start), type_number(values.stop))
        return Draft(entry.key, values.scale, "", *ends, str(values.count), together)
    by = "; " if entry.kind in ("str", "list") else ", "
    return Draft(entry.key, text=by.join(_plain(entry, value) for value in values), together=together)


def _plain(entry: Entry, value: Any) -> str:
    """A value so that read_values() reads it back."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return type_number(value) if isinstance(value, int | float) else str(value)
