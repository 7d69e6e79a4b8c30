"""A sweep at work: its runs with their minima so far; reorder, skip, pause, stop, go on, look at one in Monitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFileDialog, QProgressBar, QVBoxLayout, QWidget

from core.errors import UserError
from gui.context import Context
from gui.widgets.background import Background
from gui.widgets.basics import button, column, label, row
from gui.widgets.elided import Elided
from gui.widgets.sweep_table import Table
from gui.worker_process import Workers, last_words

if TYPE_CHECKING:
    from core.sweep.folder import SweepFolder
    from core.sweep.results import Result

_HEADS = ("", "Run", "State", "Step", "Minimum", "At step", "Images", "Rate", "kWh", "Cost")
_REFRESH_MS = 1500
_COLOURS = {"running": "accent", "failed": "bad", "skipped": "dim", "waiting": "dim", "stopped": "warn"}
_STATES = {"new": "Not begun", "running": "At work", "finished": "Done", "paused": "Waiting to go on"}


class SweepQueue(QWidget):
    """Follows one sweep's folder; reads it in the background, a run anew only when it has said something."""

    def __init__(self, context: Context, workers: Workers) -> None:
        super().__init__()
        self.context = context
        self.workers = workers
        self.folder: SweepFolder | None = None
        self.rows: list[Result] = []
        self._read: Callable[[], tuple[list[Result], str, str]] | None = None
        self._reading = Background(self)
        self._timer = QTimer(self, interval=_REFRESH_MS)
        self._state = ""
        self._holding = False
        self._make()
        self._lay_out()
        self._connect()

    # -- putting together --------------------------------------------------------------------------------------

    def _make(self) -> None:
        self.state = Elided("", "value")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Runs that are done")
        self.problem = label("", "error", wrap=True)
        self.best = label("", wrap=True)
        self.table = Table()
        self.pause = button("Pause", "pause", tip="The present runs go on to their ends, no further one begins")
        self.stop = button("Stop", "stop", tip="The present runs are saved and end; they can go on from there")
        self.go_on = button("Go on", "play", "primary", "Go on with what is half done, then with the rest")
        self.up = button("Up", tip="Earlier in the queue")
        self.down = button("Down", tip="Later in the queue")
        self.skip = button("Skip", tip="Leave this run out; one at work is saved and ends")
        self.again = button("Try again", "reset", tip="Put this run into the queue once more, from where it ended")
        self.watch = button("Show in Monitor", "monitor", tip="All curves of this run")
        self.export = button("Export…", "save", tip="Write the table as CSV")

    def _lay_out(self) -> None:
        head = row(self.state, self.pause, self.stop, self.go_on)
        head.setStretch(0, 1)
        foot = row(self.up, self.down, self.skip, self.again, self.watch, None, self.export)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addLayout(column(head, self.bar, self.problem, spacing=8))
        layout.addWidget(self.table, 1)
        layout.addWidget(self.best)
        layout.addLayout(foot)
        self.problem.hide()

    def _connect(self) -> None:
        self._timer.timeout.connect(self.refresh)
        self._reading.done.connect(self._arrived)
        self._reading.failed.connect(self._failed)
        self.table.itemSelectionChanged.connect(self._enable)
        self.pause.clicked.connect(self._pause)
        self.stop.clicked.connect(lambda: self._ask("stop"))
        self.go_on.clicked.connect(self.begin)
        self.up.clicked.connect(lambda: self._move(-1))
        self.down.clicked.connect(lambda: self._move(1))
        self.skip.clicked.connect(self._skip)
        self.again.clicked.connect(lambda: self._note("again"))
        self.watch.clicked.connect(self._watch)
        self.table.doubleClicked.connect(lambda _: self._watch())
        self.export.clicked.connect(self._choose_place)
        self.workers.ended.connect(lambda path, state: self._process_gone(Path(str(path)), state))

    # -- following ---------------------------------------------------------------------------------------------

    def show_sweep(self, folder: SweepFolder) -> None:
        """Follow this sweep."""
        from core.sweep.results import Reader

        self.folder, self.rows, self._holding = folder, [], False
        reader = Reader(folder)
        self._read = lambda: (reader.rows(), folder.state(), folder.failure())
        self.problem.hide()
        self.best.setText("")
        self.table.show_rows(_HEADS, [])
        self._reading.forget()
        self.refresh()
        self._timer.start()

    def leave(self) -> None:
        """Nobody looks any more."""
        self._timer.stop()
        self._reading.forget()

    def refresh(self) -> None:
        """Read the folder anew unless that is under way."""
        if self._read is not None and not self._reading.busy:
            self._reading.start(self._read)

    def _failed(self, error: object) -> None:
        if not isinstance(error, UserError):
            raise error  # type: ignore[misc]
        self._tell(str(error))

    def _arrived(self, found: tuple[list[Result], str, str]) -> None:
        chosen = self._chosen()
        self.rows, self._state, failure = found
        self.table.show_rows(
            _HEADS,
            [_cells(place, one) for place, one in enumerate(self.rows, 1)],
            [_COLOURS.get(one.state, "text") for one in self.rows],
            stretch=1,
        )
        if chosen is not None:
            self._choose(chosen.id)
        done = sum(one.state in ("finished", "ended early", "stopped", "failed", "skipped") for one in self.rows)
        self.bar.setRange(0, max(1, len(self.rows)))
        self.bar.setValue(done)
        words = "Pausing after the present runs" if self._holding and self._state == "running" else _STATES[self._state]
        self.state.say(f"{words}: {done} of {len(self.rows)} runs are done{self._left()}")
        self.best.setText(best_words(self.rows))
        if failure and self._state != "running":
            self._tell(failure)
        self._enable()

    def _left(self) -> str:
        """How long it will take yet, while it is at work."""
        from core.quantities import show_foretold
        from core.sweep.results import hours_left

        left = hours_left(self.folder.plan, self.rows) if self.folder is not None and self._state == "running" else None
        return f", about {show_foretold(3600 * left)} left" if left else ""

    def _tell(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def _process_gone(self, path: Path, state: str) -> None:
        """A queue that ended before its first word is told from its console."""
        if self.folder is not None and path == self.folder.path:
            if state == "new":
                self._tell(last_words(path) or "The queue ended without a word.")
            self.refresh()

    # -- one run -----------------------------------------------------------------------------------------------

    def _chosen(self) -> Result | None:
        chosen = self.table.selectionModel().selectedRows()
        place = chosen[0].row() if chosen else -1
        return self.rows[place] if 0 <= place < len(self.rows) else None

    def _choose(self, run_id: str) -> None:
        for place, one in enumerate(self.rows):
            if one.id == run_id:
                self.table.selectRow(place)

    def _enable(self) -> None:
        """What can be done now."""
        at_work, chosen = self._state == "running", self._chosen()
        state = chosen.state if chosen is not None else ""
        self.pause.setVisible(at_work)
        self.pause.setText("Do not pause" if self._holding else "Pause")
        self.stop.setVisible(at_work)
        self.go_on.setVisible(self._state in ("new", "paused") and not self._starting())
        place = self.rows.index(chosen) if chosen is not None else -1
        self.up.setEnabled(state == "waiting" and place > 0)
        self.down.setEnabled(state == "waiting" and place < len(self.rows) - 1)
        self.skip.setEnabled(state in ("waiting", "running", "skipped"))
        self.skip.setText("Do not skip" if state == "skipped" else "Skip")
        self.again.setEnabled(state in ("failed", "ended early", "stopped"))
        self.watch.setEnabled(chosen is not None and (Path(chosen.path) / "run.json").exists())
        self.export.setEnabled(bool(self.rows))

    def _starting(self) -> bool:
        return self.folder is not None and self.folder.path in self.workers.running()

    def _note(self, what: str, place: int = 0) -> None:
        """Write into the journal about the chosen run."""
        chosen = self._chosen()
        if self.folder is None or chosen is None:
            return
        try:
            self.folder.note(what, chosen.id, place=place)
        except UserError as error:
            self._tell(str(error))
        self._reading.forget()
        self.refresh()

    def _move(self, by: int) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._note("move", self.rows.index(chosen) + by)

    def _skip(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._note("restore" if chosen.state == "skipped" else "skip")

    def _watch(self) -> None:
        chosen = self._chosen()
        if chosen is not None and self.watch.isEnabled():
            self.context.run_requested.emit(Path(chosen.path))

    # -- the queue ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the process that works the sweep off."""
        if self.folder is None:
            return
        try:
            self.workers.start(self.folder.process, "sweep")
        except UserError as error:
            self._tell(str(error))
            return
        self._holding = False
        self._tell("")
        self._enable()

    def _pause(self) -> None:
        self._ask("continue" if self._holding else "pause")
        self._holding = not self._holding
        self._enable()

    def _ask(self, command: str) -> None:
        if self.folder is not None:
            try:
                self.folder.process.send(command)  # type: ignore[arg-type]
            except UserError as error:
                self._tell(str(error))

    def _choose_place(self) -> None:
        name = f"{self.folder.name}.csv" if self.folder is not None else "sweep.csv"
        path, _ = QFileDialog.getSaveFileName(self, "Export the results", name, "CSV (*.csv)")
        if path:
            self.write_csv(Path(path))

    def write_csv(self, path: Path) -> None:
        """Write the table."""
        from core.sweep.results import save_csv

        try:
            save_csv(path, self.rows)
            self.context.note.emit(f"The results are in {path}.", "info")
        except UserError as error:
            self._tell(str(error))


def best_words(rows: Sequence[Result]) -> str:
    """Which run has the lowest minimum, and which cannot be told from it."""
    from core.sweep.results import best

    found = best(list(rows))
    if not found:
        return "The lowest held-out loss of each run is shown here as soon as it was measured often enough."
    first = f"Lowest so far: {found[0].name}, {found[0].loss:.5f}."
    if len(found) > 1:
        first += f" Not to be told from it: {', '.join(one.name for one in found[1:])}."
    return first


def _cells(place: int, one: Result) -> list[str]:
    """A run as a row of the table."""
    from core.sweep.plan import show_value

    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    what = {"diverging": "diverged", "turned": "past its minimum", "still falling": "still falls"}.get(one.verdict, "")
    state = ", ".join(filter(None, (one.state, what)))
    error = f" ± {one.loss_error:.5f}" if one.loss is not None and one.loss_error else ""
    cost = "" if one.cost is None else f"{one.cost:.2f} {one.currency}"
    return [
        str(place),
        f"{one.name}. {one.text}" if one.text else one.name,
        state,
        f"{one.steps_done:,}" if one.steps_done else "",
        shown(one.loss, ".5f") + error,
        shown(one.step, ",.0f"),
        shown(one.images, ",.0f"),
        "" if one.rate is None else show_value(one.rate),
        shown(one.kwh, ".3f"),
        cost,
    ]
