"""One setting of a sweep: what it is, how its values are given, what they mean; and the search that adds settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from core.errors import UserError
from core.sweep import typed
from core.sweep.typed import Draft
from gui.forms.search import Search
from gui.widgets.basics import label, row, set_property, tool
from gui.widgets.elided import Elided
from gui.widgets.flow import Flow
from gui.widgets.grid_axes import Chips

if TYPE_CHECKING:
    from core.schema import Entry
    from gui.settings_model import SettingsModel

_MOST_FOUND = 8
_PLACES = {"values": 0, "linear": 1, "log": 1, "rule": 2}


class AxisRow(QFrame):
    """Edits one draft.

    Signals:
        edited: Something was typed.
        removed: This setting should no longer vary.
    """

    edited = Signal()
    removed = Signal()

    def __init__(self, entry: Entry, draft: Draft, where: str) -> None:
        """`where`: the title of the page on which the option stands."""
        super().__init__()
        self.entry = entry
        self.setProperty("card", True)
        self.way = QComboBox()
        for way in typed.ways(entry):
            self.way.addItem(typed.WAYS[way], way)
        self.way.setAccessibleName(f"How {entry.option.label} varies")
        self.way.setVisible(self.way.count() > 1)
        self.values, self.formula = QLineEdit(), QLineEdit()
        self.start, self.stop, self.count = QLineEdit(), QLineEdit(), QLineEdit()
        self.ticks: list[QCheckBox] = []
        self.together = QCheckBox("Side by side with the setting above")
        self.together.setToolTip("The first value with the first one above, the second with the second, and so on")
        self.chips, self.problem = Chips(), label("", "error", wrap=True)
        self._lay_out(where)
        self._show(draft)
        self._connect()
        self.refresh()

    def _lay_out(self, where: str) -> None:
        name = Elided(self.entry.option.label, "value")
        name.setToolTip(self.entry.option.help)
        away = tool("close", f"{self.entry.option.label} does not vary")
        away.clicked.connect(self.removed)
        head = row(name, label(where, "dim"), None, self.way, away)
        head.setStretch(0, 1)
        self.formula.setPlaceholderText("base * sqrt(batch_size)")
        self.formula.setToolTip(
            "Names of settings, your own numbers below, base (this setting's own value), + - * / ** and "
            "sqrt, log, min, max, round, floor, ceil"
        )
        self.values.setPlaceholderText("1, 2, 4")
        self.count.setFixedWidth(64)
        fields = ((self.start, "First value"), (self.stop, "Last value"), (self.count, "Number of values"))
        for field, text in (*fields, (self.values, "Values"), (self.formula, "Formula")):
            field.setAccessibleName(f"{text} of {self.entry.option.label}")
        limits = QWidget()
        limits.setLayout(
            row(label("from", "dim"), self.start, label("to", "dim"), self.stop, self.count, label("values", "dim"))
        )
        self._ways = (self._choices() or self.values, limits, self.formula)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 10)
        layout.setSpacing(6)
        layout.addLayout(head)
        for part in (*self._ways, self.chips, self.problem, self.together):
            layout.addWidget(part)

    def _choices(self) -> QWidget | None:
        """A tick for each choice; None for options without."""
        choices = ("off", "on") if self.entry.kind == "bool" else self.entry.choices
        if not choices or self.entry.kind == "list":
            return None
        holder = QWidget()
        flow = Flow(holder, 12)
        for choice in choices:
            tick = QCheckBox(choice)
            tick.clicked.connect(self._ticked)
            self.ticks.append(tick)
            flow.addWidget(tick)
        return holder

    def _ticked(self) -> None:
        self.values.setText(", ".join(tick.text() for tick in self.ticks if tick.isChecked()))
        self._changed()

    def _show(self, draft: Draft) -> None:
        self.way.setCurrentIndex(max(0, self.way.findData(draft.way)))
        self.values.setText(draft.text if draft.way == "values" else "")
        self.formula.setText(draft.text if draft.way == "rule" else "")
        for field, text in ((self.start, draft.start), (self.stop, draft.stop), (self.count, draft.count)):
            field.setText(text)
        chosen = [part.strip() for part in draft.text.split(",")]
        for tick in self.ticks:
            tick.setChecked(tick.text() in chosen)
        self.together.setChecked(draft.together)

    def _connect(self) -> None:
        self.way.currentIndexChanged.connect(lambda _: self._changed())
        for field in (self.values, self.start, self.stop, self.count, self.formula):
            field.textEdited.connect(lambda _: self._changed())
        self.together.clicked.connect(lambda _: self._changed())

    def _changed(self) -> None:
        self.refresh()
        self.edited.emit()

    def draft(self) -> Draft:
        """What is typed."""
        way = self.way.currentData()
        text = self.formula.text() if way == "rule" else self.values.text()
        return Draft(
            self.entry.key,
            way,
            text if way in ("values", "rule") else "",
            self.start.text(),
            self.stop.text(),
            self.count.text(),
            self.together.isChecked() and self.together.isVisibleTo(self),
        )

    def set_below(self, below: bool) -> None:
        """Whether there is a setting above that this one could go along with."""
        self.together.setVisible(below and self.way.currentData() != "rule")

    def refresh(self) -> None:
        """Show what the values are, or what is wrong with them."""
        for place, widget in enumerate(self._ways):
            widget.setVisible(place == _PLACES[self.way.currentData()])
        texts: Sequence[str] = ()
        try:
            texts, wrong = typed.show_draft(self.entry, self.draft()), ""
        except UserError as error:
            wrong = str(error)
        self.chips.set_texts(texts)
        self.chips.setVisible(bool(texts) and not self.ticks)
        self.show_problem(wrong)

    def show_problem(self, text: str) -> None:
        """Say what is wrong here; "" for nothing."""
        self.problem.setText(text)
        self.problem.setVisible(bool(text))
        for field in (self.values, self.start, self.stop, self.count, self.formula):
            set_property(field, "problem", "error" if text else "")


class SettingSearch(QWidget):
    """Finds an option of all by its words, also those of other trainers.

    Signals:
        chosen: Key of an option.
    """

    chosen = Signal(str)

    def __init__(self, settings: SettingsModel) -> None:
        super().__init__()
        self._settings = settings
        self._search: Search | None = None
        self._taken: frozenset[str] = frozenset()
        self.text = QLineEdit()
        self.text.setPlaceholderText("Add a setting: learning rate, rank, batch, optimizer …")
        self.text.setClearButtonEnabled(True)
        self.text.setAccessibleName("Search a setting that should vary")
        self.list = QListWidget()
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.text)
        layout.addWidget(self.list)
        self.text.textChanged.connect(lambda _: self.refresh())
        self.text.returnPressed.connect(lambda: self._choose(self.list.currentItem() or self.list.item(0)))
        self.list.itemClicked.connect(self._choose)

    def set_taken(self, keys: Sequence[str]) -> None:
        """Options that vary already."""
        self._taken = frozenset(keys)

    def refresh(self) -> None:
        """Show what the typed words find: visible options first, names before explanations."""
        words = self.text.text()
        self.list.clear()
        for key in self._found(words)[:_MOST_FOUND]:
            entry = self._settings.entries[key]
            item = QListWidgetItem(f"{entry.option.label}   ·   {key}")
            item.setData(Qt.ItemDataRole.UserRole, key)
            item.setToolTip(entry.option.help)
            self.list.addItem(item)
        count = self.list.count()
        self.list.setVisible(bool(words.strip()))
        if words.strip() and not count:
            none = QListWidgetItem("Nothing is called that")
            none.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(none)
        self.list.setFixedHeight(self.list.sizeHintForRow(0) * max(1, count) + 8 if words.strip() else 0)

    def _found(self, words: str) -> list[str]:
        if self._search is None:
            self._search = Search(self._settings)
        entries = self._settings.entries
        keys = [key for key in self._search.keys(words) if key not in self._taken and typed.can_vary(entries[key])]
        wanted = words.lower().strip()
        named = {key: wanted in f"{entries[key].option.label.lower()} {key}" for key in keys}
        return sorted(keys, key=lambda key: (not named[key], not self._settings.visible(key)))

    def _choose(self, item: QListWidgetItem | None) -> None:
        key = item.data(Qt.ItemDataRole.UserRole) if item is not None else None
        if key:
            self.text.clear()
            self.chosen.emit(key)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The arrow keys walk through what was found."""
        moves = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}
        if event.key() in moves and self.list.count():
            place = self.list.currentRow() + moves[Qt.Key(event.key())]
            self.list.setCurrentRow(max(0, min(place, self.list.count() - 1)))
            return
        super().keyPressEvent(event)
