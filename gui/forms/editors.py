"""One editor per kind of value. make() picks by the type of the field, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSizePolicy, QWidget

from gui.forms.choices import ChoiceBox
from gui.forms.numbers import NumberEdit, linear_step
from gui.widgets.basics import set_property
from gui.widgets.switch import Switch

if TYPE_CHECKING:
    from core.schema import Entry

NUMBER_WIDTH, CHOICE_WIDTH, TEXT_WIDTH = 176, 288, 400


class Editor(QWidget):
    """Base of the editors: shows a value and tells what is typed, at once.

    Signals:
        edited: A new value from the user; possibly an impossible one, as typed.
        left: The user has left the field.
    """

    edited = Signal(object)
    left = Signal()

    #: Shows a value that came from elsewhere (a preset, undo); does not tell it as edited. Each editor has its own.
    show_value: Callable[[Any], None]

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry
        self.box = QHBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(4)

    def field(self) -> QWidget:
        """The widget that takes the keyboard and shows the colour of a problem."""
        return self._field

    def adopt(self, field: QWidget, *beside: QWidget) -> None:
        """Put the field in, with what belongs beside it, and let it stand for the editor."""
        self._field = field
        self.box.addWidget(field, 100)
        for widget in beside:
            self.box.addWidget(widget)
        self.box.addStretch(1)
        self.setFocusProxy(field)
        field.setAccessibleName(self.entry.option.label)
        field.setAccessibleDescription(self.entry.option.help)

    def add_mark(self, mark: QWidget) -> None:
        """Put a small button right after the field."""
        self.box.insertWidget(self.box.count() - 1, mark, 0, Qt.AlignmentFlag.AlignTop)

    def show_problem(self, severity: str) -> None:
        """Colour the field: "error", "warning" or ""."""
        set_property(self.field(), "problem", severity)


class BoolEditor(Editor):
    """A switch."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._switch = Switch()
        self.adopt(self._switch)
        self._switch.clicked.connect(lambda on: self.edited.emit(on))
        self._switch.clicked.connect(lambda _: self.left.emit())
        self.setFixedHeight(32)

    def show_value(self, value: Any) -> None:
        """On or off."""
        self._switch.setChecked(value is True)


class NumberEditor(Editor):
    """A number field with its unit inside."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        option = entry.option
        self._edit = NumberEdit("%" if option.editor == "percent" else option.unit)
        self._edit.percent = option.editor == "percent"
        self._edit.logarithmic = option.editor == "log"
        self._edit.whole = entry.kind == "int"
        self._edit.low, self._edit.high = entry.low, entry.high
        low, high = option.usual or (entry.low, entry.high)
        self._edit.step = linear_step(low, high, self._edit.whole)
        self._edit.setMinimumWidth(96)
        self._edit.setMaximumWidth(NUMBER_WIDTH)
        self.adopt(self._edit)
        self._value: Any = None
        self._edit.textEdited.connect(self._tell)
        self._edit.editingFinished.connect(self._finish)

    def show_value(self, value: Any) -> None:
        """Show the number, but do not rewrite what is being typed."""
        self._value = value
        if not (self._edit.hasFocus() and self._edit.isModified() and self._edit.number() == value):
            self._edit.show_value(value)

    def _tell(self, text: str) -> None:
        number = self._edit.number()
        if number is None and self.entry.optional and not text.strip():
            self.edited.emit(None)
        else:
            self.edited.emit(text if number is None else number)

    def _finish(self) -> None:
        self._edit.setModified(False)
        self._edit.show_value(self._value)
        self.left.emit()


class ChoiceEditor(Editor):
    """A menu."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._box = ChoiceBox(entry.choices, entry.option.choices)
        self._box.setMinimumWidth(112)
        self._box.setMaximumWidth(CHOICE_WIDTH)
        self.adopt(self._box)
        self._box.activated.connect(lambda _: self.edited.emit(self._box.currentData()))
        self._box.activated.connect(lambda _: self.left.emit())

    def show_value(self, value: Any) -> None:
        """Choose the value; one that is not in the menu is shown all the same."""
        self._box.choose(str(value))


class TextEditor(Editor):
    """One line of text."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._edit = QLineEdit()
        self._edit.setMaximumWidth(TEXT_WIDTH)
        self.adopt(self._edit)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._edit.textEdited.connect(lambda text: self.edited.emit(text))
        self._edit.editingFinished.connect(self.left)

    def show_value(self, value: Any) -> None:
        """Show the text; the cursor stays where it is when nothing changes."""
        if self._edit.text() != str(value):
            self._edit.setText(str(value))


def _list_editor(entry: Entry) -> Editor:
    from gui.forms.lists import FolderListEditor, LinesEditor
    from gui.forms.ticks import TickListEditor

    if entry.choices:
        return TickListEditor(entry)
    return FolderListEditor(entry) if entry.option.editor == "folder" else LinesEditor(entry)


def _text_editor(entry: Entry) -> Editor:
    from gui.forms.lists import LongTextEditor
    from gui.forms.path_edit import PathEditor

    if entry.option.editor in ("path", "folder"):
        return PathEditor(entry)
    return LongTextEditor(entry) if entry.option.editor in ("text", "lines") else TextEditor(entry)


def _tables_editor(entry: Entry) -> Editor:
    from gui.forms.tables import TablesEditor

    return TablesEditor(entry)


_EDITORS: dict[str, Callable[[Entry], Editor]] = {
    "bool": BoolEditor,
    "int": NumberEditor,
    "float": NumberEditor,
    "choice": ChoiceEditor,
    "list": _list_editor,
    "str": _text_editor,
    "tables": _tables_editor,
}


def make(entry: Entry) -> Editor:
    """The editor for a kind of value."""
    return _EDITORS[entry.kind](entry)
