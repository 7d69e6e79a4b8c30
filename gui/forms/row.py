"""One option in a form: label, editor, mark of difference, the problem with it, and its help while it is focused."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

from core.quantities import show_number
from gui.forms import editors
from gui.forms.search import choice_label
from gui.widgets.basics import IconLabel, label, set_property, tool

if TYPE_CHECKING:
    from core.schema import Entry
    from gui.settings_model import SettingsModel

LABEL_WIDTH = 168
_TOKENS = {"error": "bad", "warning": "warn"}


def spoken(entry: Entry, value: Any) -> str:
    """A value as people read it, for tips: labels of choices, "on" and "off", short numbers with their unit."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{show_number(value)} {entry.option.unit}".strip()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    if entry.option.choices:
        return choice_label(entry.option.choices, str(value))
    return str(value) or "empty"


def range_words(entry: Entry) -> str:
    """The usual range, else the possible one, "" where there is neither."""
    unit = f" {entry.option.unit}" if entry.option.unit else ""
    if entry.option.usual:
        low, high = (show_number(number) for number in entry.option.usual)
        return f"Usually {low} to {high}{unit}."
    limits = entry.range_text()
    return f"{limits[0].upper()}{limits[1:]}{unit}." if limits else ""


def tooltip(entry: Entry) -> str:
    """Label, why one would change it, usual range, default, key; as rich text, so that long ones wrap."""
    facts = [range_words(entry), f"Default: {spoken(entry, entry.default)}."]
    if entry.option.aliases:
        facts.append(f"Elsewhere: {', '.join(entry.option.aliases)}.")
    rest = escape(" ".join(fact for fact in facts if fact))
    return (
        f"<p><b>{escape(entry.option.label)}</b></p><p>{escape(entry.option.help)}</p>"
        f"<p>{rest}</p><p><i>{escape(entry.key)}</i></p>"
    )


class FieldRow(QWidget):
    """Binds one option of a SettingsModel to an editor.

    Signals:
        help_requested: Key of the option whose page in Help is wanted.
    """

    help_requested = Signal(str)

    def __init__(self, settings: SettingsModel, entry: Entry, owned: bool = False) -> None:
        super().__init__()
        self.entry = entry
        self._settings = settings
        self._note: QWidget | None = None
        self._note_text: QLabel | None = None
        self._note_icon: IconLabel | None = None
        self._help: QLabel | None = None
        self._reason = ""
        self.title = label(entry.option.label, "owned" if owned else "", wrap=True)
        self.title.setFixedWidth(LABEL_WIDTH)
        self.title.setMinimumHeight(32)
        self.editor = editors.make(entry)
        self.title.setBuddy(self.editor)
        self.mark = tool("reset", "", "accent", 16)
        self.mark.setProperty("mark", True)
        self.mark.clicked.connect(lambda: settings.reset(entry.key))
        self.mark.setFixedSize(32, 32)
        self.editor.add_mark(self.mark)
        self._lay_out()
        tip = tooltip(entry)
        self.title.setToolTip(tip)
        self.editor.field().setToolTip(tip)
        self.editor.field().installEventFilter(self)
        self.editor.edited.connect(lambda value: settings.set(entry.key, value))
        self.editor.left.connect(settings.end_edit)
        self.refresh()

    def set_label_width(self, width: int) -> None:
        """Give the label less room in a narrow form."""
        self.title.setFixedWidth(width)

    def _lay_out(self) -> None:
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(4)
        self._grid.addWidget(self.title, 0, 0, Qt.AlignmentFlag.AlignTop)
        self._grid.addWidget(self.editor, 0, 1, Qt.AlignmentFlag.AlignTop)
        self._grid.setColumnStretch(1, 1)

    # -- following the model ----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the present value and whether it differs from the preset."""
        key = self.entry.key
        self.editor.show_value(self._settings.value(key))
        self.refresh_mark()

    def refresh_mark(self) -> None:
        """Show or hide the mark of difference."""
        key = self.entry.key
        differs = self._settings.differs(key)
        self.mark.setVisible(differs)
        if differs:
            before = spoken(self.entry, self._settings.preset_value(key))
            self.mark.setToolTip(f"Differs from the preset ({before}). Click to go back to it.")
            self.mark.setAccessibleName(f"Reset {self.entry.option.label}")

    def refresh_problem(self) -> None:
        """Show what speaks against the value, or why a search shows this row."""
        problem = self._settings.problem_of(self.entry.key)
        self.editor.show_problem(problem.severity if problem else "")
        if problem is not None:
            text = problem.text[0].upper() + problem.text[1:]
            self._show_note(text, problem.severity, _TOKENS[problem.severity])
        elif self._reason:
            self._show_note(self._reason, "dim", "dim")
        elif self._note is not None:
            self._note.hide()

    def set_reason(self, reason: str) -> None:
        """Say why a search shows this row; "" to say nothing."""
        if reason != self._reason:
            self._reason = reason
            self.refresh_problem()

    def _show_note(self, text: str, role: str, token: str) -> None:
        if self._note is None:
            self._note = QWidget()
            layout = QHBoxLayout(self._note)
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(6)
            self._note_icon = IconLabel("warning", token, 14)
            self._note_text = label("", role, wrap=True)
            layout.addWidget(self._note_icon, 0, Qt.AlignmentFlag.AlignTop)
            layout.addWidget(self._note_text, 1)
            self._grid.addWidget(self._note, 1, 1)
        if self._note_icon is not None and self._note_text is not None:
            self._note_icon.set({"bad": "error", "warn": "warning"}.get(token, "info"), token)
            set_property(self._note_text, "role", role)
            self._note_text.setText(text)
        self._note.show()

    # -- help while focused -----------------------------------------------------------------------------------

    def set_active(self, active: bool) -> None:
        """Show the help under the editor while the keyboard is in it."""
        if active and self._help is None:
            self._help = label("", "dim", wrap=True)
            self._help.setTextFormat(Qt.TextFormat.RichText)
            self._help.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
            self._help.linkActivated.connect(lambda _: self.help_requested.emit(self.entry.key))
            self._grid.addWidget(self._help, 2, 1)
        if self._help is not None:
            if active:
                self._help.setText(self._help_words())
            self._help.setVisible(active)

    def _help_words(self) -> str:
        parts = [escape(self.entry.option.help), escape(range_words(self.entry))]
        words = " ".join(part for part in parts if part)
        return f'<p style="line-height: 125%">{words} <a href="help">Read more</a></p>'

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave undo and redo to the window, so that they mean the settings and not the letters of one field."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
            if control and event.key() in (Qt.Key.Key_Z, Qt.Key.Key_Y):
                event.ignore()
                return True
        return super().eventFilter(watched, event)
