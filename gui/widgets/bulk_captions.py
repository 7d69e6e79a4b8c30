"""Edits many captions at once: what to do, on which pictures, what would change, and then the change itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QDialog,
    QGridLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from core.data.caption_edit import Edit, Kind, Part, Preview
from gui.widgets import caption_edits
from gui.widgets.basics import button, card, label, row
from gui.widgets.caption_diff import DiffView
from gui.widgets.caption_edits import CaptionJobs, Picked

_KINDS: dict[Kind, str] = {
    "replace": "Find and replace",
    "add": "Add",
    "remove": "Remove",
    "rename": "Rename a tag",
}
#: Milliseconds without a keystroke before the captions are looked at.
_PAUSE = 350
#: So many pictures are looked at while one types; more only when asked.
_AT_ONCE = 20_000


class BulkCaptions(QDialog):
    """Not modal: the grid beside it can be used, and what is picked there is offered here.

    Signals:
        changed: A sentence that says what was done; captions on the disk are others now.
        failed: A sentence for the user.
    """

    changed = Signal(str)
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Edit captions")
        self.resize(720, 600)
        self.jobs = CaptionJobs(self)
        self._path = Path()
        self._roots: list[str] = []
        self._separator = ","
        self._scopes: list[Picked] = []
        self._applying = False
        self._make()
        self._lay_out()
        self._connect()
        self._kind_changed()

    def _make(self) -> None:
        self.kinds = QButtonGroup(self)
        self._kind_buttons: dict[Kind, QPushButton] = {}
        for kind, words in _KINDS.items():
            made = button(words)
            made.setCheckable(True)
            made.setAutoDefault(False)
            self.kinds.addButton(made)
            self._kind_buttons[kind] = made
        self._kind_buttons["replace"].setChecked(True)
        self.find, self.text = QLineEdit(), QLineEdit()
        self._find_label, self._text_label = label("Find"), label("Replace by")
        self.pattern = QCheckBox("Pattern (regular expression)")
        self.any_case = QCheckBox("Capitals do not matter")
        self.place = QComboBox()
        self.place.addItems(["At the end", "In front"])
        self.tags, self.natural = QCheckBox("Tags (.txt)"), QCheckBox("Sentences (.caption)")
        self.tags.setChecked(True)
        self.scopes = [QRadioButton(), QRadioButton()]
        self.says = label("", "value", wrap=True)
        self.notes = label("", "dim", wrap=True)
        self.examples = DiffView()
        self.progress = QProgressBar()
        self.stop, self.look = button("Stop", "stop"), button("Look through them", "search")
        self.apply = button("Change the captions", look="primary")
        for made in (self.stop, self.look, self.apply):
            made.setAutoDefault(False)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(8)
        grid.setColumnMinimumWidth(0, 88)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self._find_label, 0, 0)
        grid.addWidget(self.find, 0, 1)
        grid.addWidget(self._text_label, 1, 0)
        grid.addWidget(self.text, 1, 1)
        grid.addLayout(row(self.place, self.pattern, self.any_case, None, spacing=16), 2, 1)
        grid.addWidget(label("In"), 3, 0)
        grid.addLayout(row(self.tags, self.natural, None, spacing=16), 3, 1)
        grid.addWidget(label("Of"), 4, 0)
        grid.addLayout(row(*self.scopes, None, spacing=16), 4, 1)
        close = button("Close")
        close.setAutoDefault(False)
        close.clicked.connect(self.close)
        seen = card(self.says, self.notes, self.progress, self.examples)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(16)
        layout.addLayout(row(*self._kind_buttons.values(), None))
        layout.addLayout(grid)
        layout.addWidget(seen, 1)
        layout.addLayout(row(self.stop, self.look, None, close, self.apply))

    def _connect(self) -> None:
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_PAUSE)
        self._later.timeout.connect(self._look_if_few)
        self.kinds.buttonClicked.connect(lambda _: self._kind_changed())
        for edit in (self.find, self.text):
            edit.textChanged.connect(self._edited)
        for box in (self.pattern, self.any_case, self.tags, self.natural, *self.scopes):
            box.toggled.connect(self._edited)
        self.place.currentIndexChanged.connect(self._edited)
        self.look.clicked.connect(self.look_through)
        self.stop.clicked.connect(self.jobs.cancel)
        self.apply.clicked.connect(self.change)
        self.jobs.told.connect(self._tell)
        self.jobs.done.connect(self._done)
        self.jobs.failed.connect(self._failed)

    # -- what is to be done -----------------------------------------------------------------------------------

    def offer(self, path: Path, roots: list[str], shown: Picked, selected: Picked, separator: str = ",") -> None:
        """Take over the index and the pictures in question: those selected in the grid, and all that it shows."""
        self._path, self._roots, self._separator = path, roots, separator
        self._scopes = [selected, shown]
        whole = shown.view.wanted == type(shown.view.wanted)()
        words = (f"{selected.count:,} selected", f"All {shown.count:,}" + ("" if whole else " that pass the filter"))
        for scope, text, picked in zip(self.scopes, words, self._scopes, strict=True):
            scope.setText(text)
            scope.setEnabled(picked.count > 0)
        self.scopes[0 if selected.count > 1 else 1].setChecked(True)
        self._edited()

    def prefill(self, kind: str, find: str) -> None:
        """Begin with an edit of one tag, of all the pictures that are shown."""
        for one, made in self._kind_buttons.items():
            made.setChecked(one == kind)
        self.find.setText(find)
        self.text.clear()
        self.scopes[1].setChecked(True)
        self._kind_changed()
        (self.text if kind == "rename" else self.find).setFocus()

    @property
    def kind(self) -> Kind:
        """Which of the four edits."""
        return next(kind for kind, made in self._kind_buttons.items() if made.isChecked())

    def edit(self) -> Edit:
        """The edit as it stands in the fields."""
        chosen: list[Part] = [part for part, box in (("tags", self.tags), ("natural", self.natural)) if box.isChecked()]  # type: ignore[misc]
        kind = self.kind
        return Edit(
            kind,
            ("tags",) if kind == "rename" else tuple(chosen),
            find=self.find.text(),
            text=self.text.text(),
            pattern=self.pattern.isChecked() and kind == "replace",
            any_case=self.any_case.isChecked(),
            at_end=self.place.currentIndex() == 0,
            separator=self._separator,
        )

    @property
    def picked(self) -> Picked:
        """The pictures that are to be changed."""
        return self._scopes[0 if self.scopes[0].isChecked() else 1]

    def _kind_changed(self) -> None:
        kind = self.kind
        finds = {"replace": "Find", "remove": "Remove", "rename": "Tag", "add": ""}[kind]
        texts = {"replace": "Replace by", "add": "Add", "rename": "New name", "remove": ""}[kind]
        for words, edit, name in ((finds, self.find, self._find_label), (texts, self.text, self._text_label)):
            name.setText(words)
            name.setVisible(bool(words))
            edit.setVisible(bool(words))
            edit.setAccessibleName(words)
        self.text.setPlaceholderText({"add": "Words, or tags with commas between"}.get(kind, ""))
        self.find.setPlaceholderText({"remove": "Tags with commas between, or words"}.get(kind, ""))
        self.pattern.setVisible(kind == "replace")
        self.any_case.setVisible(kind != "add")
        self.place.setVisible(kind == "add")
        self.natural.setEnabled(kind != "rename")
        (self.find if finds else self.text).setFocus()
        self._edited()

    # -- looking ----------------------------------------------------------------------------------------------

    def _edited(self, *_: object) -> None:
        """What was seen before is no longer true."""
        if self._applying:
            return
        self.jobs.cancel()
        self.apply.setEnabled(False)
        self.examples.show_changes(())
        self._say(self._why_not(), "")
        self._show_busy(False)
        self._later.start()

    def _why_not(self) -> str:
        """Why the fields do not make an edit yet; "" when they do."""
        from core.data.caption_edit import changer
        from core.errors import UserError

        if not self._scopes:
            return "There are no pictures."
        wanted = self.edit()
        if not wanted.parts:
            return "Choose which files are to be changed."
        try:
            changer(wanted)
        except UserError as error:
            return str(error)
        return ""

    def _look_if_few(self) -> None:
        if self._why_not():
            return
        if self.picked.count <= _AT_ONCE:
            self.look_through()
        else:
            words = "Looking through so many takes a while. Nothing is changed by it."
            self._say(f"{self.picked.count:,} pictures", words)
        self.look.setVisible(self.picked.count > _AT_ONCE)

    def look_through(self) -> None:
        """Find out what would change."""
        if not self._why_not():
            self._say("Looking through the captions", "")
            self._show_busy(True)
            self.jobs.start(self._path, caption_edits.look(self.edit(), self.picked))

    def change(self) -> None:
        """Do it."""
        self._applying = True
        self._say("Changing the captions", "What is changed can be undone, also when you stop half-way.")
        self._show_busy(True)
        self.jobs.start(
            self._path,
            caption_edits.change(self.edit(), self.picked, caption_edits.journal_of(self._path, self._roots)),
        )

    def _show_busy(self, busy: bool) -> None:
        self.progress.setVisible(busy)
        self.progress.setRange(0, 0)
        self.stop.setVisible(busy)
        self.look.setVisible(False)
        for widget in (self.find, self.text, self.apply, *self._kind_buttons.values()):
            if self._applying:
                widget.setEnabled(not busy)

    def _tell(self, done: int, total: int) -> None:
        self.progress.setRange(0, max(1, total))
        self.progress.setValue(done)

    def _done(self, result: Any) -> None:
        self._show_busy(False)
        if isinstance(result, Preview):
            self._show_preview(result)
            return
        self._applying = False
        self._show_busy(False)
        words = f"{self.edit().words()}: {_files(result.files)} changed"
        words += ", then stopped." if result.stopped else "."
        left = f" {_files(result.left)} left as they are: {result.kept[0]}" if result.left else ""
        self._edited()
        self.changed.emit(words + left)

    def _failed(self, text: str) -> None:
        self._show_busy(False)
        was_applying, self._applying = self._applying, False
        self._show_busy(False)
        self._say(text or "Stopped.", "")
        if was_applying:
            self._edited()
            self.changed.emit("")
            self.failed.emit(text)

    def _show_preview(self, found: Preview) -> None:
        self.apply.setEnabled(found.files > 0)
        notes = []
        if len(found.examples) < found.files:
            notes.append(f"The first {len(found.examples)} of them:")
        if found.archived:
            lie = "picture lies in an archive" if found.archived == 1 else "pictures lie in archives"
            notes.append(f"{found.archived:,} {lie}: what is in archives is never changed.")
        if found.unreadable:
            notes.append(f"{_files(found.unreadable)} cannot be read and stay as they are: {found.skipped[0]}")
        says = f"{_files(found.files)} of {found.pictures:,} pictures will change."
        self._say(says if found.files else "Nothing will change.", " ".join(notes))
        self.apply.setText(f"Change {_files(found.files)}" if found.files else "Change the captions")
        self.examples.show_changes(found.examples)

    def _say(self, words: str, note: str) -> None:
        for place, text in ((self.says, words), (self.notes, note)):
            place.setText(text)
            place.setVisible(bool(text))

    def end(self) -> None:
        """The window is closing."""
        self._later.stop()
        self.jobs.close()


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"
