"""Pictures of a captioning job with their words side by side: what stands beside them now, and what the model says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QVBoxLayout, QWidget

from gui.widgets.basics import Scroller, column, label, row, set_property
from gui.widgets.elided import Elided
from gui.widgets.picture_box import paint_picture
from gui.widgets.picture_loader import PictureLoader

if TYPE_CHECKING:
    from core.events import Captioned

_EDGE = 112
#: Rows that are kept; a long job shows its latest ones.
_MOST_ROWS = 40
#: What becomes of a picture's caption file: in a preview, and in a job; with the colour of the words.
_ACTIONS = {
    "new": ("Will be written", "Written", "good"),
    "added": ("Will be added", "Added", "good"),
    "replaced": ("Will replace what is there", "Replaced", "warning"),
    "kept": ("Stays as it is", "Left as it was", "dim"),
    "nothing": ("No words found", "No words found", "dim"),
    "broken": ("Cannot be captioned", "Could not be captioned", "error"),
}


class _Picture(QWidget):
    """One picture in a square, read off the window's thread."""

    def __init__(self, path: str, loader: PictureLoader) -> None:
        super().__init__()
        self._path = path
        self._loader = loader
        self.setFixedSize(_EDGE, _EDGE)
        loader.loaded.connect(self._came)

    def _edge(self) -> int:
        return int(_EDGE * self.devicePixelRatioF())

    def _came(self, path: str) -> None:
        if path == self._path:
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Ground and picture."""
        paint_picture(self, self._loader.get(self._path, self._edge()))


class CaptionRow(QFrame):
    """One picture: its words now on the left, the model's on the right."""

    def __init__(self, one: Captioned, preview: bool, loader: PictureLoader) -> None:
        super().__init__()
        self.setProperty("card", True)
        future, past, role = _ACTIONS.get(one.action, ("", "", "dim"))
        self.name = Elided(Path(one.path).name, "value")
        self.name.setToolTip(one.path)
        self.action = label(future if preview else past, role)
        head = row(self.name, self.action)
        head.setStretch(0, 1)
        broken = one.action == "broken"
        if broken:
            self.before, self.words = label(""), _words(_sentence(one.words), "dim")
            body = row(self.words)
        else:
            self.before = _words(one.before or "nothing", "dim")
            self.words = _words(one.words or "nothing", "" if one.words else "dim")
            body = row(
                column(label("Now" if preview else "Before", "dim"), self.before, None, spacing=4),
                column(label("The model says", "dim"), self.words, None, spacing=4),
                spacing=16,
            )
            body.setStretch(0, 2)
            body.setStretch(1, 3)
        inner = QVBoxLayout()
        inner.setSpacing(8)
        inner.addLayout(head)
        inner.addLayout(body)
        inner.addStretch(1)
        whole = row(column(_Picture(one.path, loader), None), spacing=16)
        whole.setContentsMargins(12, 12, 16, 12)
        whole.addLayout(inner, 1)
        self.setLayout(whole)


def _words(text: str, role: str) -> QWidget:
    made = label(text, role, wrap=True)
    made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    made.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return made


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


class CaptionResults(QWidget):
    """The rows under a heading; a preview in its order, a job with its latest picture on top."""

    def __init__(self) -> None:
        super().__init__()
        self.loader = PictureLoader(self)
        self.rows: list[CaptionRow] = []
        self.heading = label("", "heading")
        self.facts = label("", "dim", wrap=True)
        self._list = Scroller(margins=(0, 0, 8, 8), spacing=8)
        layout = column(self.heading, self.facts, self._list, spacing=8)
        layout.setStretch(2, 1)
        self.setLayout(layout)

    def clear(self, heading: str) -> None:
        """Forget the rows and begin under another heading."""
        self.heading.setText(heading)
        self.tell("")
        self.rows = []
        self._list.show_items(spacing=8, margins=(0, 0, 8, 8))

    def tell(self, text: str, role: str = "dim") -> None:
        """A line of facts under the heading."""
        set_property(self.facts, "role", role)
        self.facts.setText(text)
        self.facts.setVisible(bool(text))

    def add(self, found: Iterable[Captioned], preview: bool) -> None:
        """More pictures."""
        ground = self._list.widget()
        layout = ground.layout() if ground is not None else None
        if not isinstance(layout, QVBoxLayout):
            return
        for one in found:
            made = CaptionRow(one, preview, self.loader)
            layout.insertWidget(len(self.rows) if preview else 0, made)
            self.rows = [*self.rows, made] if preview else [made, *self.rows]
        for old in self.rows[_MOST_ROWS:]:
            layout.removeWidget(old)
            old.deleteLater()
        del self.rows[_MOST_ROWS:]
