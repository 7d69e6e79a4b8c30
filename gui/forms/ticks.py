"""The editor for a list whose items come from a fixed set: one box to tick for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QGridLayout, QSizePolicy, QWidget

from gui.forms.editors import TEXT_WIDTH, Editor

if TYPE_CHECKING:
    from core.schema import Entry

#: Boxes beside each other: as many as the longest text leaves room for, at most so many.
_MOST_COLUMNS = 4


class TickListEditor(Editor):
    """Boxes in the order of the choices; the list holds those that are ticked, in the same order."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self.boxes = {choice: QCheckBox(choice) for choice in entry.choices}
        whole = QWidget()
        whole.setMaximumWidth(TEXT_WIDTH)
        grid = QGridLayout(whole)
        grid.setContentsMargins(0, 4, 0, 4)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(6)
        widest = max(box.sizeHint().width() for box in self.boxes.values())
        columns = max(1, min(_MOST_COLUMNS, TEXT_WIDTH // (widest + 16)))
        for number, box in enumerate(self.boxes.values()):
            grid.addWidget(box, number // columns, number % columns, Qt.AlignmentFlag.AlignLeft)
            box.setAccessibleDescription(f"{entry.option.label}: {entry.option.help}")
            box.clicked.connect(self._tell)
        self._unknown: list[str] = []
        self.adopt(whole)
        self.setFocusProxy(next(iter(self.boxes.values())))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_value(self, value: Any) -> None:
        """Tick what the list holds; what is no choice is kept, so that nothing is changed silently."""
        wanted = list(value) if isinstance(value, list | tuple) else []
        for choice, box in self.boxes.items():
            box.setChecked(choice in wanted)
        self._unknown = [item for item in wanted if item not in self.boxes]

    def _tell(self) -> None:
        self.edited.emit([choice for choice, box in self.boxes.items() if box.isChecked()] + self._unknown)
        self.left.emit()
