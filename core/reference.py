"""The reference of all settings as Markdown, made from their declarations."""

from __future__ import annotations

from pydantic import BaseModel

from core import registry
from core.caption_job import caption_model
from core.grid import GridSettings
from core.quantities import show_number, type_number
from core.schema import Entry, fields, walk
from core.settings import settings_model
from core.sweep.options import SweepOptions

_HEAD = """# Settings

Made by `python3 main.py docs` from the declarations in `core/settings` and in the components' own files; do not edit.
Keys are those of presets (`[training]` `batch_size = 4`) and of the command line (`--set training.batch_size=4`).
"""


def reference(model: type[BaseModel] | None = None) -> str:
    """All options of a settings model (default: runs, grids, captioning jobs, sweeps), page by page."""
    if model is not None:
        return "\n".join(_pages(model))
    parts = [_HEAD, *_pages(settings_model()), "# Settings of a grid\n", *_pages(GridSettings)]
    parts += ["# Settings of a captioning job\n", *_pages(caption_model())]
    parts += ["# Options of a sweep\n", *_pages(SweepOptions)]
    return "\n".join(parts).rstrip() + "\n"


def _pages(model: type[BaseModel]) -> list[str]:
    lines: list[str] = []
    page = ""
    for entry in walk(model):
        if entry.page != page:
            page = entry.page
            lines.append(_page_title(model, entry))
        lines.append(_option(entry))
    return lines


def _page_title(model: type[BaseModel], entry: Entry) -> str:
    section = model.model_fields[entry.page].annotation
    title = getattr(section, "title", "")
    if entry.owner:
        folder, name = entry.owner.split(".")
        option = registry.CHOOSERS[folder]
        return f'## [{entry.page}] {registry.label(folder, name)}\n\nCounts when `{option} = "{name}"`.\n'
    return f"## [{entry.page}] {title or entry.page}\n"


def _option(entry: Entry) -> str:
    """One option as a paragraph."""
    option = entry.option
    facts = [f"default `{_show(entry.default)}`{' ' + option.unit if option.unit else ''}"]
    if limits := entry.range_text():
        facts.append(limits)
    if option.usual:
        facts.append(f"usually {show_number(option.usual[0])} to {show_number(option.usual[1])}")
    if option.when:
        values = " or ".join(f"`{_show(value)}`" for value in option.when[1])
        facts.append(f"counts when `{option.when[0]}` is {values}")
    if option.level == "advanced":
        facts.append("advanced")
    lines = [f"### `{entry.key}`", "", f"**{option.label}.** {option.help}", "", f"*{'; '.join(facts)}.*", ""]
    if entry.choices:
        lines += [*(_choice(entry, name) for name in entry.choices), ""]
    if entry.table:
        lines += [*(_inner(one) for one in fields(entry.table, entry.key)), ""]
    if option.aliases:
        lines += [f"In other trainers: {', '.join(f'`{alias}`' for alias in option.aliases)}.", ""]
    return "\n".join(lines)


def _inner(entry: Entry) -> str:
    """One field of a list of tables as an item of a list."""
    facts = [f"default `{_show(entry.default)}`{' ' + entry.option.unit if entry.option.unit else ''}"]
    facts += [text for text in (entry.range_text(), _one_of(entry)) if text]
    return f"- `{entry.field}`: {entry.option.label}. {entry.option.help} *{'; '.join(facts)}.*"


def _one_of(entry: Entry) -> str:
    return f"one of {', '.join(f'`{name}`' for name in entry.choices)}" if entry.choices else ""


def _choice(entry: Entry, name: str) -> str:
    if not entry.option.choices:
        return f"- `{name}`"
    module = registry.component(entry.option.choices, name)
    return f"- `{name}`: {module.LABEL}. {getattr(module, 'HELP', '')}".rstrip()


def _show(value: object) -> str:
    """A value as it is written in a preset."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return type_number(value)
    return f'"{value}"' if isinstance(value, str) else str(value)
