"""The caption assistant: a model from the disk finds words for pictures; shown first, written when the user says so."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QProgressBar, QStackedWidget, QVBoxLayout, QWidget

from core import caption_job
from core.caption_job import Chosen
from core.errors import UserError
from core.events import Captioned
from core.runs import Run
from gui.context import Context
from gui.forms.form import Form
from gui.run_state import RunState
from gui.settings_model import SettingsModel
from gui.widgets.basics import Empty, button, card, label, row
from gui.widgets.caption_results import CaptionResults
from gui.widgets.elided import Elided
from gui.worker_process import Workers, last_words

MODEL = "caption.model"
_STORE = "captions/settings"
_LEFT, _LABEL, _EDITOR_LEAST = 432, 124, 120
_WHAT_FOR = (
    "Choose a captioning model on your disk: a tagger writes tags, other models write sentences. A preview shows what "
    "it says of a few pictures before anything is written, and your captions are left alone unless you say otherwise."
)
_ENDS = {
    "stopped": "Stopped. What is done stays done; Go on takes up the rest.",
    "interrupted": "Its worker was ended from outside. What is done stays done; Go on takes up the rest.",
}


class CaptionAssistant(QDialog):
    """Settings on the left, pictures with their words on the right; works beside the main window.

    Jobs outlive this window. It shows the one that is at work when it is opened again.

    Signals:
        captions_written: Captions may have changed on the disk: a job (no preview) has ended.
    """

    captions_written = Signal()

    def __init__(
        self,
        context: Context,
        chosen: Callable[[], Chosen],
        parent: QWidget | None = None,
        workers: Workers | None = None,
    ) -> None:
        """`chosen` gives the pictures that are meant whenever a job starts; tests give `workers` of their own."""
        super().__init__(parent)
        self.setWindowTitle("Caption assistant")
        self.resize(1180, 720)
        self.context = context
        self.workers = workers or Workers(parent=self)
        self.settings = SettingsModel(caption_job.caption_model(), parent=self)
        self.state: RunState | None = None
        self._chosen = chosen
        self._preview = False
        self._last: Captioned | None = None
        self._unfinished: Run | None = None
        self._recognise = QTimer(self, singleShot=True, interval=250)
        self._make()
        self._lay_out()
        self._connect()
        self._load_settings()

    # -- putting together ----------------------------------------------------------------------------------------

    def _make(self) -> None:
        self.whose = Elided("", "value")
        self.problem = label("", "dim", wrap=True)
        self.warning = label("", "warning", wrap=True)
        self.preview = button("Preview", "search", tip="Show the words of a few pictures; nothing is written")
        self.start = button("Write captions", "edit", "primary", "Caption all these pictures in a worker of its own")
        self.go_on = button("Go on", "play", tip="Go on with the last job where it was stopped")
        self.stop = button("Stop", "stop", tip="End after the present pictures; what is done stays")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Progress of the captioning")
        self.progress = Elided("", "dim")
        self.results = CaptionResults()
        self.form = Form(self.settings, pages=["caption"], margin=16)
        self.form.ensure_built()

    def _lay_out(self) -> None:
        foot = card(self.whose, self.warning, self.problem, row(None, self.go_on, self.preview, self.start), spacing=8)
        left = QWidget()
        left.setFixedWidth(_LEFT)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.form, 1)
        column.addLayout(row(foot, 8, spacing=0))
        self._stack = QStackedWidget()
        self._stack.addWidget(Empty("edit", "No words yet", _WHAT_FOR))
        self._stack.addWidget(self.results)
        self._running = QWidget()
        working = row(self.progress, self.stop)
        working.setStretch(0, 1)
        inner = QVBoxLayout(self._running)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(8)
        inner.addLayout(working)
        inner.addWidget(self.bar)
        right = QVBoxLayout()
        right.setSpacing(12)
        right.addWidget(self._stack, 1)
        right.addWidget(self._running)
        layout = row(left, spacing=24)
        layout.addLayout(right, 1)
        layout.setContentsMargins(24, 24, 24, 24)
        self.setLayout(layout)
        self._running.hide()
        self._narrow()

    def _narrow(self) -> None:
        """The form's labels give room to its editors: the column is narrower than a page."""
        for section in self.form.sections.values():
            for field in section.rows.values():
                field.title.setFixedWidth(_LABEL)
                field.editor.field().setMinimumWidth(_EDITOR_LEAST)

    def _connect(self) -> None:
        self.settings.value_changed.connect(self._value_changed)
        self.settings.visibility_changed.connect(self._narrow)
        for section in self.form.sections.values():
            section.more.clicked.connect(self._narrow)
        self._recognise.timeout.connect(self._recognise_model)
        self.preview.clicked.connect(lambda: self.begin(preview=True))
        self.start.clicked.connect(lambda: self.begin(preview=False))
        self.go_on.clicked.connect(self.resume)
        self.stop.clicked.connect(self._stop)
        self.workers.ended.connect(self._worker_gone)

    def _load_settings(self) -> None:
        """The settings of the last time."""
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            kept = json.loads(str(self.context.store.value(_STORE) or "{}"))
            self.settings.load_values({key: value for key, value in kept.items() if not key.startswith("pictures.")})
        self.settings.undo_stack.clear()
        self._judge()

    # -- what is meant -------------------------------------------------------------------------------------------

    def _value_changed(self, key: str) -> None:
        if key == MODEL:
            self._recognise.start()
        self._judge()

    def _recognise_model(self) -> None:
        """A model's folder says by itself what kind of model it holds."""
        values = caption_job.default_values(str(self.settings.value(MODEL)))
        if values:
            self.settings.set_many(values, "Choose a captioning model")
        self._judge()

    def refresh(self) -> None:
        """Other pictures may be meant now."""
        self._judge()

    def _judge(self) -> None:
        """What keeps a job from starting, and what it would do to words that are there."""
        chosen, problem = self._chosen(), ""
        self.whose.say(chosen.words() if chosen else "No pictures are chosen")
        settings = None
        try:
            settings = self.settings.settings()
            if not chosen:
                problem = "Add a folder of pictures on the Dataset page first."
            elif not settings.caption.model.strip():
                problem = "Choose the folder of a captioning model first."
            else:
                caption_job.require_model(settings)
        except UserError as error:
            problem = str(error).split(": ", 1)[-1]
        replaces = settings is not None and settings.caption.existing == "replace"
        self.warning.setText("Captions that are there are replaced; yours are kept in the job's folder.")
        self.warning.setVisible(replaces and not problem)
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        free = not problem and not self.busy
        self.preview.setEnabled(free)
        self.start.setEnabled(free)
        self.go_on.setVisible(self._unfinished is not None and not self.busy)

    # -- jobs ----------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a job is at work, or its worker awaited."""
        return self.state is not None and (self.state.alive or self.state.run.path in self.workers.running())

    def begin(self, preview: bool) -> None:
        """Start a preview or the whole job with the settings as they are."""
        try:
            settings = self.settings.settings()
            settings.pictures.preview = caption_job.PREVIEW if preview else 0
            job = caption_job.create(settings, self._chosen())
            self.workers.start(job, "caption")
        except UserError as error:
            self._tell_problem(str(error))
            return
        self._follow(job, preview)

    def resume(self) -> None:
        """Go on with the job that was stopped or killed."""
        if self._unfinished is None:
            return
        try:
            self.workers.start(self._unfinished, "caption")
        except UserError as error:
            self._tell_problem(str(error))
            return
        self._follow(self._unfinished, preview=False)

    def _follow(self, job: Run, preview: bool) -> None:
        self._leave()
        self._preview, self._last, self._unfinished = preview, None, None
        self.results.clear("Preview" if preview else "Captioning")
        self.results.tell("Nothing is written yet." if preview else "")
        self._stack.setCurrentWidget(self.results)
        self.state = RunState(job.path)
        self.state.updated.connect(self._news)
        self.state.loaded.connect(self._news)
        self.state.ended.connect(self._ended)
        self.state.start()
        self.progress.say("Starting")
        self.bar.setRange(0, 0)
        self._running.show()
        self.stop.setEnabled(True)
        self._judge()

    def _leave(self) -> None:
        if self.state is not None:
            self.state.close()
            self.state = None

    def _stop(self) -> None:
        if self.state is not None:
            self.stop.setEnabled(False)
            self.progress.say("Stopping after the present pictures")
            self.state.stop()

    def _news(self) -> None:
        """Something was said by the worker."""
        state = self.state
        if state is None:
            return
        self.results.add(self._new_words(state), self._preview)
        progress = state.data.progress
        if progress is not None and self.stop.isEnabled():
            loading = progress.phase != "caption"
            self.bar.setRange(0, 0 if loading else max(1, progress.total))
            self.bar.setValue(0 if loading else progress.done)
            words = f"{progress.done:,} of {progress.total:,}"
            self.progress.say("Loading the model" if loading else ", ".join(filter(None, (words, progress.text))))
        if state.data.ended is not None and not state.alive:
            self._ended()

    def _new_words(self, state: RunState) -> list[Captioned]:
        """What came since the last time, the oldest first; the record keeps the latest only."""
        found: list[Captioned] = []
        for one in reversed(state.data.captioned):
            if one is self._last:
                break
            found.append(one)
        self._last = found[0] if found else self._last
        return found[::-1]

    def _ended(self) -> None:
        """The worker has gone: say what became of the pictures."""
        state = self.state
        if state is None or self._running.isHidden():
            return
        self._running.hide()
        ended, totals = state.data.ended, state.data.caption_totals
        if state.state == "failed" and ended is not None:
            self._tell_problem(ended.text)
        elif totals is not None:
            self.results.tell(self._totals(totals, state.state))
        else:
            self.results.tell(_ENDS.get(state.state, ""))
        self.results.heading.setText(
            "Preview" if self._preview else "Done" if state.state == "finished" else "Captions"
        )
        if not self._preview:
            self.captions_written.emit()
        self._find_unfinished()
        QTimer.singleShot(0, self._judge)

    def _totals(self, totals: Any, state: str) -> str:
        if totals.preview:
            return "Nothing was written. Change the settings and look again, or write the captions of all pictures."
        parts = [f"{totals.written:,} captioned"]
        parts += [f"{totals.kept:,} left as they were"] if totals.kept else []
        parts += [f"{totals.broken:,} could not be captioned"] if totals.broken else []
        return " ".join(filter(None, (", ".join(parts) + ".", _ENDS.get(state, ""))))

    def _worker_gone(self, path: object, state: str) -> None:
        """A worker that ended before its first word is told from its console."""
        if self.state is not None and Path(str(path)) == self.state.run.path:
            if state == "new":
                self._running.hide()
                self._tell_problem(last_words(self.state.run.path) or "The worker ended without a word.")
            self._judge()

    def _tell_problem(self, text: str) -> None:
        self._stack.setCurrentWidget(self.results)
        if not self.results.rows:
            self.results.heading.setText("This did not work")
        self.results.tell(text, "error")

    # -- coming and going ----------------------------------------------------------------------------------------

    def _find_unfinished(self) -> None:
        """The last job, when it was stopped or killed before its end."""
        last = next(iter(caption_job.last_jobs()), None)
        self._unfinished = last if last is not None and last.state()[0] in ("stopped", "interrupted") else None

    def showEvent(self, event: QShowEvent) -> None:
        """Take up a job that is at work already."""
        super().showEvent(event)
        if self.state is None:
            self._find_unfinished()
            living = next((job for job in caption_job.last_jobs() if job.worker_pid() is not None), None)
            if living is not None:
                self.workers.watch(living)
                self._follow(living, preview=False)
        self._judge()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep the settings; the worker goes on without a window."""
        entries = self.settings.entries
        values = {key: value for key, value in self.settings.values().items() if value != entries[key].default}
        self.context.store.setValue(_STORE, json.dumps(values))
        self._leave()
        super().closeEvent(event)
