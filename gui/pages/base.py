"""What every page is: a widget with a title, an icon in the rail, made when first shown."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from gui.context import Context


class Page(QWidget):
    """Base of the pages. Decides nothing for its children; names what the main window asks for."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    icon: ClassVar[str] = ""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context

    def primary_actions(self) -> list[QWidget]:
        """Widgets for the right end of the page's title bar; the last one is the page's one primary action."""
        return []

    def shown(self) -> None:
        """Called each time the page comes to the front."""

    def hidden(self) -> None:
        """Called when another page comes to the front: stop timers."""

    def closed(self) -> None:
        """Called once when the window closes: end threads."""
