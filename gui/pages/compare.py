"""Compare: runs and sweeps over each other, their minima, settings, maps, and whether their curves coincide."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import msgspec
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFileDialog, QMenu, QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from core.compare import Compared, differences, named
from core.errors import UserError
from core.run_notes import Notes
from gui.context import Context
from gui.pages.base import Page
from gui.widgets import compare_export
from gui.widgets.background import Background
from gui.widgets.basics import Empty, button
from gui.widgets.compare_curves import CurvesCard, value_words
from gui.widgets.compare_map import MapPanel
from gui.widgets.compare_notes import NotesPanel
from gui.widgets.compare_picker import RunPicker
from gui.widgets.compare_point import PointBar
from gui.widgets.compare_reader import Choice, RunReader, read_choices
from gui.widgets.compare_scale import Question, ScalePanel
from gui.widgets.compare_settings import SettingsTable
from gui.widgets.compare_table import MinimaTable

log = logging.getLogger(__name__)

#: Runs that come within so many milliseconds are drawn together.
_TOGETHER_MS = 60
#: So many times as long as a drawing takes is waited for more.
_SHARE = 6
#: Milliseconds between two looks whether chosen runs have grown.
_GROWTH_MS = 4000
_STORE = "compare/runs"


class ComparePage(Page):
    """Assembles picker, curves and tables; what is chosen is kept for the next start."""

    name: ClassVar[str] = "compare"
    title: ClassVar[str] = "Compare"
    icon: ClassVar[str] = "compare"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.picker = RunPicker()
        self.curves = CurvesCard()
        self.point = PointBar(self)
        self.table = MinimaTable()
        self.settings = SettingsTable()
        self.map = MapPanel()
        self.scale = ScalePanel()
        self.notes = NotesPanel()
        self.reader = RunReader(self)
        self.export = button("Export", "save", tip="Write the plot as PNG or SVG, the minima or the curves as CSV")
        self._runs: dict[Path, Compared] = {}
        self._first = True
        self._unfilled: list[SettingsTable | MapPanel] = []
        self._lists = Background(self)
        self._imports = Background(self)
        self._draws = QTimer(self, singleShot=True, interval=_TOGETHER_MS)
        self._draws.timeout.connect(self._draw)
        self._grows = QTimer(self, interval=_GROWTH_MS)
        self._grows.timeout.connect(self._look_for_growth)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        for title, widget in (
            ("Minima", self.table),
            ("Settings", self.settings),
            ("Map", self.map),
            ("Same shape?", self.scale),
            ("Notes", self.notes),
        ):
            self.tabs.addTab(widget, title)
        upper = QWidget()
        above = QVBoxLayout(upper)
        above.setContentsMargins(0, 0, 0, 0)
        above.setSpacing(8)
        above.addWidget(self.curves, 1)
        above.addWidget(self.point)
        self.parts = QSplitter(Qt.Orientation.Vertical)
        self.parts.addWidget(upper)
        self.parts.addWidget(self.tabs)
        self.parts.setSizes([380, 260])
        self.parts.setChildrenCollapsible(False)
        self.right = QStackedWidget()
        self.right.addWidget(self._nothing_chosen())
        self.right.addWidget(self.parts)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.picker)
        self.splitter.addWidget(self.right)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setSizes([248, 900])
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setHandleWidth(16)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 0, 24, 16)
        layout.addWidget(self.splitter)
        menu = QMenu(self)
        for key, words, ending in compare_export.KINDS:
            menu.addAction(f"{words}…", lambda key=key, words=words, ending=ending: self._ask_where(key, words, ending))
        self.export.setMenu(menu)
        self.export.setProperty("menu", True)
        self.export.setEnabled(False)

    def _nothing_chosen(self) -> Empty:
        take_in = button("Import TensorBoard…", "drop", "primary")
        take_in.clicked.connect(self._ask_import)
        text = (
            "Tick runs at the left: your own, those of a sweep, or event files of other trainers. Their curves are "
            "drawn over each other, with a table of their minima and what their settings differ in."
        )
        return Empty("compare", "Lay runs over each other", text, take_in)

    def _connect(self) -> None:
        self._lists.done.connect(self._list)
        self._lists.failed.connect(lambda error: log.error("Runs could not be listed", exc_info=error))
        self._imports.done.connect(self._imported)
        self._imports.failed.connect(self._not_imported)
        self.picker.changed.connect(self._choose)
        self.picker.current_changed.connect(self._go_to)
        self.picker.import_asked.connect(self._ask_import)
        self.reader.loaded.connect(self._take)
        self.reader.failed.connect(lambda text: self.context.note.emit(text, "error"))
        self.tabs.currentChanged.connect(self._fill_tab)
        self.curves.question_changed.connect(self._ask_scale)
        self.curves.run_clicked.connect(self._show_point)
        self.curves.plot.values_changed.connect(self._read_out)
        self.table.current_changed.connect(lambda key: self._go_to(Path(key)))
        self.scale.scaled.connect(self.curves.set_factors)
        self.map.chosen.connect(lambda keys: self._go_to(Path(keys[0])))
        self.notes.changed.connect(self._noted)
        self.notes.failed.connect(lambda text: self.context.note.emit(text, "error"))
        self.notes.step_asked.connect(lambda path, step: self._show_point(str(path), step))
        self.point.bookmark_asked.connect(self._bookmark)
        self.point.monitor_asked.connect(self._open_in_monitor)
        self.point.grid_asked.connect(self._make_grid)

    def primary_actions(self) -> list[QWidget]:
        """Export."""
        return [self.export]

    def shown(self) -> None:
        """List the runs that there are now; the first time, choose those of last time."""
        self._grows.start()
        if not self._lists.busy:
            self._lists.start(read_choices)

    def hidden(self) -> None:
        """Write what was typed; look at nothing."""
        self._grows.stop()
        self.notes.write_now()

    def closed(self) -> None:
        """The same when the window closes."""
        self.hidden()
        self.point.loader.wait()

    # -- which runs -------------------------------------------------------------------------------------------

    def choose(self, paths: Sequence[Path]) -> None:
        """Choose these runs and no others."""
        self.picker.choose(paths)

    def compared(self) -> list[Compared]:
        """The runs that are chosen and read, in the order of the list."""
        return named([self._runs[path] for path in self.picker.chosen() if path in self._runs])

    def _list(self, choices: list[Choice]) -> None:
        self.picker.set_choices(choices)
        if self._first:
            self._first = False
            kept = self.context.store.value(_STORE, [], list) or []
            self.choose([Path(text) for text in kept])

    def _choose(self) -> None:
        chosen = self.picker.chosen()
        for path in [path for path in self._runs if path not in chosen]:
            del self._runs[path]
            self.reader.forget(path)
        self.reader.want([path for path in chosen if path not in self._runs], self.picker.colors())
        self.context.store.setValue(_STORE, [str(path) for path in chosen])
        self._draws.start()

    def _take(self, run: Compared) -> None:
        if run.path not in self.picker.chosen():
            self.reader.forget(run.path)
            return
        self._runs[run.path] = run
        known = self.picker.choice(run.path)
        if known is not None and known.notes != run.notes:
            self.picker.update_choice(replace(known, notes=run.notes))
        if not self._draws.isActive():
            self._draws.start()

    def _look_for_growth(self) -> None:
        """Runs that are at work are read again when their file has grown."""
        grown = []
        for path, run in self._runs.items():
            events = path / "events.jsonl"
            if run.reading is not None and events.exists() and events.stat().st_size > run.reading.position:
                grown.append(path)
        self.reader.want(grown)

    def _draw(self) -> None:
        began = time.perf_counter()
        self._draw_all()
        # While runs keep coming, most of the time is left to the reading of them.
        self._draws.setInterval(max(_TOGETHER_MS, round(_SHARE * 1000 * (time.perf_counter() - began))))

    def _draw_all(self) -> None:
        runs = self.compared()
        self.right.setCurrentIndex(1 if self.picker.chosen() else 0)
        self.export.setEnabled(bool(runs))
        self.curves.show_runs(runs)
        self.table.show_runs(runs)
        self._unfilled = [self.settings, self.map]
        self._fill_tab()
        self._ask_scale()
        if self.point.run is not None and self.point.run.path not in self._runs:
            self.point.forget()

    def _fill_tab(self) -> None:
        """Fill the tab in front where it does not show the present runs; the others wait until they come to it."""
        runs = self.compared()
        for tab in [tab for tab in self._unfilled if tab is self.tabs.currentWidget()]:
            self._unfilled.remove(tab)
            tab.show_runs(runs, differences(runs))

    def _ask_scale(self) -> None:
        runs = self.compared()
        self.scale.set_question(Question(runs, differences(runs), *self.curves.question))

    # -- one run, one point -----------------------------------------------------------------------------------

    def _go_to(self, path: Path) -> None:
        """One run is meant: in the list, in the table, on the plot and in the notes."""
        run, known = self._runs.get(path), self.picker.choice(path)
        self.picker.go_to(path)
        self.table.select_run(str(path))
        self.curves.plot.choose(str(path))
        self.notes.set_run(path, run.name if run else known.name if known else path.name)

    def _show_point(self, key: str, step: float) -> None:
        runs = {run.id: run for run in self.compared()}
        if key in runs:
            self._go_to(runs[key].path)
            self.point.show_point(runs[key], round(step), list(runs.values()))

    def _read_out(self) -> None:
        plot = self.curves.plot
        values = None if plot.cursor is None else {key: plot.value_of(key) for key in plot.lines}
        self.table.show_values(values, value_words)

    def _bookmark(self, run: Compared, step: int) -> None:
        self.notes.bookmark(run.path, run.name, step)
        self.context.note.emit(f"Step {step:,} of {run.name} is bookmarked; see Notes.", "info")

    def _noted(self, path: Path, notes: Notes) -> None:
        run, known = self._runs.get(path), self.picker.choice(path)
        if run is not None:
            self._runs[path] = replace(run, notes=msgspec.structs.replace(notes, color=run.notes.color))
        if known is not None:
            self.picker.update_choice(replace(known, notes=msgspec.structs.replace(notes, color=known.notes.color)))

    def _open_in_monitor(self, run: Compared, step: int) -> None:
        """Monitor shows the run, and pins the step once it has read it."""
        self.context.run_requested.emit(run.path)
        shown = self.context.run
        if shown is None or shown.run.path != run.path:
            return
        if shown.is_loaded:
            self.context.point_requested.emit(step)
        else:
            shown.loaded.connect(lambda: self.context.point_requested.emit(step))

    def _make_grid(self, run: Compared, step: int) -> None:
        try:
            self.context.show_run(run.path)
        except UserError as error:
            self.context.note.emit(str(error), "error")
            return
        self.context.grid_step = step
        self.context.page_requested.emit("grids")

    # -- files ------------------------------------------------------------------------------------------------

    def _ask_import(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder of event files (TensorBoard)", str(Path.home()))
        if folder:
            self.import_folder(Path(folder))

    def import_folder(self, folder: Path) -> None:
        """Import the event files at and below a folder in another thread, and choose the runs."""
        from core.tools.tensorboard_import import import_folder

        self.context.note.emit(f"Reading the event files in {folder.name}…", "info")
        self._imports.start(lambda: import_folder(folder))

    def _imported(self, answer: tuple[list[object], list[Path]]) -> None:
        made, _ = answer
        paths = [run.path for run in made]  # type: ignore[attr-defined]
        self.context.note.emit(f"{len(paths)} runs imported." if len(paths) > 1 else "1 run imported.", "info")
        wanted = [*self.picker.chosen(), *paths]
        self.picker.set_choices(read_choices())
        self.choose(wanted)

    def _not_imported(self, error: Exception) -> None:
        if not isinstance(error, UserError):
            log.error("Event files could not be imported", exc_info=error)
        self.context.note.emit(str(error), "error")

    def _ask_where(self, kind: str, words: str, ending: str) -> None:
        start = Path.home() / f"compare{ending}"
        chosen, _ = QFileDialog.getSaveFileName(self, words, str(start), f"*{ending}")
        if chosen:
            path = Path(chosen)
            self.write(kind, path if path.suffix else path.with_suffix(ending))

    def write(self, kind: str, path: Path) -> None:
        """Write one of compare_export.KINDS and say so."""
        card = self.curves
        try:
            words = (card.question[0], card.title, card.axis_title)
            compare_export.export(kind, path, card.plot, self.compared(), words)
        except UserError as error:
            self.context.note.emit(str(error), "error")
            return
        self.context.note.emit(f"Written: {path}", "info")
