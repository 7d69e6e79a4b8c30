"""The picture folders, each with what its rules say; rules are edited in a form made from their declaration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from gui.forms.row import FieldRow, spoken
from gui.settings_model import SettingsModel
from gui.widgets.basics import Scroller, button, column, label, row, set_icon, tool
from gui.widgets.elided import Elided
from gui.widgets.repeats_offer import RepeatsOffer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from core.schema import Entry


class FoldersPanel(QWidget):
    """The list.

    Signals:
        folders_edited: The new list of folders.
        rules_edited: The new list of rules, each with what differs from the defaults.
    """

    folders_edited = Signal(object)
    rules_edited = Signal(object)

    def __init__(self, folders: Entry, rules: Entry | None) -> None:
        super().__init__()
        self._entry = folders
        self._table = rules.table if rules is not None else None
        self._folders: list[str] = []
        self._rules: list[dict[str, Any]] = []
        self.lines: list[FolderLine] = []
        self._list = QVBoxLayout()
        self._list.setSpacing(2)
        self.add_folder = button("Add a folder…", "plus")
        self.add_archive = button("Archive…", "plus", "quiet", "Pictures in a .tar file, used without unpacking it")
        self.add_folder.clicked.connect(self.browse)
        self.add_archive.clicked.connect(self.browse_archive)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        self.offer = RepeatsOffer()
        self.offer.taken.connect(lambda rules: self.rules_edited.emit([*self._rules, *rules]))
        layout.addLayout(self._list)
        layout.addWidget(self.offer)
        layout.addLayout(row(self.add_folder, self.add_archive, None))

    @property
    def path_field(self) -> str:
        """The field of a rule that names its folder: the one that holds a path."""
        from core.schema import fields

        entries = fields(self._table, "rules") if self._table is not None else ()
        return next((entry.field for entry in entries if entry.option.editor == "folder"), "")

    def show_folders(self, folders: Sequence[str], rules: Sequence[Any]) -> None:
        """Show these; rules of folders inside others get a line of their own below."""
        self._folders = list(folders)
        self._rules = [dict(one) if isinstance(one, dict) else one.model_dump() for one in rules if one]
        for old in self.lines:
            self._list.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.lines = []
        inner = [rule[self.path_field] for rule in self._rules if rule.get(self.path_field)]
        self.offer.follow(self._folders, inner)
        for folder in [*self._folders, *(path for path in inner if path not in self._folders)]:
            line = FolderLine(folder, self._words(folder), folder in self._folders, self._table is not None)
            line.rules_wanted.connect(self.edit_rules)
            line.removed.connect(self.remove)
            self._list.addWidget(line)
            self.lines.append(line)

    def rule_of(self, folder: str) -> dict[str, Any]:
        """What the rules of a folder say otherwise than the defaults."""
        found = next((rule for rule in self._rules if rule.get(self.path_field) == folder), {})
        return {name: value for name, value in found.items() if name != self.path_field}

    def _words(self, folder: str) -> str:
        from core.schema import fields

        rule = self.rule_of(folder)
        if not rule or self._table is None:
            return ""
        entries = {entry.field: entry for entry in fields(self._table, "rules")}
        said = [
            f"{entries[name].option.label.lower()} {spoken(entries[name], value)}"
            for name, value in rule.items()
            if name in entries and value != entries[name].default
        ]
        return ", ".join(said)

    # -- changing ---------------------------------------------------------------------------------------------

    def add(self, paths: Sequence[str]) -> None:
        """Append folders and archives that are not in the list yet."""
        new = [path for path in paths if path and path not in self._folders]
        if new:
            self.folders_edited.emit([*self._folders, *new])
            if self._table is not None:
                self.offer.look_at(new)

    def browse(self) -> None:
        """Ask for a folder."""
        self.add([QFileDialog.getExistingDirectory(self, self._entry.option.label, self._start())])

    def browse_archive(self) -> None:
        """Ask for archives."""
        found, _ = QFileDialog.getOpenFileNames(self, "Choose archives", self._start(), "Archives (*.tar)")
        self.add(found)

    def _start(self) -> str:
        real = [folder for folder in self._folders if os.path.exists(folder)]  # noqa: PTH110
        return str(Path(real[-1]).parent) if real else str(Path.home())

    def remove(self, folder: str) -> None:
        """Take a folder out of the list, or the rules of one inside another; the pictures stay where they are."""
        if folder in self._folders:
            self.folders_edited.emit([one for one in self._folders if one != folder])
        if self.rule_of(folder):
            self._put(folder, {})

    def edit_rules(self, folder: str) -> None:
        """Open the form of a folder's rules."""
        if self._table is None:
            return
        dialog = RulesDialog(self._table, folder, self.rule_of(folder), self)
        dialog.accepted.connect(lambda: self._put(folder, dialog.values()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _put(self, folder: str, values: dict[str, Any]) -> None:
        others = [rule for rule in self._rules if rule.get(self.path_field) != folder]
        self.rules_edited.emit([*others, {self.path_field: folder, **values}] if values else others)


class FolderLine(QFrame):
    """One folder.

    Signals:
        rules_wanted, removed: Its path.
    """

    rules_wanted = Signal(str)
    removed = Signal(str)

    def __init__(self, folder: str, words: str, whole: bool, has_rules: bool) -> None:
        super().__init__()
        self.folder, self.words = folder, words
        self.setToolTip(folder)
        name = Elided(Path(folder).name or folder, "value")
        about = Elided(words or ("" if whole else "rules of its own"), "dim")
        rules = tool("training", f"Rules of {folder}: how often it is shown, held out, masked …")
        remove = tool("close", "Take it out of the list; the pictures stay where they are", size=14)
        rules.setVisible(has_rules)
        rules.clicked.connect(lambda: self.rules_wanted.emit(folder))
        remove.clicked.connect(lambda: self.removed.emit(folder))
        set_icon(rules, "training", "accent" if words else "dim", 16)
        lines = column(name, about, spacing=0)
        about.setVisible(bool(about.text()))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0 if whole else 16, 2, 0, 2)
        layout.setSpacing(4)
        layout.addLayout(lines, 1)
        layout.addWidget(rules)
        layout.addWidget(remove)


class RulesDialog(QDialog):
    """The rules of one folder: a row for each field that is no path, by its kind."""

    def __init__(self, table: type[BaseModel], folder: str, values: dict[str, Any], parent: QWidget) -> None:
        super().__init__(parent)
        from pydantic import Field, create_model

        self.setWindowTitle("Rules of a folder")
        self.resize(640, 560)
        self._table = table
        whole = create_model("FolderRulesPage", rules=(table, Field(default_factory=table)))
        self.model = SettingsModel(whole, check=lambda _: (), parent=self)
        for name, value in values.items():
            if f"rules.{name}" in self.model.entries:
                self.model.set(f"rules.{name}", value)
        entries = [entry for entry in self.model.entries.values() if entry.option.editor != "folder"]
        self.rows = {entry.field: FieldRow(self.model, entry) for entry in entries}
        self.model.value_changed.connect(self._changed)
        self.model.problems_changed.connect(self._show_problems)
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.connect(self._show_help)
        cancel, self.done_button = button("Cancel"), button("Use these rules", look="primary")
        cancel.clicked.connect(self.reject)
        self.done_button.clicked.connect(self.accept)
        where = label(folder, "dim", wrap=True)
        title = label(Path(folder).name or folder, "heading", wrap=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(12)
        layout.addWidget(title)
        layout.addWidget(where)
        layout.addWidget(Scroller(*self.rows.values(), spacing=12), 1)
        layout.addLayout(row(None, cancel, self.done_button))

    def _changed(self, key: str) -> None:
        self.rows[key.split(".", 1)[1]].refresh()

    def _show_help(self, _: QWidget | None, now: QWidget | None) -> None:
        """The help of the row that has the keyboard."""
        for one in self.rows.values():
            one.set_active(now is not None and one.isAncestorOf(now))

    def _show_problems(self) -> None:
        for one in self.rows.values():
            one.refresh_problem()
        self.done_button.setEnabled(not self.model.errors())

    def values(self) -> dict[str, Any]:
        """What differs from the defaults."""
        from core.schema import sparse

        values = {name: self.model.value(one.entry.key) for name, one in self.rows.items()}
        return dict(sparse(self._table, [values])[0])
