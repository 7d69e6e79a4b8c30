"""Offers to take over repeats from the names of folders, where new folders are laid out as kohya's scripts want it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame

from gui.widgets.background import Background
from gui.widgets.basics import button, column, label, row, set_property

#: So many folders are named.
_NAMED = 2


class RepeatsOffer(QFrame):
    """A question that blocks nothing: it stays until it is answered or its folders are gone.

    Signals:
        taken: The rules to add: {"path", "repeats"} of each folder.
    """

    taken = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("note")
        set_property(self, "level", "info")
        self.rules: list[dict[str, Any]] = []
        self._asked: tuple[str, ...] = ()
        self._reader = Background(self)
        self._reader.done.connect(self._found)
        self.words = label("", wrap=True)
        self.take = button("Take over the repeats")
        self.leave = button("No", look="quiet", tip="Every picture once an epoch, whatever the folders are called")
        self.take.clicked.connect(self._take)
        self.leave.clicked.connect(self.forget)
        layout = column(self.words, row(self.take, self.leave, None), spacing=8)
        layout.setContentsMargins(12, 8, 12, 8)
        self.setLayout(layout)
        self.hide()

    def look_at(self, folders: Sequence[str]) -> None:
        """Look at the names in folders that were just added, off the window's thread."""
        from core.data.rules import propose

        self._asked = tuple(folders)
        self._reader.start(lambda: propose(folders))

    def follow(self, folders: Sequence[str], ruled: Sequence[str]) -> None:
        """Ask no more about folders that are not in the list, or that have rules by now."""
        if self._asked and not set(self._asked) <= set(folders):
            self.forget()
        self.rules = [rule for rule in self.rules if rule["path"] not in ruled]
        self.setVisible(bool(self.rules))

    def forget(self) -> None:
        """Ask no more."""
        self._reader.forget()
        self._asked, self.rules = (), []
        self.hide()

    def _found(self, proposed: Any) -> None:
        from core.paths import resolve

        listed = {str(resolve(folder)): folder for folder in self._asked}
        self.rules = [{"path": listed.get(one.path, one.path), "repeats": one.repeats} for one in proposed]
        named = [f"{Path(one.path).name}: {one.repeats:g} times" for one in proposed[:_NAMED]]
        more = f" and {len(proposed) - _NAMED:,} more" if len(proposed) > _NAMED else ""
        self.words.setText(
            "This looks like kohya's layout, in which a folder's name says how often an epoch shows its pictures "
            f"({', '.join(named)}{more}). Take over the repeats?"
        )
        self.setVisible(bool(self.rules))

    def _take(self) -> None:
        rules = self.rules
        self.forget()
        self.taken.emit(rules)
