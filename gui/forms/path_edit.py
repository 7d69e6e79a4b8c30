"""A path with a button to look for it; files and folders may be dropped on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QLineEdit, QMenu, QSizePolicy, QToolButton

from gui.forms.editors import TEXT_WIDTH, Editor
from gui.widgets.basics import tool
from gui.widgets.drops import dropped_paths

if TYPE_CHECKING:
    from core.schema import Entry

_FILES = "Models (*.safetensors);;All files (*)"


class PathEditor(Editor):
    """A line for a path; with the hint "folder" only folders are looked for."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry)
        self._edit = QLineEdit()
        self._edit.setMaximumWidth(TEXT_WIDTH - 36)
        self._edit.setAcceptDrops(False)
        self._browse = tool("folder", "Look for it")
        self.adopt(self._edit, self._browse)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAcceptDrops(True)
        self._edit.textEdited.connect(lambda text: self.edited.emit(text))
        self._edit.editingFinished.connect(self.left)
        if entry.option.editor == "folder":
            self._browse.clicked.connect(self.browse_folder)
        else:
            self._add_menu()

    def _add_menu(self) -> None:
        menu = QMenu(self)
        menu.addAction("A file…", self.browse_file)
        menu.addAction("A folder…", self.browse_folder)
        self._browse.setMenu(menu)
        self._browse.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    def show_value(self, value: Any) -> None:
        """Show the path."""
        if self._edit.text() != str(value):
            self._edit.setText(str(value))
            self._edit.setToolTip(str(value))

    def _start(self) -> str:
        """Where looking begins: beside the present path."""
        path = Path(self._edit.text()).expanduser()
        return str(path.parent if path.parent.is_dir() and self._edit.text() else Path.home())

    def browse_file(self) -> None:
        """Ask for a file."""
        found, _ = QFileDialog.getOpenFileName(self, self.entry.option.label, self._start(), _FILES)
        self.take(found)

    def browse_folder(self) -> None:
        """Ask for a folder."""
        self.take(QFileDialog.getExistingDirectory(self, self.entry.option.label, self._start()))

    def take(self, text: str) -> None:
        """Accept a path that was found or dropped."""
        if text:
            self.show_value(text)
            self.edited.emit(text)
            self.left.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files and folders are welcome."""
        if dropped_paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Take the first one."""
        event.acceptProposedAction()
        self.take(str(dropped_paths(event.mimeData())[0]))
