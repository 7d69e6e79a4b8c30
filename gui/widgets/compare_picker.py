"""The list of runs to choose from: own runs, sweeps and imported folders as groups, with their colours and notes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtWidgets import QHeaderView, QLineEdit, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from core.compare import name_order, short_name, told_apart
from gui import theme
from gui.run_colors import swatch
from gui.widgets.basics import button, label, row
from gui.widgets.compare_reader import Choice

_PATH = Qt.ItemDataRole.UserRole
_ON, _OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked
_OWN = "Single runs"
_ROW = QSize(0, 28)


class RunPicker(QWidget):
    """A tree with a box at each run and each group.

    Signals:
        changed: Other runs are chosen; see chosen().
        current_changed: A run's row was gone to (its path).
        import_asked: The user wants to import event files.
    """

    changed = Signal()
    current_changed = Signal(object)
    import_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Find a run")
        self.filter.setClearButtonEnabled(True)
        self.tree = QTreeWidget()
        self.tree.setColumnCount(1)
        self.tree.setHeaderHidden(True)
        self.tree.setIndentation(14)
        self.tree.setUniformRowHeights(True)
        self.tree.header().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.tree.setAccessibleName("Runs to compare")
        self.words = label("", "dim")
        self.none = button("None", look="quiet", tip="Choose no run")
        self.take_in = button(
            "Import TensorBoard…", "drop", tip="Read event files of other trainers as runs to compare"
        )
        self._items: dict[Path, QTreeWidgetItem] = {}
        self._choices: dict[Path, Choice] = {}
        self._names: dict[Path, str] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.filter)
        layout.addWidget(self.tree, 1)
        layout.addLayout(row(self.words, None, self.none))
        layout.addWidget(self.take_in)
        self.filter.textChanged.connect(self._sift)
        self.tree.itemChanged.connect(self._ticked)
        self.tree.currentItemChanged.connect(lambda item, _: self._gone_to(item))
        self.none.clicked.connect(lambda: self.choose([]))
        self.take_in.clicked.connect(self.import_asked)
        theme.signals().changed.connect(self._recolor)

    def set_choices(self, choices: Iterable[Choice]) -> None:
        """Show these runs; those that are chosen stay chosen."""
        held = set(self.chosen())
        with QSignalBlocker(self.tree):
            self.tree.clear()
            self._items = {}
            self._choices = {choice.path: choice for choice in choices}
            groups: dict[str, list[Choice]] = {}
            for choice in self._choices.values():
                groups.setdefault(choice.group, []).append(choice)
            for name, inside in groups.items():
                self._add_group(name, inside, held)
        self._sift()
        self._count()

    def _add_group(self, name: str, inside: list[Choice], held: set[Path]) -> None:
        group = QTreeWidgetItem([f"{name or _OWN}  ({len(inside)})"])
        group.setFlags(group.flags() | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsAutoTristate)
        group.setCheckState(0, _OFF)
        group.setSizeHint(0, _ROW)
        self.tree.addTopLevelItem(group)
        names = told_apart([short_name(one.name, one.group) for one in inside], [one.created for one in inside])
        self._names |= {choice.path: told for choice, told in zip(inside, names, strict=True)}
        if name:  # the runs of a sweep or a folder in the order of their names, single ones by their age
            inside = sorted(inside, key=_by_name)
        for choice in inside:
            item = QTreeWidgetItem(group)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setData(0, _PATH, choice.path)
            item.setSizeHint(0, _ROW)
            item.setCheckState(0, _ON if choice.path in held else _OFF)
            self._items[choice.path] = item
            self._show(item, choice)
        group.setExpanded(True)

    def _show(self, item: QTreeWidgetItem, choice: Choice) -> None:
        """Name, colour, note."""
        name = self._names[choice.path]
        note, marks = choice.notes.first_line, len(choice.notes.bookmarks)
        item.setText(0, f"{name}  -  {note}" if note else name)
        told = [
            str(choice.path),
            choice.notes.note,
            f"{marks} bookmarks" if marks > 1 else "1 bookmark" if marks else "",
        ]
        item.setToolTip(0, "\n".join(filter(None, told)))
        item.setIcon(0, swatch(choice.notes.color))

    def update_choice(self, choice: Choice) -> None:
        """A run has another colour or note."""
        self._choices[choice.path] = choice
        if choice.path in self._items:
            with QSignalBlocker(self.tree):
                self._show(self._items[choice.path], choice)

    def choice(self, path: Path) -> Choice | None:
        """What is known of a run of the list."""
        return self._choices.get(path)

    def colors(self) -> list[int]:
        """Numbers of the colours that runs of the list have."""
        return [choice.notes.color for choice in self._choices.values() if choice.notes.color >= 0]

    def chosen(self) -> list[Path]:
        """The ticked runs, from top to bottom."""
        return [path for path, item in self._items.items() if item.checkState(0) == _ON]

    def choose(self, paths: Iterable[Path]) -> None:
        """Tick these runs and no others."""
        wanted = set(paths)
        with QSignalBlocker(self.tree):
            for path, item in self._items.items():
                item.setCheckState(0, _ON if path in wanted else _OFF)
        self._count()
        self.changed.emit()

    def go_to(self, path: Path) -> None:
        """Mark a run's row."""
        if path in self._items and self.tree.currentItem() is not self._items[path]:
            self.tree.setCurrentItem(self._items[path])

    @property
    def count(self) -> int:
        """Runs in the list."""
        return len(self._items)

    def _ticked(self, item: QTreeWidgetItem, _column: int) -> None:
        if item.data(0, _PATH) is not None or not item.childCount():
            self._count()
            self.changed.emit()

    def _gone_to(self, item: QTreeWidgetItem | None) -> None:
        path = item.data(0, _PATH) if item is not None else None
        if path is not None:
            self.current_changed.emit(path)

    def _sift(self) -> None:
        """Show the rows whose name, group or note holds the text."""
        text = self.filter.text().strip().lower()
        for path, item in self._items.items():
            choice = self._choices[path]
            told = f"{choice.name} {self._names[path]} {choice.group} {choice.notes.note}"
            item.setHidden(text not in told.lower())
        for place in range(self.tree.topLevelItemCount()):
            group = self.tree.topLevelItem(place)
            children = (group.child(i) for i in range(group.childCount()))
            group.setHidden(all(child.isHidden() for child in children))

    def _count(self) -> None:
        many = len(self.chosen())
        self.words.setText(f"{many} of {self.count} chosen" if self.count else "")
        self.none.setEnabled(many > 0)

    def _recolor(self, *_: object) -> None:
        with QSignalBlocker(self.tree):
            for path, item in self._items.items():
                item.setIcon(0, swatch(self._choices[path].notes.color))


def _by_name(choice: Choice) -> tuple[str, tuple[float, str]]:
    """The runs of a sweep by their folders, which are numbered; imported ones by the number in their name."""
    return choice.path.name if choice.kind == "train" else "", name_order(choice.name)
