"""Editors for several lines: long texts, lists with one text a line, lists of folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QFocusEvent
from PySide6.QtWidgets import QFileDialog, QListWidget, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from gui.forms.editors import TEXT_WIDTH, Editor
from gui.widgets.basics import button, row
from gui.widgets.drops import dropped_paths

if TYPE_CHECKING:
    from core.schema import Entry


class _Lines(QPlainTextEdit):
    """A text area that grows with its lines, up to eight, and tells when it is left."""

    def __init__(self, owner: Editor, least: int) -> None:
        super().__init__()
        self._owner = owner
        self._least = least
        self.setTabChangesFocus(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setMaximumWidth(TEXT_WIDTH)
        self.textChanged.connect(self._grow)
        self._grow()

    def _grow(self) -> None:
        lines = min(8, max(self._least, self.document().blockCount()))
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 20)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Tell that the field was left."""
        super().focusOutEvent(event)
        self._owner.left.emit()


class LongTextEditor(Editor):
    """A text that may have several lines."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._edit = _Lines(self, 2)
        self.adopt(self._edit)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._edit.textChanged.connect(lambda: self.edited.emit(self._edit.toPlainText()))

    def show_value(self, value: Any) -> None:
        """Show the text."""
        if self._edit.toPlainText() != str(value):
            self._edit.blockSignals(True)
            self._edit.setPlainText(str(value))
            self._edit.blockSignals(False)
            self._edit._grow()


class LinesEditor(Editor):
    """A list of texts, one a line; empty lines do not count."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._edit = _Lines(self, 3)
        self._edit.setPlaceholderText("One a line")
        self._edit.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.adopt(self._edit)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._edit.textChanged.connect(lambda: self.edited.emit(self._lines()))

    def _lines(self) -> list[str]:
        return [line.strip() for line in self._edit.toPlainText().splitlines() if line.strip()]

    def show_value(self, value: Any) -> None:
        """Show the list, unless the text says the same already."""
        if self._lines() != list(value):
            self._edit.blockSignals(True)
            self._edit.setPlainText("\n".join(value))
            self._edit.blockSignals(False)
            self._edit._grow()


class FolderListEditor(Editor):
    """A list of folders with buttons to add and remove; folders may be dropped on it."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._list = QListWidget()
        self._list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._add = button("Add a folder…", "plus")
        self._remove = button("Remove", look="quiet")
        whole = QWidget()
        whole.setMaximumWidth(TEXT_WIDTH)
        layout = QVBoxLayout(whole)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self._list)
        layout.addLayout(row(self._add, self._remove, None))
        self.adopt(whole)
        self.setFocusProxy(self._add)
        self._list.setAccessibleName(entry.option.label)
        self.setAcceptDrops(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._add.clicked.connect(self.browse)
        self._remove.clicked.connect(self.remove_selected)
        self._list.itemSelectionChanged.connect(self._enable)
        self.show_value([])

    def field(self) -> QWidget:
        """The list."""
        return self._list

    def folders(self) -> list[str]:
        """What the list holds."""
        return [self._list.item(number).text() for number in range(self._list.count())]

    def show_value(self, value: Any) -> None:
        """Show the folders."""
        if self.folders() != list(value):
            self._list.clear()
            self._list.addItems(list(value))
            for number, folder in enumerate(value):
                self._list.item(number).setToolTip(folder)
        self._list.setVisible(bool(value))
        self._list.setFixedHeight(min(5, max(1, len(value))) * 32 + 6)
        self._enable()

    def _enable(self) -> None:
        self._remove.setVisible(self._list.count() > 0)
        self._remove.setEnabled(bool(self._list.selectedItems()))

    def add(self, folders: list[str]) -> None:
        """Append folders that are not in the list yet."""
        new = [folder for folder in folders if folder and folder not in self.folders()]
        if new:
            self._tell([*self.folders(), *new])

    def browse(self) -> None:
        """Ask for a folder."""
        start = str(Path(self.folders()[-1]).parent) if self.folders() else str(Path.home())
        self.add([QFileDialog.getExistingDirectory(self, self.entry.option.label, start)])

    def remove_selected(self) -> None:
        """Take the selected folders out; the pictures stay where they are."""
        gone = {item.text() for item in self._list.selectedItems()}
        self._tell([folder for folder in self.folders() if folder not in gone])

    def _tell(self, folders: list[str]) -> None:
        self.show_value(folders)
        self.edited.emit(folders)
        self.left.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Folders are welcome."""
        if any(path.is_dir() for path in dropped_paths(event.mimeData())):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add the folders."""
        event.acceptProposedAction()
        self.add([str(path) for path in dropped_paths(event.mimeData()) if path.is_dir()])
