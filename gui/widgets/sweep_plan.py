"""Plans a sweep: settings that vary on the left, the runs that come of it and what they take on the right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QFileDialog, QLineEdit, QVBoxLayout, QWidget

from core.errors import UserError
from core.sweep import typed
from core.sweep.options import SweepOptions
from core.sweep.typed import Draft
from gui.context import Context
from gui.forms.form import Form
from gui.settings_model import SettingsModel
from gui.widgets.background import Background
from gui.widgets.basics import Empty, Scroller, button, card, column, label, row
from gui.widgets.facts import Facts
from gui.widgets.sweep_axis import AxisRow, SettingSearch
from gui.widgets.sweep_table import Table

if TYPE_CHECKING:
    from core.sweep.cost import SweepCost
    from core.sweep.file import Sweep
    from core.sweep.plan import SweepPlan

_LEFT, _LABEL, _PAUSE_MS = 472, 148, 250
_WHAT_FOR = (
    "A sweep makes a series of runs that differ in the settings you choose, and compares their lowest held-out losses: "
    "the way to find a learning rate, a batch size or a rank in hours instead of by hearsay. Add the first setting."
)


class SweepPlanner(QWidget):
    """The form of a new sweep; plans it anew off the window's thread at every change.

    Signals:
        start_requested: (Sweep, SweepPlan) to begin with.
    """

    start_requested = Signal(object, object)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.rows: list[AxisRow] = []
        self.found: tuple[Sweep, SweepPlan] | None = None
        self.options = SettingsModel(SweepOptions, parent=self)
        self._later = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._planning = Background(self)
        self._make()
        self._lay_out()
        self._connect()
        self.refresh()

    # -- putting together --------------------------------------------------------------------------------------

    def _make(self) -> None:
        self.name = QLineEdit("Sweep")
        self.name.setAccessibleName("Name of the sweep")
        self.search = SettingSearch(self.context.settings)
        self.constants = QLineEdit()
        self.constants.setPlaceholderText("images = 1600, base_rate = 1e-4")
        self.constants.setAccessibleName("Numbers for rules")
        self.form = Form(self.options, margin=0)
        self.form.ensure_built()
        self.open = button("Open…", "open", tip="Read a sweep file; its own base is not used, but the settings here")
        self.save = button("Save…", "save", tip="Write this as a sweep file, for the command line or for later")
        self.table = Table()
        self.facts = Facts()
        self.problem = label("", "error", wrap=True)
        self.start = button("Start", "play", "primary", "Make the runs' folder and work the runs off")

    def _lay_out(self) -> None:
        self._axes = column(spacing=8)
        self._numbers = column(label("Numbers for rules", "dim"), self.constants, spacing=4)
        holder = QWidget()
        holder.setLayout(self._numbers)
        self._numbers_box = holder
        options = QWidget()
        inner = QVBoxLayout(options)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(16)
        for section in self.form.sections.values():
            inner.addWidget(section)
        head = row(label("Name", "dim"), self.name, self.open, self.save)
        head.setStretch(1, 1)
        left = Scroller(head, self.search, self._axes, holder, options, spacing=12)
        left.setFixedWidth(_LEFT)
        self._left = left
        right = QVBoxLayout()
        right.setSpacing(12)
        self._nothing = Empty("ruler", "No setting varies yet", _WHAT_FOR)
        right.addWidget(self._nothing, 1)
        right.addWidget(self.table, 1)
        right.addWidget(card(self.facts, self.problem, row(None, self.start), spacing=8))
        layout = row(left, spacing=24)
        layout.addLayout(right, 1)
        self.setLayout(layout)
        self._narrow()

    def _narrow(self) -> None:
        """The form's labels give room to its editors: the column is narrower than a page."""
        for section in self.form.sections.values():
            section.set_width(_LEFT - 24)
            for field in section.rows.values():
                field.title.setFixedWidth(_LABEL)

    def _connect(self) -> None:
        self.search.chosen.connect(self.add)
        self._later.timeout.connect(self.refresh)
        self._planning.done.connect(self._planned)
        self._planning.failed.connect(self._failed)
        for field in (self.name, self.constants):
            field.textEdited.connect(lambda _: self._later.start())
        self.options.value_changed.connect(lambda _: self._later.start())
        self.context.settings.value_changed.connect(lambda _: self._later.start())
        self.context.dataset_changed.connect(lambda _: self._later.start())
        self.start.clicked.connect(self._start)
        self.open.clicked.connect(self._choose_file)
        self.save.clicked.connect(self._choose_place)
        for section in self.form.sections.values():
            section.more.clicked.connect(self._narrow)

    # -- settings that vary ------------------------------------------------------------------------------------

    def add(self, key: str, draft: Draft | None = None) -> AxisRow:
        """Let a setting vary."""
        settings = self.context.settings
        entry = settings.entries[key]
        section: Any = settings.model.model_fields[entry.page].annotation
        made = AxisRow(
            entry, draft or typed.first_draft(entry, settings.value(key)), getattr(section, "title", entry.page)
        )
        made.edited.connect(self._edited)
        made.removed.connect(lambda: self.remove(made))
        self.rows.append(made)
        self._axes.addWidget(made)
        self._edited()
        return made

    def remove(self, axis: AxisRow) -> None:
        """Let a setting no longer vary."""
        self.rows.remove(axis)
        self._axes.removeWidget(axis)
        axis.hide()
        axis.deleteLater()
        self._edited()

    def _edited(self) -> None:
        above = False
        for axis in self.rows:
            axis.set_below(above)
            above = above or axis.way.currentData() != "rule"
        self.search.set_taken([axis.entry.key for axis in self.rows])
        self._later.start()

    def show_sweep(self, sweep: Sweep) -> None:
        """Put a sweep's name, settings and options into the form; its base becomes the settings, which can be undone.

        Raises UserError when its base cannot be read.
        """
        from core import presets
        from core.sweep import file

        if sweep.base:
            self.context.settings.load_values({**file.base_values(sweep), **sweep.fixed})
            text = f"The settings are now those of the sweep '{sweep.name}'; undo brings yours back."
            self.context.note.emit(text, "info")
        else:
            fixed = {key: value for key, value in sweep.fixed.items() if key in self.context.settings.entries}
            if fixed:
                self.context.settings.set_many(fixed, f"Settings of {sweep.name}")
        for axis in list(self.rows):
            self.remove(axis)
        self.name.setText(sweep.name)
        self.name.setCursorPosition(0)
        self.constants.setText(typed.show_constants(sweep.constants))
        self.options.load_values(presets.flat(sweep.options))
        for draft in typed.drafts_of(sweep):
            self.add(draft.key, draft)

    def sweep(self) -> Sweep:
        """What is typed; UserError for what makes no sense."""
        drafts = [axis.draft() for axis in self.rows]
        return typed.read_sweep(self.name.text(), drafts, self.constants.text(), self.options.settings())

    # -- what comes of it --------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Plan anew."""
        self.found = None
        self.start.setEnabled(False)
        self._numbers_box.setVisible(any(axis.way.currentData() == "rule" for axis in self.rows))
        self._nothing.setVisible(not self.rows)
        self.table.setVisible(bool(self.rows))
        self.problem.hide()
        if not self.rows:
            self._planning.forget()
            self.facts.show_rows([])
            return
        try:
            sweep, settings = self.sweep(), self.context.settings.settings()
        except UserError as error:
            self._failed(error)
            return
        report: Any = self.context.report
        pictures = report.train if report is not None else None
        self._planning.start(lambda: _plan(sweep, settings, pictures))

    def _planned(self, result: tuple[Sweep, SweepPlan, SweepCost, list[list[str]], list[str]]) -> None:
        sweep, plan, cost, cells, heads = result
        self.found = (sweep, plan)
        self.table.show_rows(heads, cells)
        self.facts.show_rows(fact_rows(cost, plan.twins))
        self.start.setEnabled(bool(plan.runs))
        self.start.setText(f"Start {len(plan.runs)} runs")

    def _failed(self, error: Any) -> None:
        if not isinstance(error, UserError):
            raise error
        self._planning.forget()
        self.problem.setText(str(error))
        self.problem.show()

    def _start(self) -> None:
        if self.found is not None:
            self.start_requested.emit(*self.found)

    # -- files -------------------------------------------------------------------------------------------------

    def _choose_file(self) -> None:
        from core.paths import RESOURCES

        path, _ = QFileDialog.getOpenFileName(self, "Open a sweep", str(RESOURCES / "sweeps"), "Sweeps (*.toml)")
        if path:
            self.read_file(Path(path))

    def read_file(self, path: Path) -> None:
        """Show the sweep of a file."""
        from core.sweep import file

        try:
            self.show_sweep(file.read(path))
        except UserError as error:
            self._failed(error)

    def _choose_place(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the sweep", f"{self.name.text()}.toml", "Sweeps (*.toml)")
        if path:
            self.write_file(Path(path))

    def write_file(self, path: Path) -> None:
        """Save the sweep, and the present settings as its base beside it."""
        from core import presets
        from core.sweep import file

        try:
            sweep = self.sweep()
            base = path.with_name(f"{path.stem}-base.toml")
            presets.save(base, self.context.settings.settings(), f"{sweep.name}: base")
            sweep.base = base.name
            file.save(path, sweep)
        except UserError as error:
            self._failed(error)


def _plan(sweep: Sweep, settings: Any, pictures: int | None) -> Any:
    """(sweep, plan, cost, cells of the table, its heads); works off the window's thread."""
    from core import presets
    from core.sweep import cost as costs
    from core.sweep import plan as plans
    from core.sweep.folder import require_all_startable
    from core.sweep.queue import side_by_side_count

    plan = plans.plan(sweep, presets.flat(settings))
    require_all_startable(plan)
    cost = costs.sweep_cost(plan, pictures=pictures, keep=sweep.options.queue.keep)
    cost = costs.side_by_side(cost, side_by_side_count(sweep, plan))
    heads, cells = plans.table(plan, sweep)
    return sweep, plan, cost, cells, heads


def fact_rows(cost: SweepCost, twins: int) -> list[tuple[str, str, str]]:
    """What the sweep takes."""
    from core.energy import taken_words
    from core.quantities import show_bytes, show_foretold, show_number

    repeats = f"; {twins} that would repeat others are left out" if twins else ""
    rows = [("Runs", f"{cost.runs}{repeats}", "Each becomes a run of its own.")]
    if cost.steps:
        rows.append(("Steps in all", show_number(cost.steps), "The sum over all runs."))
    unknown = "unknown until a run of this kind was made here"
    about = "about " if cost.rough else ""
    some = f", for {cost.known} of the runs" if 0 < cost.known < cost.runs else ""
    if cost.wall_hours is None:
        rows.append(("Time", unknown, "Nothing is made up: the first run tells."))
    else:
        side = f", {cost.at_once} at a time" if cost.at_once > 1 else ""
        rows.append(("Time", f"{about}{show_foretold(3600 * cost.wall_hours)}{side}{some}", f"By '{cost.speed_from}'."))
    if cost.kwh is not None:
        taken = taken_words(cost.kwh, cost.cost, cost.co2_grams, cost.currency)
        rows.append(("Energy", f"{about}{taken}", "By the power that earlier runs drew."))
    if cost.disk_bytes is not None:
        rows.append(("Disk", f"up to {show_bytes(cost.disk_bytes)}", "Checkpoints that stay, and one training state."))
    return rows
