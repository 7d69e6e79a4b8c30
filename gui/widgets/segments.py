"""A few views of the same thing side by side, of which one is shown; arrow keys walk through them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QPushButton

from gui.widgets.basics import button


class Segments(QFrame):
    """Buttons in one frame; exactly one of them is pressed.

    Signals:
        chosen: The name of the view that was chosen.
    """

    chosen = Signal(str)

    def __init__(self, views: Sequence[tuple[str, str, str]]) -> None:
        """`views` are (name, label, what one reads from it)."""
        super().__init__()
        self.setProperty("segments", True)
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        for name, label, tip in views:
            made = button(label, tip=tip)
            made.setProperty("segment", True)
            made.setCheckable(True)
            made.toggled.connect(lambda on, name=name: self.chosen.emit(name) if on else None)
            self._group.addButton(made)
            self.buttons[name] = made
            layout.addWidget(made)
        if views:
            self.buttons[views[0][0]].setChecked(True)

    @property
    def current(self) -> str:
        """The name of the view that is shown."""
        return next((name for name, one in self.buttons.items() if one.isChecked()), "")

    def choose(self, name: str) -> None:
        """Show a view, as if its button were pressed."""
        self.buttons[name].setChecked(True)
