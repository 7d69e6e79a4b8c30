"""The reference of every setting as HTML, from the schema alone."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from PySide6.QtGui import QBrush, QColor, QTextBlockFormat, QTextCursor, QTextDocument, QTextFrameFormat, QTextTable

from gui import theme
from gui.forms.row import range_words, spoken
from gui.forms.search import choice_label

if TYPE_CHECKING:
    from core.schema import Entry
    from gui.settings_model import SettingsModel

_KINDS = {
    "bool": "on or off",
    "int": "whole number",
    "float": "number",
    "choice": "choice",
    "list": "list of texts",
    "str": "text",
    "tables": "list of tables",
}


def style() -> str:
    """The style sheet of the reference in the colours of the theme."""
    tokens = theme.current()
    return (
        f"h1 {{ font-size: x-large; font-weight: 600; }} h2 {{ font-size: large; font-weight: 600; margin-top: 24px; }}"
        f"h3 {{ font-size: medium; font-weight: 600; margin-top: 20px; margin-bottom: 0px; }}"
        f"p {{ margin-top: 4px; margin-bottom: 4px; }} .dim {{ color: {tokens.dim}; }}"
        f"code {{ color: {tokens.dim}; }} a {{ color: {tokens.accent}; }}"
    )


def _choices(entry: Entry) -> str:
    """The menu of a choice, with what each is for."""
    if not entry.option.choices:
        return f"<p class='dim'>One of: {escape(', '.join(entry.choices))}.</p>" if entry.choices else ""
    from core import registry

    lines = []
    for name in entry.choices:
        help_text = str(getattr(registry.component(entry.option.choices, name), "HELP", ""))
        lines.append(f"<li><b>{escape(choice_label(entry.option.choices, name))}</b> {escape(help_text)}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def entry_html(entry: Entry) -> str:
    """One option: label, key, what it is, why one would change it, its names elsewhere."""
    facts = [
        _KINDS.get(entry.kind, entry.kind),
        f"default {spoken(entry, entry.default)}",
        range_words(entry),
    ]
    if entry.option.level == "advanced":
        facts.append("advanced")
    about = escape(" · ".join(fact.rstrip(".") for fact in facts if fact))
    parts = [
        f"<h3><a name='{escape(entry.key)}'></a>{escape(entry.option.label)}</h3>",
        f"<p class='dim'><code>{escape(entry.key)}</code> &nbsp; {about}</p>",
        f"<p>{escape(entry.option.help)}</p>",
        _choices(entry),
    ]
    if entry.option.aliases:
        parts.append(f"<p class='dim'>In other trainers: {escape(', '.join(entry.option.aliases))}</p>")
    parts.append(f"<p><a href='field:{escape(entry.key)}'>Show it in Training</a></p>")
    return "".join(parts)


def section_html(settings: SettingsModel, title: str, keys: Iterable[str]) -> str:
    """All options of a section; those of a component under its name."""
    parts = [f"<h1>{escape(title)}</h1>"]
    owner = ""
    for key in keys:
        entry = settings.entries[key]
        if entry.owner != owner and entry.owner:
            parts.append(f"<h2>Options of {escape(choice_label(*entry.owner.split('.', 1)))}</h2>")
        owner = entry.owner
        parts.append(entry_html(entry))
    return "".join(parts)


def found_html(settings: SettingsModel, text: str, keys: Iterable[str]) -> str:
    """The options that a search found."""
    found = list(keys)
    if not found:
        return (
            "<h1>Nothing is called that</h1><p class='dim'>Try a part of the word, or the name that another trainer "
            "gives it.</p>"
        )
    title = f"<h1>{len(found)} setting{'s' if len(found) != 1 else ''} for “{escape(text)}”</h1>"
    return title + "".join(entry_html(settings.entries[key]) for key in found)


def loosen(document: QTextDocument) -> None:
    """Give the lines air and the tables room, as the rest of the window has."""
    cursor = QTextCursor(document)
    cursor.select(QTextCursor.SelectionType.Document)
    spaced = QTextBlockFormat()
    spaced.setLineHeight(135, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
    cursor.mergeBlockFormat(spaced)
    for frame in document.rootFrame().childFrames():
        if isinstance(frame, QTextTable):
            _rule(frame)


def _rule(table: QTextTable) -> None:
    """Room in a table's cells, and a line below each row."""
    shape = table.format()
    shape.setCellPadding(7)
    shape.setCellSpacing(0)
    shape.setBorder(0)
    shape.setBorderCollapse(True)
    shape.setTopMargin(12)
    shape.setBottomMargin(12)
    table.setFormat(shape)
    line = QBrush(QColor(theme.current().border))
    for row in range(table.rows()):
        for place in range(table.columns()):
            cell = table.cellAt(row, place)
            look = cell.format().toTableCellFormat()
            look.setBottomBorder(1)
            look.setBottomBorderBrush(line)
            look.setBottomBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
            cell.setFormat(look)
