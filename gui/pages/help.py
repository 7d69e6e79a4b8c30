"""Help: short guides, and the reference of every setting, made from the schema and searchable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QListWidget, QListWidgetItem, QTextBrowser, QVBoxLayout

from core.paths import RESOURCES
from gui import theme
from gui.context import Context
from gui.forms.plan import sections
from gui.forms.search import Search
from gui.pages.base import Page
from gui.widgets import reference
from gui.widgets.basics import card, column

_WHAT = Qt.ItemDataRole.UserRole


def guides() -> dict[str, Path]:
    """The guides by their titles, in the order of the numbers of their files."""
    found = {}
    for path in sorted((RESOURCES / "docs" / "guides").glob("*.md"), key=lambda path: int(path.name.split("-")[0])):
        with path.open(encoding="utf-8") as file:
            found[file.readline().lstrip("# ").strip()] = path
    return found


class HelpPage(Page):
    """A list of guides and sections on the left, the text on the right."""

    name: ClassVar[str] = "help"
    title: ClassVar[str] = "Help"
    icon: ClassVar[str] = "help"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._plans = {plan.title: plan for plan in sections(context.settings)}
        self._guides = guides()
        self._search = Search(context.settings)
        self.search = QLineEdit()
        self.list = QListWidget()
        self.text = QTextBrowser()
        self._lay_out()
        self._fill()
        self.search.textChanged.connect(self._show)
        self.list.currentItemChanged.connect(lambda *_: self._show())
        self.text.anchorClicked.connect(self._follow)
        context.help_requested.connect(self.show_key)
        theme.signals().changed.connect(self._recolour)
        self.list.setCurrentRow(1)

    def _lay_out(self) -> None:
        self.search.setPlaceholderText("Search all settings")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search the reference")
        self.list.setProperty("contents", True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.text.setOpenLinks(False)
        left = column(self.search, self.list, spacing=8)
        self.search.setFixedWidth(256)
        self.list.setFixedWidth(256)
        sheet = card(self.text, margins=32)
        sheet.setMaximumWidth(880)
        whole = QHBoxLayout()
        whole.setSpacing(24)
        whole.addLayout(left)
        whole.addWidget(sheet, 1)
        whole.addStretch(0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 8, 24, 24)
        layout.addLayout(whole)

    def _fill(self) -> None:
        self._heading("Guides")
        for title in self._guides:
            self._item(re.split("[:,]", title)[0], ("guide", title))
        self._heading("Settings")
        for title in self._plans:
            self._item(title, ("section", title))

    def _heading(self, text: str) -> None:
        item = QListWidgetItem(text)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        font = item.font()
        font.setBold(True)
        item.setFont(font)
        self.list.addItem(item)

    def _item(self, text: str, what: tuple[str, str]) -> None:
        item = QListWidgetItem(text)
        item.setData(_WHAT, what)
        self.list.addItem(item)

    # -- showing ----------------------------------------------------------------------------------------------

    def _show(self, *_: object) -> None:
        """Show what is searched for, else the chosen guide or section."""
        wanted = self.search.text().strip()
        if wanted:
            self._show_html(reference.found_html(self.context.settings, wanted, self._search.keys(wanted)))
            return
        item = self.list.currentItem()
        kind, title = item.data(_WHAT) if item is not None and item.data(_WHAT) else ("", "")
        if kind == "guide":
            self.text.setMarkdown(self._guides[title].read_text(encoding="utf-8"))
            reference.loosen(self.text.document())
        elif kind == "section":
            self._show_html(reference.section_html(self.context.settings, title, self._plans[title].keys))

    def _show_html(self, html: str) -> None:
        self.text.document().setDefaultStyleSheet(reference.style())
        self.text.setHtml(html)
        reference.loosen(self.text.document())

    def _recolour(self, *_: object) -> None:
        self._show()

    def show_key(self, key: str) -> None:
        """Show the section of an option and scroll to it."""
        for number in range(self.list.count()):
            what = self.list.item(number).data(_WHAT)
            if what and what[0] == "section" and key in self._plans[what[1]].keys:
                self.search.clear()
                self.list.setCurrentRow(number)
                self.text.scrollToAnchor(key)
                return

    def _follow(self, url: QUrl) -> None:
        """A link to a field leads to Training, one to the web to the browser."""
        if url.scheme() == "field":
            self.context.field_requested.emit(url.path())
        elif url.scheme() in ("http", "https"):
            QDesktopServices.openUrl(url)
