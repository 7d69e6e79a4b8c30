"""Home: try the demo, drop a folder or a model, go on with a run, begin from a preset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from gui.context import Context
from gui.pages.base import Page
from gui.widgets.background import Background
from gui.widgets.basics import IconLabel, Scroller, button, card, column, label, row, set_property
from gui.widgets.drops import dropped_paths, meaning
from gui.widgets.run_list import RunFacts, RunList, read_runs

if TYPE_CHECKING:
    from core.presets import Preset

log = logging.getLogger(__name__)


class DropZone(QFrame):
    """Where a folder of pictures, a model, a preset or a run may be dropped, or looked for.

    Signals:
        chosen: The path.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", "drop")
        self.setAcceptDrops(True)
        pictures = button("Choose a folder of pictures…", "picture")
        model = button("Choose a model…", "model")
        pictures.clicked.connect(self.ask_folder)
        model.clicked.connect(self.ask_model)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(8)
        layout.addLayout(row(IconLabel("drop", "dim", 24), label("Begin with your own", "heading"), None, spacing=12))
        text = "Drop a folder of pictures or a .safetensors model here. Presets (.toml) and run folders open as well."
        layout.addWidget(label(text, "dim", wrap=True))
        layout.addStretch(1)
        layout.addSpacing(8)
        layout.addLayout(row(pictures, model, None))

    def ask_folder(self) -> None:
        """Look for a folder of pictures."""
        self._tell(QFileDialog.getExistingDirectory(self, "A folder of pictures", str(Path.home())))

    def ask_model(self) -> None:
        """Look for a model file."""
        found, _ = QFileDialog.getOpenFileName(self, "A model", str(Path.home()), "Models (*.safetensors)")
        self._tell(found)

    def _tell(self, text: str) -> None:
        if text:
            self.chosen.emit(Path(text))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Light up when what is dragged means something."""
        if any(meaning(path) != "unknown" for path in dropped_paths(event.mimeData())):
            set_property(self, "over", True)
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Back to rest."""
        set_property(self, "over", False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Tell each path."""
        set_property(self, "over", False)
        event.acceptProposedAction()
        for path in dropped_paths(event.mimeData()):
            self.chosen.emit(path)


class PresetCard(QFrame):
    """One preset: its name and what it is for.

    Signals:
        chosen: It was clicked.
    """

    chosen = Signal(object)

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.setProperty("listrow", True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(f"Preset {preset.name}")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(12)
        layout.addWidget(IconLabel("preset", "accent", 20), 0, Qt.AlignmentFlag.AlignTop)
        about = column(label(preset.name, "value", wrap=True), spacing=2)
        if preset.description:
            about.addWidget(label(preset.description, "dim", wrap=True))
        layout.addLayout(about, 1)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Choose it."""
        self.chosen.emit(self.preset)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter and space choose it as well."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.chosen.emit(self.preset)
        else:
            super().keyPressEvent(event)


class HomePage(Page):
    """Assembles the cards; reads runs and presets after the first paint, in another thread."""

    name: ClassVar[str] = "home"
    title: ClassVar[str] = "Home"
    icon: ClassVar[str] = "home"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.demo = button("Try the demo", "play", "primary")
        self.drop = DropZone()
        self.runs = RunList()
        self.preset_cards: list[PresetCard] = []
        self._presets = QVBoxLayout()
        self._no_presets = label("Presets will be listed here.", "dim", wrap=True)
        self._read_runs = Background(self)
        self._read_presets = Background(self)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        top = row(self._demo_card(), self.drop, spacing=16)
        top.setStretch(0, 1)
        top.setStretch(1, 1)
        self._presets.setSpacing(2)
        self._presets.addWidget(self._no_presets)
        below = QHBoxLayout()
        below.setSpacing(16)
        below.addWidget(self._list_card("Recent runs", self.runs), 1, Qt.AlignmentFlag.AlignTop)
        below.addWidget(self._list_card("Begin from a preset", self._presets), 1, Qt.AlignmentFlag.AlignTop)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(Scroller(top, below, margins=(24, 8, 24, 24)))

    def _demo_card(self) -> QFrame:
        text = (
            "A small model that comes with Burnish learns the pictures that come with it, on this machine as it is. "
            "You watch the stable loss fall, then compare the checkpoints in a grid. Nothing is downloaded, and it "
            "takes a few minutes."
        )
        head = row(IconLabel("monitor", "accent", 24), label("See it work", "heading"), None, spacing=12)
        return card(head, label(text, "dim", wrap=True), None, 8, row(self.demo, None), margins=24)

    def _list_card(self, title: str, content: QWidget | QVBoxLayout) -> QFrame:
        heading = label(title, "heading")
        heading.setContentsMargins(8, 0, 0, 0)
        self._no_presets.setContentsMargins(8, 0, 8, 8)
        return card(heading, content, margins=16)

    def _connect(self) -> None:
        context = self.context
        self.demo.clicked.connect(context.demo_requested)
        self.drop.chosen.connect(context.run_requested)
        self.runs.opened.connect(context.run_requested)
        self.runs.go_on.connect(context.resume_requested)
        self._read_runs.done.connect(self._show_runs)
        self._read_presets.done.connect(self._show_presets)
        for reader in (self._read_runs, self._read_presets):
            reader.failed.connect(lambda error: log.error("Home could not read: %s", error))

    def shown(self) -> None:
        """Read runs and presets anew, once the page is painted."""
        QTimer.singleShot(50, self.refresh)

    def refresh(self) -> None:
        """Read runs and presets in another thread."""
        if not self._read_runs.busy:
            self._read_runs.start(read_runs)
        if not self._read_presets.busy and not self.preset_cards:
            self._read_presets.start(_builtin_presets)

    def _show_runs(self, runs: list[RunFacts]) -> None:
        self.runs.show_runs(runs)

    def _show_presets(self, presets: list[Preset]) -> None:
        for preset in presets:
            made = PresetCard(preset)
            made.chosen.connect(self._choose)
            self._presets.addWidget(made)
            self.preset_cards.append(made)
        self._no_presets.setVisible(not self.preset_cards)

    def _choose(self, preset: Preset) -> None:
        if preset.path is not None:
            self.context.run_requested.emit(preset.path)


def _builtin_presets() -> list[Preset]:
    from core import presets

    return list(presets.builtin().values())
