"""The filter of the grid of pictures: a search field, a menu of conditions, and a chip for each that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QMenu, QSizePolicy, QVBoxLayout, QWidget, QWidgetAction

from core.data.picture_filter import PARTS, PROBLEMS, PictureFilter
from gui.forms.numbers import NumberEdit
from gui.widgets.basics import button, label, row, set_icon, tool
from gui.widgets.bucket_chart import bucket_words
from gui.widgets.elided import Elided
from gui.widgets.flow import Flow

#: Milliseconds without a keystroke before the text is searched.
_PAUSE = 250
_SIDES = ((0, 255), (0, 511), (512, 1023), (1024, 0))
_MOST_IN_A_MENU = 40


class Chip(QFrame):
    """One condition.

    Signals:
        closed: Its cross was clicked.
    """

    closed = Signal()

    def __init__(self, text: str, tip: str = "") -> None:
        super().__init__()
        self.setProperty("chip", True)
        self.text = text
        self.setToolTip(tip)
        words = Elided(text)
        words.setMaximumWidth(260)
        close = tool("close", f"Without “{text}”", size=12)
        close.setProperty("mark", True)
        close.setFixedSize(22, 22)
        close.clicked.connect(self.closed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 1, 2, 1)
        layout.setSpacing(2)
        layout.addWidget(words)
        layout.addWidget(close)


class FilterBar(QWidget):
    """Edits a PictureFilter.

    Signals:
        changed: The PictureFilter that holds now.
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.filter = PictureFilter()
        self.buckets: Sequence[tuple[tuple[int, int], int]] = ()
        self.folders: Sequence[str] = ()
        self.chips: list[Chip] = []
        self.text = QLineEdit()
        self.text.setPlaceholderText("Search names, tags and captions")
        self.text.setClearButtonEnabled(True)
        self.text.setMinimumWidth(200)
        self.text.setMaximumWidth(320)
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.add = button("Filter", "filter", tip="Show only some of the pictures")
        set_icon(self.add, "filter", "text", 16)
        self.add.clicked.connect(lambda: self.menu.popup(self.add.mapToGlobal(self.add.rect().bottomLeft())))
        self.count = label("", "dim")
        self.clear_all = button("Show all", look="link")
        self.clear_all.clicked.connect(self.clear)
        self._chips = QWidget()
        self._chips.setLayout(Flow(spacing=6))
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self._chips.setSizePolicy(policy)
        head = row(self.text, self.add, 4, self.count, None)
        head.setStretch(0, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addWidget(self._chips)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_PAUSE)
        self._later.timeout.connect(self._take_text)
        self.text.textChanged.connect(self._later.start)
        self.text.returnPressed.connect(self._take_text)
        self._show_chips()

    # -- changing ---------------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Change some conditions of the filter."""
        self.show_filter(replace(self.filter, **changes))

    def toggle_tag(self, tag: str) -> None:
        """Ask for a tag, or no longer."""
        tags = self.filter.tags
        self.set(tags=tuple(one for one in tags if one != tag) if tag in tags else (*tags, tag))

    def clear(self) -> None:
        """Show everything."""
        self.show_filter(PictureFilter())

    def show_filter(self, wanted: PictureFilter) -> None:
        """Take another filter, and tell it."""
        if wanted == self.filter:
            return
        self.filter = wanted
        if wanted.text != self.text.text().strip():
            self.text.blockSignals(True)
            self.text.setText(wanted.text)
            self.text.blockSignals(False)
        self._later.stop()
        self._show_chips()
        self.changed.emit(wanted)

    def _take_text(self) -> None:
        self._later.stop()
        self.set(text=self.text.text().strip())

    def say_count(self, shown: int, whole: int, over: bool) -> None:
        """How many pictures are shown of how many."""
        if self.filter == PictureFilter():
            self.count.setText(f"{whole:,} picture{'s' if whole != 1 else ''}")
        else:
            self.count.setText(f"{shown:,} of {whole:,}{'' if over else ', searching …'}")

    # -- chips ------------------------------------------------------------------------------------------------

    def _show_chips(self) -> None:
        flow = self._chips.layout()
        while flow.count():
            flow.takeAt(0)
        for old in self.chips:
            old.hide()
            old.deleteLater()
        self.chips = []
        for text, tip, without in _conditions(self.filter):
            chip = Chip(text, tip)
            chip.closed.connect(lambda left=without: self.show_filter(left))
            self.chips.append(chip)
            flow.addWidget(chip)
        flow.addWidget(self.clear_all)
        self.clear_all.setVisible(len(self.chips) > 1)
        self._chips.setVisible(bool(self.chips))

    # -- the menu ---------------------------------------------------------------------------------------------

    def _fill_menu(self) -> None:
        self.menu.clear()
        problems = self.menu.addMenu("Problem")
        for key, words in PROBLEMS.items():
            self._choice(problems, words, problem="" if self.filter.problem == key else key)
        parts = self.menu.addMenu("Trained on or held out")
        for key, words in PARTS.items():
            self._choice(parts, words, part="" if self.filter.part == key else key)
        sides = self.menu.addMenu("Shorter side")
        for pair in _SIDES:
            self._choice(sides, side_words(pair), sides=(0, 0) if self.filter.sides == pair else pair)
        sides.addSeparator()
        sides.addAction(self._range(sides))
        buckets = self.menu.addMenu("Bucket")
        buckets.setEnabled(bool(self.buckets))
        for size, count in self.buckets[:_MOST_IN_A_MENU]:
            words = f"{bucket_words(size)}\t{count:,}"
            self._choice(buckets, words, bucket=None if self.filter.bucket == size else size)
        folders = self.menu.addMenu("Folder")
        folders.setEnabled(bool(self.folders))
        for folder in self.folders[:_MOST_IN_A_MENU]:
            self._choice(folders, folder, folder="" if self.filter.folder == folder else folder)

    def _choice(self, menu: QMenu, words: str, **change: Any) -> None:
        action = menu.addAction(words.replace("&", "&&"))
        action.setCheckable(True)
        action.setChecked(next(iter(change.values())) in _EMPTY)  # a choice that holds is one that can be taken back
        action.triggered.connect(lambda _: self.set(**change))

    def _range(self, menu: QMenu) -> QWidgetAction:
        """Two fields for any other range."""
        low, high = NumberEdit("px"), NumberEdit("px")
        for edit, words, value in ((low, "from", self.filter.sides[0]), (high, "to", self.filter.sides[1])):
            edit.whole = True
            edit.setPlaceholderText(words)
            edit.setFixedWidth(104)
            edit.show_value(value or None)
        show = button("Show")
        action = QWidgetAction(menu)

        def take() -> None:
            self.menu.close()
            self.set(sides=(int(low.number() or 0), int(high.number() or 0)))

        for edit in (low, high):
            edit.returnPressed.connect(take)
        show.clicked.connect(take)
        ground = QWidget()
        ground.setLayout(row(low, high, show))
        ground.layout().setContentsMargins(8, 4, 8, 4)
        action.setDefaultWidget(ground)
        return action


_EMPTY: tuple[Any, ...] = ("", (0, 0), None)


def side_words(sides: tuple[int, int]) -> str:
    """A range of the shorter side."""
    low, high = sides
    if not low:
        return f"Below {high + 1:,} px"
    return f"{low:,} px or more" if not high else f"{low:,} to {high:,} px"


def _conditions(wanted: PictureFilter) -> list[tuple[str, str, PictureFilter]]:
    """(words, tip, the filter without it) of each condition but the text, which stands in its field."""
    found = [
        (tag, "Pictures with this tag", replace(wanted, tags=tuple(one for one in wanted.tags if one != tag)))
        for tag in wanted.tags
    ]
    words = {
        "sides": (f"Shorter side: {side_words(wanted.sides)[:1].lower()}{side_words(wanted.sides)[1:]}", ""),
        "bucket": (f"Bucket {bucket_words(wanted.bucket or (0, 0))}", ""),
        "problem": (PROBLEMS.get(wanted.problem, ""), ""),
        "part": (PARTS.get(wanted.part, ""), ""),
        "folder": (PurePath(wanted.folder).name or wanted.folder, wanted.folder),
    }
    defaults = {one.name: one.default for one in fields(PictureFilter)}
    for name, (text, tip) in words.items():
        if getattr(wanted, name) != defaults[name]:
            found.append((text, tip, replace(wanted, **{name: defaults[name]})))
    return found
