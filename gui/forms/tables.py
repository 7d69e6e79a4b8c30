"""Editor for a list of tables: one a line, as TOML writes it within braces."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import tomlkit
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QPlainTextEdit, QSizePolicy

from gui.forms.editors import TEXT_WIDTH, Editor

if TYPE_CHECKING:
    from core.schema import Entry


class TablesEditor(Editor):
    """Lines such as: path = "/pictures/one", repeats = 10. A line that cannot be read is told as its text."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._edit = _Area(self)
        fields = list(entry.table.model_fields) if entry.table else []
        self._edit.setPlaceholderText(f'One a line: {fields[0] if fields else "name"} = "…"')
        self._edit.setToolTip(", ".join(fields))
        self.adopt(self._edit)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._edit.textChanged.connect(lambda: self.edited.emit(self._rows()))

    def _rows(self) -> list[Any]:
        lines = (line.strip() for line in self._edit.toPlainText().splitlines())
        return [_row(line) for line in lines if line]

    def show_value(self, value: Any) -> None:
        """Show the tables with what differs from the defaults, unless the text says the same already."""
        from core.schema import sparse

        rows = sparse(self.entry.table, value) if self.entry.table else value
        if self._rows() == rows or not isinstance(rows, list):
            return
        self._edit.blockSignals(True)
        self._edit.setPlainText("\n".join(_line(row) for row in rows))
        self._edit.blockSignals(False)


class _Area(QPlainTextEdit):
    """Three lines of text that tell when they are left."""

    def __init__(self, owner: Editor) -> None:
        super().__init__()
        self._owner = owner
        self.setTabChangesFocus(True)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setMaximumWidth(TEXT_WIDTH)
        self.setFixedHeight(3 * self.fontMetrics().lineSpacing() + 20)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Tell that the field was left."""
        super().focusOutEvent(event)
        self._owner.left.emit()


def _row(line: str) -> Any:
    try:
        return tomllib.loads(f"x = {{{line}}}")["x"]
    except tomllib.TOMLDecodeError:
        return line


def _line(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    return ", ".join(f"{name} = {tomlkit.item(value).as_string()}" for name, value in row.items())
