"""Captions before and after an edit, with what goes struck through and what comes underlined."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QTextBrowser

from gui import theme

if TYPE_CHECKING:
    from core.data.caption_edit import Change

_PIECES = re.compile(r"\w+|\s+|[^\w\s]")


def marked(before: str, after: str) -> str:
    """Both texts as one line of HTML."""
    tokens = theme.current()
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    parts = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = escape("".join(old[a:b])), escape("".join(new[c:d]))
        if kind == "equal":
            parts.append(gone)
            continue
        if gone:
            parts.append(f'<span style="color:{tokens.bad};text-decoration:line-through">{gone}</span>')
        if come:
            parts.append(f'<span style="color:{tokens.good};text-decoration:underline">{come}</span>')
    return "".join(parts).replace("\n", "<br>")


class DiffView(QTextBrowser):
    """Examples of an edit."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Sequence[Change] = ()
        self.setAccessibleName("Examples of what changes")
        self.setOpenLinks(False)
        theme.signals().changed.connect(self._recolour)

    def _recolour(self, *_: object) -> None:
        self.show_changes(self._shown)

    def show_changes(self, changes: Sequence[Change]) -> None:
        """Show these."""
        self._shown = changes
        dim = theme.current().dim
        lines = [
            f'<p style="margin:0 0 10px 0"><span style="color:{dim}">{escape(PurePath(one.file).name)}'
            f"{' (new file)' if one.old is None else ' (file is removed)' if one.new is None else ''}</span><br>"
            f"{marked(one.before, one.after)}</p>"
            for one in changes
        ]
        self.setHtml("".join(lines))
