"""What pages share: the settings being edited, the run being shown, and requests to the main window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSettings, Signal

if TYPE_CHECKING:
    from gui.run_state import RunState
    from gui.settings_model import SettingsModel


class Context(QObject):
    """Handed to every page. Pages talk to each other only through its signals.

    Signals:
        page_requested: Name of a page to show ("monitor").
        run_changed: The RunState that is shown now (or None).
        note: A sentence for the status bar; the level is "info", "warning" or "error".
        field_requested: Key of an option that the Training page should show and focus.
        point_requested: A step of the shown run whose pictures should be shown.
        train_requested: Start training with the settings as they are.
        help_requested: Key of an option that Help should explain.
        demo_requested: Start the demo: the shipped model on the shipped pictures.
        resume_requested: Folder of a run that should go on from its last state.
        run_requested: Folder of a run that should be shown in Monitor.
        dataset_changed: The report of the indexed folders (core.data.report.Report) or None.
    """

    page_requested = Signal(str)
    run_changed = Signal(object)
    note = Signal(str, str)
    field_requested = Signal(str)
    point_requested = Signal(int)
    train_requested = Signal()
    help_requested = Signal(str)
    demo_requested = Signal()
    resume_requested = Signal(object)
    run_requested = Signal(object)
    dataset_changed = Signal(object)

    def __init__(self, settings: SettingsModel, store: QSettings | None = None) -> None:
        """`store` remembers what the window looked like; tests give one of their own."""
        super().__init__()
        self.settings = settings
        self.store = store if store is not None else QSettings()
        self.run: RunState | None = None
        self.report: object | None = None
        #: A step that was chosen on a curve, until the Grids page takes it up.
        self.grid_step: int | None = None
        #: The folder of a grid that the Grids page should show when it comes to the front.
        self.grid_job: Path | None = None

    def show_run(self, path: Path) -> None:
        """Follow the run in a folder, live or old, and tell the pages; UserError when it is no run."""
        from gui.run_state import RunState

        state = RunState(path)
        if self.run is not None:
            self.run.close()
        self.run = state
        self.run_changed.emit(state)
        state.start()
