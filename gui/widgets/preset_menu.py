"""The button with the preset's name: built-in presets, the user's own, and saving the present settings as one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFileDialog, QFrame, QLineEdit, QMenu, QPushButton, QVBoxLayout

from core.errors import UserError
from gui.widgets.basics import button, label, row, set_icon

if TYPE_CHECKING:
    from core.presets import Preset
    from gui.context import Context

log = logging.getLogger(__name__)


def own_presets() -> list[Preset]:
    """The user's presets that can be read, by name."""
    from core import paths, presets

    found = []
    for path in sorted(paths.presets_folder().glob("*.toml")):
        try:
            found.append(presets.read(path))
        except UserError as error:
            log.warning("%s", error)
    return found


class SavePopup(QFrame):
    """Asks for a name without a dialog: a small sheet under the button."""

    def __init__(self, owner: PresetMenu) -> None:
        super().__init__(owner, Qt.WindowType.Popup)
        self.setProperty("card", True)
        self._owner = owner
        self.name = QLineEdit()
        self.name.setPlaceholderText("Name of the preset")
        self.name.setMinimumWidth(280)
        self.name.returnPressed.connect(self.accept)
        save = button("Save preset", look="primary")
        save.clicked.connect(self.accept)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(8)
        layout.addWidget(label("Keep these settings under a name", "heading"))
        layout.addWidget(label("Only what differs from the preset below it is written.", "dim"))
        layout.addWidget(self.name)
        layout.addLayout(row(None, save))

    def accept(self) -> None:
        """Save when there is a name."""
        name = self.name.text().strip()
        if name:
            self.hide()
            self._owner.save_as(name)


class PresetMenu(QPushButton):
    """Shows which preset lies under the settings and how many options differ from it."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._popup: SavePopup | None = None
        self.setProperty("menu", True)
        set_icon(self, "preset", "dim")
        self.setToolTip("Presets: complete settings under a name")
        self.setMenu(QMenu(self))
        self.menu().aboutToShow.connect(self.fill)
        context.settings.preset_changed.connect(self.refresh)
        context.settings.value_changed.connect(lambda _: self.refresh())
        self.refresh()

    def refresh(self) -> None:
        """Name and number of changes."""
        settings = self._context.settings
        count = len(settings.changed_keys())
        name = settings.preset_name or "No preset"
        self.setText(f"{name}  ·  {count} change{'s' if count != 1 else ''}" if count else name)

    def fill(self) -> None:
        """Read the presets anew: files may have come and gone."""
        from core import presets

        menu = self.menu()
        menu.clear()
        menu.setToolTipsVisible(True)
        try:
            for preset in presets.builtin().values():
                self._add(menu, preset)
        except UserError as error:
            self._context.note.emit(str(error), "error")
        own = own_presets()
        if own:
            menu.addSection("Yours")
            for preset in own:
                self._add(menu, preset)
        menu.addSeparator()
        menu.addAction("Save preset as…", self.ask_name)
        menu.addAction("Open a preset file…", self.open_file)
        menu.addAction("Take over settings of kohya's sd-scripts…", self.import_kohya)
        undo = menu.addAction("Go back to the preset everywhere", self._context.settings.reset_all)
        undo.setEnabled(bool(self._context.settings.changed_keys()))

    def _add(self, menu: QMenu, preset: Preset) -> None:
        action = menu.addAction(preset.name, lambda: self.load(preset))
        action.setToolTip(preset.description)

    def load(self, preset: Preset) -> None:
        """Take a preset; what was changed before comes back with undo."""
        changed = len(self._context.settings.changed_keys())
        try:
            self._context.settings.load_preset(preset)
        except UserError as error:
            self._context.note.emit(str(error), "error")
            return
        back = f" Undo (Ctrl+Z) brings your {changed} change{'s' if changed != 1 else ''} back." if changed else ""
        self._context.note.emit(f"Preset “{preset.name}” loaded.{back}", "info")

    def open_file(self) -> None:
        """Ask for a preset file."""
        found, _ = QFileDialog.getOpenFileName(self, "Open a preset", str(Path.home()), "Presets (*.toml)")
        if found:
            self._context.run_requested.emit(Path(found))

    def import_kohya(self) -> None:
        """Show the dialog that reads settings of sd-scripts."""
        from gui.widgets.import_dialog import ImportDialog

        dialog = ImportDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted_values.connect(self.take_over)
        dialog.open()

    def take_over(self, values: dict[str, object], name: str) -> None:
        """Load imported values; undo brings back what was there."""
        self._context.settings.load_values(values)
        text = f"The settings of {name} are loaded. Save them as a preset to keep them; undo brings the old ones back."
        self._context.note.emit(text, "info")

    def ask_name(self) -> None:
        """Show the sheet that asks for a name."""
        self._popup = self._popup or SavePopup(self)
        self._popup.name.setText(self._context.settings.preset_name)
        self._popup.name.selectAll()
        self._popup.adjustSize()
        corner = self.mapToGlobal(QPoint(self.width() - self._popup.width(), self.height() + 4))
        self._popup.move(corner)
        self._popup.show()
        self._popup.name.setFocus()

    def save_as(self, name: str) -> None:
        """Write the settings into the user's folder of presets."""
        from core import paths
        from core.runs import slug

        try:
            path = paths.presets_folder() / f"{slug(name)}.toml"
            self._context.settings.save_preset(path, name)
        except UserError as error:
            self._context.note.emit(str(error), "error")
        else:
            self._context.note.emit(f"Preset “{name}” saved as {path}.", "info")
