"""The right side of the Grids page: one grid job, live or old, with its progress, its cells and their parameters."""

from __future__ import annotations

import contextlib

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QTabBar, QVBoxLayout

from core import grid_job
from core.errors import UserError
from core.events import Cell
from core.quantities import show_foretold
from core.runs import Run
from gui.run_state import RunState
from gui.widgets.basics import button, label, row, set_property, tool
from gui.widgets.elided import Elided
from gui.widgets.grid_view import GridView
from gui.widgets.picture_loader import PictureLoader
from gui.widgets.picture_view import ParameterPanel, PictureView, ShownPicture

_STATES = {
    "new": "Waiting for its worker",
    "finished": "",
    "stopped": "Stopped before its end",
    "failed": "Failed",
    "interrupted": "Interrupted: its worker was ended from outside",
    "paused": "Paused",
}


class GridJobView(QFrame):
    """Follows one job.

    Signals:
        loaded: The job was read to its present end.
        ended: Its worker ended while it was watched.
    """

    loaded = Signal()
    ended = Signal()

    def __init__(self, loader: PictureLoader, view: PictureView) -> None:
        super().__init__()
        self._view = view
        self.state: RunState | None = None
        self.grid = GridView(loader)
        self.panel = ParameterPanel()
        self.words = Elided("", "dim")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Progress of the grid")
        self.stop = button("Stop", "stop", tip="End after the present pictures; those that are there stay")
        self.fit = tool("zoom", "Fit the whole grid (0)")
        self.facts = tool("info", "Parameters of the framed picture (I)")
        self.facts.setCheckable(True)
        self.tabs = QTabBar()
        self.tabs.setExpanding(False)
        self.tabs.setAccessibleName("Value of the third axis")
        self._labels: tuple[list[str], list[str], list[str]] = ([], [], [])
        self._taken = 0
        self._in_view: Cell | None = None
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        head = row(self.words, None, self.stop, self.fit, self.facts)
        layout.addLayout(head)
        layout.addWidget(self.bar)
        layout.addWidget(self.tabs)
        body = QHBoxLayout()
        body.setSpacing(16)
        body.addWidget(self.grid, 1)
        body.addWidget(self.panel)
        layout.addLayout(body, 1)
        hint = label(
            "Arrows walk · Space flicks between the last two · Enter full size · I parameters · wheel zooms, drag pans",
            "dim",
        )
        hint.setMinimumWidth(10)
        layout.addWidget(hint)
        for widget in (self.panel, self.tabs, self.bar, self.stop):
            widget.hide()

    def _connect(self) -> None:
        self.fit.clicked.connect(self.grid.fit)
        self.facts.toggled.connect(self.panel.setVisible)
        self.tabs.currentChanged.connect(lambda _: self._show_sheet())
        self.stop.clicked.connect(self._stop)
        self.grid.current_changed.connect(self._frame)
        self.grid.opened.connect(self.enlarge)
        self._view.moved.connect(self._walk)
        self._view.flicked.connect(self._flick)
        self._view.closed.connect(self.grid.setFocus)

    def show_job(self, job: Run | None) -> None:
        """Follow another job; None follows nothing. UserError when it is no job."""
        state = RunState(job.path) if job is not None else None
        self.close_job()
        self.state = state
        self._taken = 0
        self._labels = _labels(job) if job is not None else ([], [], [])
        self._offer_sheets()
        self._show_sheet()
        self.panel.show_text("")
        if state is not None:
            state.updated.connect(self._news)
            state.loaded.connect(lambda: self._take(fade=False))
            state.loaded.connect(self.loaded)
            state.ended.connect(self.ended)
            state.start()
        self._news()

    def close_job(self) -> None:
        """Stop following."""
        if self.state is not None:
            self.state.close()
            self.state = None

    def _stop(self) -> None:
        if self.state is not None:
            self.state.stop()

    def _offer_sheets(self) -> None:
        """A tab for each value of the third axis."""
        sheets = self._labels[2]
        self.tabs.blockSignals(True)
        while self.tabs.count():
            self.tabs.removeTab(0)
        for text in sheets:
            self.tabs.addTab(text if len(text) <= 32 else text[:31] + "…")
        self.tabs.blockSignals(False)
        self.tabs.setVisible(len(sheets) > 1)

    def _show_sheet(self) -> None:
        """The cells of the chosen value of the third axis."""
        if self.state is None:
            self.grid.set_grid(self.grid._folder, (), ())
            return
        self.grid.set_grid(self.state.run.path, self._labels[0], self._labels[1])
        for cell in self.state.data.cells:
            if cell.z == max(0, self.tabs.currentIndex()):
                self.grid.add_cell(cell, fade=False)

    def _news(self) -> None:
        if self.state is None:
            self.words.say("")
            return
        if self.state.is_loaded:
            self._take(fade=True)
        self.words.say(self._state_words())
        set_property(self.words, "role", "error" if self.state.state == "failed" else "dim")
        done, total = self._counts()
        self.bar.setVisible(self.state.alive)
        self.stop.setVisible(self.state.alive)
        if total:
            self.bar.setRange(0, total)
            self.bar.setValue(done)

    def _take(self, fade: bool) -> None:
        """Show the cells that have come since the last time."""
        if self.state is None:
            return
        cells = self.state.data.cells
        new, self._taken = cells[self._taken :], len(cells)
        if new and self._learn(new):
            self._offer_sheets()
            self._show_sheet()
            return
        for cell in new:
            if cell.z == max(0, self.tabs.currentIndex()):
                self.grid.add_cell(cell, fade)

    def _learn(self, cells: list[Cell]) -> bool:
        """Labels from the cells themselves, where the plan can no longer be made; True when there are new ones."""
        changed = False
        for cell in cells:
            said = [*cell.labels, "", "", ""]
            for texts, place, text in zip(self._labels, (cell.x, cell.y, cell.z), said, strict=False):
                while len(texts) <= place:
                    texts.append("")
                    changed = True
                if not texts[place] and text:
                    texts[place] = text
                    changed = True
        return changed

    def _counts(self) -> tuple[int, int]:
        cells = self.state.data.cells if self.state else []
        planned = len(self._labels[0]) * len(self._labels[1]) * len(self._labels[2])
        return len(cells), max(planned, cells[-1].total if cells else 0)

    def seconds_a_picture(self) -> float | None:
        """Pace of this job; None before its second picture."""
        cells = self.state.data.cells if self.state else []
        if len(cells) < 2:
            return None
        return (cells[-1].time - cells[0].time) / (len(cells) - 1)

    def _state_words(self) -> str:
        state = self.state
        if state is None:
            return ""
        done, total = self._counts()
        words = f"{done:,} of {total:,} pictures" if done != total else f"{total:,} pictures"
        if not state.alive:
            why = state.data.ended.text if state.state == "failed" and state.data.ended else ""
            parts = [words if total else "", _STATES.get(state.state, state.state), why]
            return " · ".join(part for part in parts if part)
        pace = self.seconds_a_picture()
        if not done:
            progress = state.data.progress
            return f"{words} · {'loading the model' if progress is None else progress.text or 'getting ready'}"
        return f"{words} · {show_foretold(pace * (total - done))} left" if pace else words

    def _frame(self, cell: Cell | None) -> None:
        self.panel.show_text(cell.parameters if cell is not None else "")

    def enlarge(self, cell: Cell) -> None:
        """Show a cell as large as the page."""
        if self.state is not None:
            self._in_view = cell
            title = " · ".join(text for text in cell.labels if text) or "Picture"
            self._view.set_action("", None)
            shown = ShownPicture(self.state.run.path / cell.path, title, f"seed {cell.seed}", cell.parameters)
            self._view.show_picture(shown)

    def _walk(self, across: int, down: int) -> None:
        if self._in_view is not None:
            self.grid.walk(across, down)
            self._enlarge_current()

    def _flick(self) -> None:
        if self._in_view is not None:
            self.grid.flick()
            self._enlarge_current()

    def _enlarge_current(self) -> None:
        if self.grid.current is not None:
            self.enlarge(self.grid.current)

    def toggle_facts(self) -> None:
        """Show or hide the parameters."""
        self.facts.toggle()


def _labels(job: Run) -> tuple[list[str], list[str], list[str]]:
    """Labels of columns, rows and sheets by the job's plan; empty when a file of it is gone."""
    with contextlib.suppress(UserError, OSError):
        _, plan = grid_job.read_plan(job)
        x, y, z = (axis.labels for axis in plan.axes)
        third = plan.axes[2].component.LABEL
        return x, y, [f"{third}: {text}" if text else "" for text in z]
    return [], [], []
