"""The bar above a page: its title on the left, its actions on the right."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QWidget

from gui.pages.base import Page
from gui.widgets.basics import label


class TitleBar(QFrame):
    """A page's title on the left, its actions on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("titleBar")
        self.setFixedHeight(64)
        self.title = label("", "title")
        self._actions = QStackedWidget()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(24, 8, 24, 8)
        layout.addWidget(self.title)
        layout.addStretch(1)
        layout.addWidget(self._actions)
        self._boxes: dict[str, QWidget] = {}

    def show_page(self, name: str, title: str, page: Page | None) -> None:
        """Show title and actions of a page."""
        self.title.setText(title)
        if name not in self._boxes:
            box = QWidget()
            row = QHBoxLayout(box)
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(8)
            row.addStretch(1)
            for action in page.primary_actions() if page else []:
                row.addWidget(action)
            self._boxes[name] = box
            self._actions.addWidget(box)
        self._actions.setCurrentWidget(self._boxes[name])
