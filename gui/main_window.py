"""The window: puts rail, title bar, pages and status line together and connects them. Decides nothing else."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMainWindow,
    QMessageBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from core.errors import UserError
from gui.context import Context
from gui.pages.base import Page
from gui.settings_model import SettingsModel
from gui.widgets.background import Background
from gui.widgets.basics import Empty
from gui.widgets.drops import dropped_paths, meaning
from gui.widgets.note_bar import NoteBar
from gui.widgets.rail import PagePlace, Rail
from gui.widgets.status_line import StatusLine
from gui.widgets.title_bar import TitleBar
from gui.worker_process import Workers, last_words

if TYPE_CHECKING:
    from core.runs import Run

log = logging.getLogger(__name__)

#: The pages in the order of the rail; each is imported and built when first shown.
PAGES = (
    PagePlace("home", "Home", "home", "gui.pages.home:HomePage"),
    PagePlace("dataset", "Dataset", "dataset", "gui.pages.dataset:DatasetPage"),
    PagePlace("training", "Training", "training", "gui.pages.training:TrainingPage"),
    PagePlace("monitor", "Monitor", "monitor", "gui.pages.monitor:MonitorPage"),
    PagePlace("grids", "Grids", "grids", "gui.pages.grids:GridsPage"),
    PagePlace("compare", "Compare", "compare", "gui.pages.compare:ComparePage"),
    PagePlace("help", "Help", "help", "gui.pages.help:HelpPage"),
)


class MainWindow(QMainWindow):
    """The one window. Pages speak to it through the Context's signals."""

    def __init__(self, workers: Workers | None = None, store: QSettings | None = None) -> None:
        super().__init__()
        self.setWindowTitle("Burnish")
        self.setAcceptDrops(True)
        self.setMinimumSize(1120, 640)
        self.context = Context(SettingsModel(), store)
        self.workers = workers or Workers(parent=self)
        self._store = self.context.store
        self._pages: dict[str, QWidget] = {}
        self._current = ""
        self._demo_run: Path | None = None
        self._finder = Background(self)
        self._finder.done.connect(self._found_live_run)
        self.rail = Rail(PAGES)
        self.title_bar = TitleBar()
        self.note = NoteBar()
        self.stack = QStackedWidget()
        self.status = StatusLine()
        self._lay_out()
        self._connect()
        self._add_shortcuts()
        self._restore()
        self.show_page("home")

    # -- putting together -------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(0)
        right.addWidget(self.title_bar)
        right.addWidget(self.note)
        right.addWidget(self.stack, 1)
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        middle.addWidget(self.rail)
        middle.addLayout(right, 1)
        ground = QWidget()
        layout = QVBoxLayout(ground)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(middle, 1)
        layout.addWidget(self.status)
        self.setCentralWidget(ground)

    def _connect(self) -> None:
        context = self.context
        self.rail.chosen.connect(self.show_page)
        self.status.clicked.connect(lambda: self.show_page("monitor"))
        context.page_requested.connect(self.show_page)
        context.note.connect(self.note.show_note)
        context.run_changed.connect(self._follow)
        context.train_requested.connect(lambda: self.attempt(self._train))
        context.demo_requested.connect(lambda: self.attempt(self.start_demo))
        context.resume_requested.connect(lambda path: self.attempt(self.workers.resume, path))
        context.run_requested.connect(lambda path: self.attempt(self.open_path, path))
        context.field_requested.connect(lambda key: self._lead("training", context.field_requested, key))
        context.help_requested.connect(lambda key: self._lead("help", context.help_requested, key))
        self.workers.started.connect(lambda path: self.attempt(self._show_started, path))
        self.workers.ended.connect(self._tell_end)

    def _add_shortcuts(self) -> None:
        for number, place in enumerate(PAGES, 1):
            self._shortcut(f"Ctrl+{number}", lambda name=place.name: self.show_page(name))
        for keys in ("Ctrl+Shift+Z", "Ctrl+Y"):
            self._shortcut(keys, self.context.settings.redo)
        self._shortcut("Ctrl+Z", self.context.settings.undo)
        self._shortcut("Ctrl+B", lambda: self.rail.set_collapsed(not self.rail.collapsed))

    def _shortcut(self, keys: str, action: object) -> None:
        QShortcut(QKeySequence(keys), self, action)  # type: ignore[call-overload]

    # -- pages ------------------------------------------------------------------------------------------------

    def show_page(self, name: str) -> None:
        """Bring a page to the front; it is made now if it was never shown."""
        if name == self._current or name not in self.rail.buttons:
            return
        before = self._pages.get(self._current)
        page = self._page(name)
        place = next(place for place in PAGES if place.name == name)
        self._current = name
        self.rail.set_current(name)
        real = page if isinstance(page, Page) else None
        self.title_bar.show_page(name, place.title, real)
        self.stack.setCurrentWidget(page)
        if isinstance(before, Page):
            before.hidden()
        page.setFocus()
        if real is not None:
            real.shown()

    def page(self, name: str) -> QWidget | None:
        """A page that was made already."""
        return self._pages.get(name)

    @property
    def current(self) -> str:
        """Name of the page in front."""
        return self._current

    def _page(self, name: str) -> QWidget:
        if name not in self._pages:
            self._pages[name] = self._make(next(place for place in PAGES if place.name == name))
            self.stack.addWidget(self._pages[name])
        return self._pages[name]

    def _make(self, place: PagePlace) -> QWidget:
        """The page, or a page that says why there is none; the whole reason is in the log."""
        module, _, class_name = place.target.partition(":")
        try:
            page: QWidget = getattr(importlib.import_module(module), class_name)(self.context)
        except Exception as error:
            log.exception("The page %s could not be made", place.name)
            words = f"This is a fault of ours ({type(error).__name__}: {error}). The log has the details."
            page = Empty("error", f"{place.title} could not be opened", words)
        page.setObjectName("page")
        page.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        return page

    def _lead(self, name: str, signal: object, key: str) -> None:
        """Show the page that listens to a signal; a page that is only made now is told again once it stands."""
        made = name in self._pages
        self.show_page(name)
        if not made:
            QTimer.singleShot(0, lambda: signal.emit(key))  # type: ignore[attr-defined]

    # -- jobs -------------------------------------------------------------------------------------------------

    def attempt(self, action: object, *arguments: object) -> None:
        """Do something that may fail; the user reads why in the bar under the title."""
        try:
            action(*arguments)  # type: ignore[operator]
        except UserError as error:
            self.note.show_note(str(error), "error")
        except Exception as error:
            log.exception("An action failed")
            self.note.show_note(f"Something went wrong inside Burnish ({error}). The log has the details.", "error")

    def _train(self) -> None:
        self.workers.start_training(self.context.settings.settings(), self.context.settings.preset_name)

    def start_demo(self, changes: Sequence[str] = ()) -> None:
        """Train the shipped model on the shipped pictures, then draw a grid; `changes` as on the command line."""
        from core import demo, presets

        settings = demo.settings(changes)
        self.context.settings.load_preset(presets.read(demo.PRESET))
        self._demo_run = self.workers.start_training(settings, "starter")

    def _draw_demo_grid(self, path: Path) -> None:
        """The second half of the demo: the checkpoints side by side."""
        from core import demo, grid_job, runs

        run = runs.open_run(path)
        self.workers.start(grid_job.create(demo.grid_settings(run), run), "grid")
        self.note.show_note("The demo's run is done. Its checkpoints are now drawn side by side.", "info")
        self.show_page("grids")

    def _show_live(self, path: Path) -> None:
        self.context.show_run(path)
        self.show_page("monitor")

    def _follow(self, run: object) -> None:
        self.status.follow(run)  # type: ignore[arg-type]
        if run is not None:
            run.updated.connect(self._mark_rail)  # type: ignore[attr-defined]
        self._mark_rail()

    def _mark_rail(self) -> None:
        """The dot at Monitor, and the window's title, which the task bar shows."""
        run = self.context.run
        self.rail.buttons["monitor"].set_alive(run is not None and run.alive)
        title = "Burnish"
        if run is not None:
            total = run.total_steps
            share = f"{run.data.last_step * 100 // total} % " if run.alive and total else ""
            title = f"{share}{run.name} ({run.state}) - Burnish"
        if title != self.windowTitle():
            self.setWindowTitle(title)

    def _show_started(self, path: Path) -> None:
        """A training is watched in Monitor; a grid is shown by its own page."""
        if _who(path)[1] == "train":
            self._show_live(path)

    def _tell_end(self, path: Path, state: str) -> None:
        """Say how a worker ended; the demo goes on to its grid."""
        if path == self._demo_run and state == "finished":
            self._demo_run = None
            self.attempt(self._draw_demo_grid, path)
            return
        name, kind = _who(path)
        if state == "new":
            why = last_words(path)
            self.note.show_note(f"{name} could not start: {why or 'its worker ended without a word'}", "error")
        elif state in ("failed", "interrupted"):
            words = "failed" if state == "failed" else "was interrupted"
            self.note.show_note(f"{name} {words}. The log under Monitor says why.", "error")
        elif kind == "train":
            self.note.show_note(f"{name} {'is done' if state == 'finished' else 'has stopped and saved'}.", "info")

    def find_live_run(self) -> None:
        """Show a run whose worker is at work, wherever it was started; looked for in another thread."""
        self._finder.start(_live_run)

    def _found_live_run(self, run: Run | None) -> None:
        if run is not None and self.context.run is None:
            self.workers.watch(run)
            self.attempt(self.context.show_run, run.path)

    # -- opening ----------------------------------------------------------------------------------------------

    def open_path(self, path: Path) -> None:
        """Open a run folder, a preset, a model or a folder of pictures; UserError when it is none of them."""
        kind = meaning(path)
        settings = self.context.settings
        if kind == "run":
            self._show_live(path)
        elif kind == "preset":
            from core import presets

            settings.load_preset(presets.read(path))
            self.show_page("training")
        elif kind == "model":
            self._take("path", str(path))
            self.show_page("training")
        elif kind == "pictures":
            self._take("folder", str(path))
            self.show_page("dataset")
        else:
            raise UserError(
                f"{path.name}: Burnish opens folders of pictures, .safetensors models, .toml presets and run folders."
            )

    def _take(self, editor: str, text: str) -> None:
        """Put a dropped path into the first option that holds such paths."""
        settings = self.context.settings
        entry = next(entry for entry in settings.entries.values() if entry.option.editor == editor)
        old = settings.value(entry.key)
        if entry.kind == "list":
            settings.set(entry.key, old if text in old else [*old, text])
        else:
            settings.set(entry.key, text)
        self.note.show_note(f"{entry.option.label}: {text}", "info")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Welcome files and folders that mean something."""
        if any(meaning(path) != "unknown" for path in dropped_paths(event.mimeData())):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        event.acceptProposedAction()
        for path in dropped_paths(event.mimeData()):
            self.attempt(self.open_path, path)

    # -- coming and going -------------------------------------------------------------------------------------

    def _restore(self) -> None:
        geometry = self._store.value("window/geometry")
        if geometry is None or not self.restoreGeometry(geometry):
            self.resize(1366, 768)
        if self._store.value("window/rail_collapsed", False, bool):
            self.rail.set_collapsed(True)

    def _remember(self) -> None:
        self._store.setValue("window/geometry", self.saveGeometry())
        self._store.setValue("window/rail_collapsed", self.rail.collapsed)

    def ask_about_running(self, name: str) -> str:
        """Ask what should become of the running job: "keep", "stop" or "cancel"."""
        box = QMessageBox(self)
        box.setWindowTitle("Burnish")
        box.setText(f"{name} is still running.")
        box.setInformativeText(
            "It can go on without this window; the next start of Burnish finds it again. "
            "Or it can stop after the present step and save, and go on later."
        )
        keep = box.addButton("Keep running", QMessageBox.ButtonRole.AcceptRole)
        stop = box.addButton("Stop and save", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.exec()
        clicked = box.clickedButton()
        return "keep" if clicked is keep else "stop" if clicked is stop else "cancel"

    def closeEvent(self, event: QCloseEvent) -> None:
        """Never end a run by closing the window, unless its user says so."""
        run = self.context.run
        if run is not None and run.alive:
            answer = self.ask_about_running(run.name)
            if answer == "cancel":
                event.ignore()
                return
            if answer == "stop":
                self.workers.stop_and_save(run.run.path)
        self._remember()
        for page in self._pages.values():
            if isinstance(page, Page):
                page.hidden()
                page.closed()
        if run is not None:
            run.close()
        event.accept()


def _live_run() -> Run | None:
    """The newest run that has a living worker."""
    from core import runs

    return next((run for run in runs.list_runs() if run.worker_pid() is not None), None)


def _who(path: Path) -> tuple[str, str]:
    """(name, kind) of a run; its folder's name when it cannot be read any more."""
    from core import runs

    try:
        facts = runs.open_run(path).facts()
    except UserError:
        return path.name, "train"
    return str(facts.get("name", path.name)), str(facts.get("kind", "train"))
