"""The tags of a dataset with their counts: search in them, filter by them, and see what stands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QLineEdit, QProgressBar, QVBoxLayout, QWidget

from gui.widgets.basics import Scroller, button, card, label, row
from gui.widgets.bucket_chart import BarChart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.data.tag_table import Together

_MOST, _BESIDE, _LABEL = 200, 16, 128


class TagPanel(QWidget):
    """Shows what it is given; the page asks the index.

    Signals:
        search_wanted: Tags that contain this text should be shown.
        tag_clicked: The grid should show this tag, or no longer.
        beside_wanted: What stands beside this tag should be counted; "" for nobody wants it any more.
        edit_wanted: (kind of the edit, tag): all captions with it should be edited.
    """

    search_wanted = Signal(str)
    tag_clicked = Signal(str)
    beside_wanted = Signal(str)
    edit_wanted = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.tag = ""
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find a tag")
        self.search.setClearButtonEnabled(True)
        self.tags, self.beside = BarChart(_MOST, _LABEL), BarChart(_BESIDE, _LABEL)
        self.none = label("", "dim", wrap=True)
        self._title, self._words = label("", "heading", wrap=True), label("", "dim", wrap=True)
        self.rename, self.remove = button("Rename…", "edit"), button("Remove…", "minus")
        self.stop = button("Stop", "stop")
        self._busy = QProgressBar()
        self._busy.setRange(0, 0)
        self._card = card(
            self._title, self._words, self._busy, self.beside, row(self.rename, self.remove, self.stop, None)
        )
        self._list = card(label("Tags", "heading"), label("A click filters.", "dim"), self.none, self.tags)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(row(self.search, 8))
        layout.addWidget(Scroller(self._card, self._list, spacing=16), 1)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(200)
        self._later.timeout.connect(lambda: self.search_wanted.emit(self.search.text().strip()))
        self.search.textChanged.connect(self._later.start)
        self.tags.clicked.connect(self._clicked)
        self.beside.clicked.connect(self.tag_clicked)
        self.rename.clicked.connect(lambda: self.edit_wanted.emit("rename", self.tag))
        self.remove.clicked.connect(lambda: self.edit_wanted.emit("remove", self.tag))
        self.stop.clicked.connect(self._give_up)
        self.choose("")

    def _clicked(self, tag: str) -> None:
        self.tag_clicked.emit(tag)

    def choose(self, tag: str) -> None:
        """The tag that the grid is filtered by, whose neighbours are shown; "" for none."""
        if tag == self.tag and tag:
            return
        self.tag = tag
        self.tags.set_active(tag)
        self._card.setVisible(bool(tag))
        self._title.setText(f"Beside “{tag}”")
        self._words.setText("Counting")
        self.beside.set_bars([])
        self._busy.setVisible(bool(tag))
        self.stop.setVisible(bool(tag))
        self.beside_wanted.emit(tag)

    def _give_up(self) -> None:
        self.beside_wanted.emit("")
        self._busy.hide()
        self.stop.hide()
        self._words.setText("Stopped")

    def show_tags(self, counts: Mapping[str, int]) -> None:
        """The most frequent tags that match the search."""
        self.tags.set_bars(list(counts.items())[:_MOST])
        self.tags.set_active(self.tag)
        wanted = self.search.text().strip()
        self.none.setText(f"No tag contains “{wanted}”." if wanted else "No picture has tags.")
        self.none.setVisible(not counts)

    def show_beside(self, found: Together) -> None:
        """What stands beside the chosen tag."""
        if found.tag != self.tag:
            return
        self._busy.hide()
        self.stop.hide()
        pictures = f"{found.pictures:,} picture{'s' if found.pictures != 1 else ''}"
        words = f"In {pictures}. A click filters by both."
        if found.looked_at < found.pictures:
            words = f"In about {pictures}; counted in {found.looked_at:,} of them, drawn by chance."
        self._words.setText(words)
        self.beside.set_bars(list(found.counts.items())[:_BESIDE])
