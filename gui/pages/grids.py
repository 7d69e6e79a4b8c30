"""The Grids page: what should be compared on the left, the pictures on the right, as they come."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any, ClassVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QComboBox, QFrame, QSplitter, QStackedLayout, QVBoxLayout, QWidget

from core import grid, grid_job, runs
from core.errors import UserError
from core.quantities import show_foretold
from core.runs import Run
from core.settings import Settings
from gui.context import Context
from gui.forms.form import Form
from gui.pages.base import Page
from gui.run_state import RunState
from gui.settings_model import SettingsModel
from gui.widgets.basics import Empty, button, label, line, row, set_property
from gui.widgets.elided import Elided
from gui.widgets.grid_axes import AxisEditor
from gui.widgets.grid_job_view import GridJobView
from gui.widgets.picture_loader import PictureLoader
from gui.widgets.picture_view import PictureView
from gui.worker_process import Workers

_AXES = ("x", "y", "z")
_LABEL_WIDTH, _EDITOR_LEAST = 108, 120
_NOTHING_TO_DRAW = "Show a run, or choose a run or a base model below: a grid is drawn with its checkpoints."


def count_words(plan: grid.GridPlan) -> str:
    """ "3 checkpoints x 4 prompts = 12 pictures"."""
    parts = [_counted(axis) for axis in plan.axes if axis.name != "none"]
    pictures = f"{len(plan):,} picture{'s' * (len(plan) != 1)}"
    return f"{' × '.join(parts)} = {pictures}" if parts else pictures


def _counted(axis: grid.Axis) -> str:
    """ "3 checkpoints", "1 seed", "5 values of steps"."""
    count, name = len(axis.values), str(axis.component.LABEL).removesuffix(" name")
    if not name[:2].isupper():
        name = name[0].lower() + name[1:]
    if count == 1:
        return f"1 {name}"
    return f"{count:,} {name}s" if name[-1].islower() and name[-1] != "s" else f"{count:,} values of {name}"


class GridsPage(Page):
    """Makes and shows grids, of the run that is shown unless another one is chosen."""

    name: ClassVar[str] = "grids"
    title: ClassVar[str] = "Grids"
    icon: ClassVar[str] = "grids"

    def __init__(self, context: Context, workers: Workers | None = None) -> None:
        """`workers` starts the jobs; tests give their own."""
        super().__init__(context)
        self.workers = workers or Workers(parent=self)
        self.settings = SettingsModel(grid.GridSettings, parent=self)
        self.loader = PictureLoader(self)
        self.view = PictureView(self, self.loader)
        self.job_view = GridJobView(self.loader, self.view)
        self.plan: grid.GridPlan | None = None
        self._run: RunState | None = None
        self._pace: float | None = None
        self.make = button("Make the grid", "grids", "primary", "Draw all these pictures in a worker of its own")
        self.axes = {letter: AxisEditor(self.settings, letter) for letter in _AXES}
        self._plan_timer = QTimer(self, singleShot=True, interval=150)
        self._plan_timer.timeout.connect(self._make_plan)
        self._lay_out()
        self._connect()
        self._show_run(context.run)

    # -- putting together -------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setHandleWidth(16)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self._left())
        self.splitter.addWidget(self._right())
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setSizes([408, 752])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 0, 24, 16)
        layout.addWidget(self.splitter)

    def _left(self) -> QWidget:
        """Axes and what all cells share, over the count of pictures."""
        axes = QFrame()
        axes.setProperty("card", True)
        column = QVBoxLayout(axes)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(12)
        column.addWidget(label("What is compared", "heading"))
        for letter, editor in self.axes.items():
            if letter != _AXES[0]:
                column.addWidget(line())
            column.addWidget(editor)
        self.form = Form(self.settings, pages=["grid"], margin=16)
        self.form.ensure_built()
        for section in self.form.sections.values():
            section.more.clicked.connect(self._narrow)
        self._narrow()
        scrolled = self.form.widget()
        ground = scrolled.layout() if scrolled is not None else None
        if isinstance(ground, QVBoxLayout):
            ground.insertWidget(0, axes)
        self.count, self.time_words = label("", "value", wrap=True), label("", "dim", wrap=True)
        foot = QFrame()
        foot.setProperty("card", True)
        below = QVBoxLayout(foot)
        below.setContentsMargins(16, 10, 16, 10)
        below.setSpacing(2)
        below.addWidget(self.count)
        below.addWidget(self.time_words)
        left = QWidget()
        left.setMinimumWidth(380)
        whole = QVBoxLayout(left)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(8)
        whole.addWidget(self.form, 1)
        whole.addWidget(foot)
        return left

    def _narrow(self) -> None:
        """The form's labels give room to its editors: the column is narrower than a page."""
        for section in self.form.sections.values():
            for field in section.rows.values():
                field.title.setFixedWidth(_LABEL_WIDTH)
                field.editor.field().setMinimumWidth(_EDITOR_LEAST)

    def _right(self) -> QWidget:
        """The finished grids of the run, and the one that is chosen."""
        self.jobs = QComboBox()
        self.jobs.setAccessibleName("Grids of this run")
        self.jobs.setMinimumWidth(200)
        self.whose = Elided("", "dim")
        shown = QWidget()
        column = QVBoxLayout(shown)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(row(self.jobs, self.whose, None))
        column.addWidget(self.job_view, 1)
        text = (
            "A grid draws the same noise with several checkpoints, prompts or settings, side by side, so that you "
            "can see which one is right. Choose on the left what changes along each axis, then make the grid."
        )
        right = QWidget()
        self._stack = QStackedLayout(right)
        home = button("Choose a run", "home", tip="Home lists the runs that you made")
        home.clicked.connect(lambda: self.context.page_requested.emit("home"))
        self._stack.addWidget(Empty("grids", "No grid yet", text, home))
        self._stack.addWidget(shown)
        return right

    def _connect(self) -> None:
        self.make.clicked.connect(self._start)
        self.settings.value_changed.connect(lambda _: self._plan_timer.start())
        self.settings.preset_changed.connect(self._plan_timer.start)
        self.jobs.currentIndexChanged.connect(lambda _: self._show_job())
        self.job_view.loaded.connect(self._plan_timer.start)
        self.job_view.ended.connect(self._job_ended)
        self.workers.ended.connect(self._worker_gone)
        self.context.run_changed.connect(self._show_run)
        shortcut = QShortcut(QKeySequence(Qt.Key.Key_I), self.job_view.grid, self.job_view.toggle_facts)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)

    def primary_actions(self) -> list[QWidget]:
        """Make the grid."""
        return [self.make]

    def shown(self) -> None:
        """Take up a step that was chosen on a curve; look for new checkpoints and grids."""
        step = self.context.grid_step
        if step is not None:
            self.context.grid_step = None
            kind, values = self.axes[_AXES[0]].keys()
            self.settings.set_many({kind: "checkpoint", values: f"base, {step}"}, "Compare a checkpoint")
        self._list_jobs(self._wanted_job())
        self._make_plan()

    def _wanted_job(self) -> Path | None:
        """The grid that another page asked for; its run's grids are listed then."""
        job, self.context.grid_job = self.context.grid_job, None
        if job is not None and self._parent() != job.parent.parent:
            self.settings.set("grid.run", str(job.parent.parent))
        return job

    def hidden(self) -> None:
        """Nothing runs here that another page need wait for."""
        self._plan_timer.stop()

    # -- the run whose checkpoints are compared ---------------------------------------------------------------

    def _show_run(self, run: object) -> None:
        """Begin with the shown run's checkpoints and sample prompts, unless the user has begun something."""
        if not isinstance(run, RunState) or run.kind != "train":
            self._make_plan()
            return
        self._run = run
        run.loaded.connect(self._take_defaults)
        run.updated.connect(self._checkpoints_changed)
        self._saved = -1
        self._take_defaults()
        self._list_jobs()

    def _take_defaults(self) -> None:
        run = self._run
        if run is None or run is not self.context.run or self.settings.changed_keys():
            return
        self.settings.load_values(default_values(run.run.path, run.settings))
        self._make_plan()

    def _checkpoints_changed(self) -> None:
        """'all' means more when another checkpoint is saved."""
        if self._run is not None and len(self._run.data.checkpoints) != self._saved:
            self._saved = len(self._run.data.checkpoints)
            if self.isVisible():
                self._plan_timer.start()

    # -- the plan ---------------------------------------------------------------------------------------------

    def _make_plan(self) -> None:
        """What the settings mean, and what is wrong with them, each where it belongs."""
        self._plan_timer.stop()
        self.plan = None
        problem = ""
        try:
            self.plan = grid.plan(self.settings.settings(), 0)
        except UserError as error:
            problem = str(error)
        for letter, editor in self.axes.items():
            editor.show_values(self._labels(letter))
            if problem.startswith(f"{letter}."):
                words = problem.split(": ", 1)[-1]
                editor.show_problem(words[0].upper() + words[1:])
        if self.plan is not None:
            self.count.setText(count_words(self.plan))
            self.time_words.setText(self._estimate())
        else:
            self.count.setText(self._say_problem(problem))
            self.time_words.setText("")
        set_property(self.count, "role", "value" if self.plan is not None else "dim")
        self.make.setEnabled(self.plan is not None)
        self.make.setToolTip("Draw all these pictures in a worker of its own" if self.plan else problem)

    def _say_problem(self, problem: str) -> str:
        """What keeps the grid from being made, where no field can say it."""
        if problem[:2] in {f"{letter}." for letter in _AXES}:
            return "One of the axes cannot be read yet."
        if problem.startswith("grid.base"):
            return _NOTHING_TO_DRAW
        return problem.split(": ", 1)[-1]

    def _labels(self, letter: str) -> list[str]:
        """What an axis' values mean; known even while another axis is wrong."""
        plan = self.plan
        if plan is None:
            with contextlib.suppress(UserError):
                alone = self.settings.settings()
                for other in _AXES:
                    if other != letter:
                        setattr(alone, other, type(getattr(alone, other))())
                plan = grid.plan(alone, 0)
        return plan.axes[_AXES.index(letter)].labels if plan is not None else []

    def _estimate(self) -> str:
        """How long it takes by the pace of the grid that is shown."""
        self._pace = self.job_view.seconds_a_picture() or self._pace
        if self._pace is None or self.plan is None:
            return "The time is known once a first grid was made."
        return f"About {show_foretold(max(1, self._pace * len(self.plan)))}, by the pace of the last grid."

    # -- jobs -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            parent = self._run.run if self._run is not None and not self.settings.value("grid.run") else None
            job = grid_job.create(self.settings.settings(), parent)
            self.workers.start(job, "grid")
        except UserError as error:
            self.context.note.emit(str(error), "error")
            return
        self._list_jobs(select=job.path)
        self.job_view.grid.setFocus()

    def _parent(self) -> Path | None:
        """The run whose grids are listed."""
        text = str(self.settings.value("grid.run"))
        if text:
            return Path(text).expanduser()
        return self._run.run.path if self._run is not None else None

    def _list_jobs(self, select: Path | None = None) -> None:
        """The run's grids, the newest first; the one that is shown stays."""
        parent = self._parent()
        found = list_jobs(parent) if parent is not None else []
        paths = [path for path, _ in found]
        known = [self.jobs.itemData(place) for place in range(self.jobs.count())]
        self._stack.setCurrentIndex(1 if found else 0)
        self.whose.say(f"of {_name_of(parent)}" if parent is not None and found else "")
        if paths == known and select is None:
            return
        held = select or self.jobs.currentData()
        self.jobs.blockSignals(True)
        self.jobs.clear()
        for path, words in found:
            self.jobs.addItem(words, path)
        self.jobs.setCurrentIndex(max(0, paths.index(held) if held in paths else 0))
        self.jobs.blockSignals(False)
        self._show_job()

    def _show_job(self) -> None:
        path = self.jobs.currentData()
        shown = self.job_view.state
        if path is None or (shown is not None and shown.run.path == path):
            return
        try:
            self.job_view.show_job(runs.open_run(path))
        except UserError as error:
            self.context.note.emit(str(error), "error")

    def _job_ended(self) -> None:
        state = self.job_view.state
        if state is not None and state.state == "failed":
            why = state.data.ended.text if state.data.ended is not None else ""
            self.context.note.emit(f"The grid failed: {why or 'its console.log says why'}", "error")
        self._make_plan()

    def _worker_gone(self, path: object, state: str) -> None:
        """A worker that ended before its first word is told from its console."""
        if state == "new":
            from gui.worker_process import last_words

            why = last_words(Path(str(path))) or "its worker ended without a word"
            self.context.note.emit(f"The grid could not start: {why}", "error")


def _name_of(run: Path) -> str:
    """A run's name as people see it; the folder's where that cannot be read."""
    with contextlib.suppress(UserError):
        return Run(run).name
    return run.name


def list_jobs(run: Path) -> list[tuple[Path, str]]:
    """(folder, words for the menu) of a run's grids, the newest first."""
    found: list[tuple[float, Path, str]] = []
    for facts_path in (run / "grids").glob("*/run.json"):
        with contextlib.suppress(OSError, ValueError):
            created = float(json.loads(facts_path.read_text(encoding="utf-8")).get("created", 0))
            when = time.strftime("%d %b, %H:%M", time.localtime(created))
            found.append((created, facts_path.parent, f"Grid {facts_path.parent.name} · {when}"))
    return [(path, words) for _, path, words in sorted(found, reverse=True)]


def default_values(run: Path, settings: Settings | None) -> dict[str, Any]:
    """A grid that is useful at once: all checkpoints across, the run's own sample prompts down."""
    values: dict[str, Any] = {"grid.run": str(run), "x.type": "checkpoint", "x.values": "base, all"}
    if settings is None:
        return values
    sample = settings.sample
    side = settings.data.resolution
    values.update({"grid.negative": sample.negative, "grid.steps": sample.steps, "grid.cfg": sample.cfg})
    values.update({"grid.sampler": sample.sampler, "grid.seed": sample.seed})
    values.update({"grid.width": sample.width or side, "grid.height": sample.height or side})
    if len(sample.prompts) > 1:
        values.update({"y.type": "prompt", "y.values": "\n".join(sample.prompts)})
    if sample.prompts:
        values["grid.prompt"] = sample.prompts[0]
    return values
