"""The window of sweeps: plan a new one, or follow one of those that there are; works beside the main window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QComboBox, QDialog, QStackedWidget, QVBoxLayout, QWidget

from core.errors import UserError
from gui.context import Context
from gui.widgets.background import Background
from gui.widgets.basics import label, row
from gui.widgets.sweep_plan import SweepPlanner
from gui.widgets.sweep_queue import SweepQueue
from gui.worker_process import Workers

if TYPE_CHECKING:
    from core.sweep.file import Sweep
    from core.sweep.folder import SweepFolder
    from core.sweep.plan import SweepPlan

_MARKS = {"running": "at work", "finished": "done", "paused": "waiting", "new": "not begun"}


class SweepDialog(QDialog):
    """A menu of sweeps above the form of a new one or the queue of an old one. Sweeps outlive this window."""

    def __init__(self, context: Context, parent: QWidget | None = None, workers: Workers | None = None) -> None:
        """Tests give `workers` of their own."""
        super().__init__(parent)
        self.setWindowTitle("Sweep")
        self.resize(1240, 700)
        self.context = context
        self.workers = workers or Workers(parent=self)
        self.chooser = QComboBox()
        self.chooser.setMinimumWidth(360)
        self.chooser.setAccessibleName("Sweep")
        self.planner = SweepPlanner(context)
        self.queue = SweepQueue(context, self.workers)
        self._listing = Background(self)
        self._follow_newest = True
        self._stack = QStackedWidget()
        self._stack.addWidget(self.planner)
        self._stack.addWidget(self.queue)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 24)
        layout.setSpacing(16)
        layout.addLayout(row(label("Sweep", "heading"), self.chooser, None))
        layout.addWidget(self._stack, 1)
        self._fill([])
        self._connect()

    def _connect(self) -> None:
        self.chooser.activated.connect(lambda _: self._show_chosen())
        self.planner.start_requested.connect(self.begin)
        self._listing.done.connect(self._listed)
        self._listing.failed.connect(lambda error: None)

    def showEvent(self, event: QShowEvent) -> None:
        """Look for sweeps; one that is at work comes to the front."""
        super().showEvent(event)
        self.list_sweeps()
        if self._stack.currentWidget() is self.queue and self.queue.folder is not None:
            self.queue.show_sweep(self.queue.folder)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Nobody looks any more; what is at work goes on."""
        self.queue.leave()
        super().closeEvent(event)

    # -- which sweep -------------------------------------------------------------------------------------------

    def list_sweeps(self) -> None:
        """Look for sweeps in the background."""
        self._listing.start(_sweeps)

    def _listed(self, found: list[tuple[SweepFolder, str]]) -> None:
        self._fill(found)
        running = next((folder for folder, state in found if state == "running"), None)
        if running is not None and self._follow_newest and not self.planner.rows:
            self.follow(running)
        self._follow_newest = False

    def _fill(self, found: list[tuple[SweepFolder, str]]) -> None:
        self.chooser.clear()
        self.chooser.addItem("A new sweep", None)
        for folder, state in found:
            self.chooser.addItem(f"{folder.name} ({_MARKS[state]})", str(folder.path))
        self._mark()

    def _mark(self) -> None:
        """The menu says what is shown."""
        shown: Any = None
        if self._stack.currentWidget() is self.queue and self.queue.folder is not None:
            shown = str(self.queue.folder.path)
            if self.chooser.findData(shown) < 0:
                self.chooser.addItem(self.queue.folder.name, shown)
        self.chooser.setCurrentIndex(max(0, self.chooser.findData(shown)))

    def _show_chosen(self) -> None:
        path = self.chooser.currentData()
        if path is None:
            self.queue.leave()
            self._stack.setCurrentWidget(self.planner)
            self.planner.refresh()
            return
        from core.sweep.folder import SweepFolder

        try:
            self.follow(SweepFolder(Path(path)))
        except UserError as error:
            self.context.note.emit(str(error), "error")

    def follow(self, folder: SweepFolder) -> None:
        """Show a sweep's queue."""
        self._stack.setCurrentWidget(self.queue)
        self.queue.show_sweep(folder)
        self._mark()

    # -- a new one ---------------------------------------------------------------------------------------------

    def begin(self, sweep: Sweep, plan: SweepPlan) -> None:
        """Make the folder of a planned sweep and start its queue."""
        from core.sweep import folder

        try:
            made = folder.create(sweep, plan)
        except UserError as error:
            self.planner.problem.setText(str(error))
            self.planner.problem.show()
            return
        self.follow(made)
        self.queue.begin()


def _sweeps() -> list[tuple[SweepFolder, str]]:
    """All sweeps with their states; works off the window's thread."""
    from core.sweep.folder import list_sweeps

    return [(folder, folder.state()) for folder in list_sweeps()]
