"""The Monitor page: one run on one time axis, live or old; puts its cards together and connects them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QStackedLayout, QVBoxLayout, QWidget

from core.energy import sentences, spent
from core.quantities import show_rounded
from core.run_data import RunData
from gui.context import Context
from gui.pages.base import Page
from gui.plots.loss_card import LossCard
from gui.plots.spark import Spark, SparkLine
from gui.plots.timeline import Timeline
from gui.run_state import RunState
from gui.widgets.basics import Empty, button, set_icon
from gui.widgets.film_card import FilmCard
from gui.widgets.gpu_strip import GpuStrips
from gui.widgets.log_view import LogView
from gui.widgets.notes_card import NotesCard
from gui.widgets.picture_loader import PictureLoader
from gui.widgets.picture_view import PictureView
from gui.widgets.run_header import RunHeader
from gui.widgets.verdict_card import VerdictCard

#: Milliseconds between two drawings of the plots, by the number of steps: long curves do not change visibly faster,
#: and the processor belongs to the training.
_PACES = ((50_000, 100), (300_000, 300), (10**12, 600))

#: Milliseconds before a drawing, in which the window answers.
_TURN_MS = 10
#: So long after a click the samples are kept in view while cards above them are still laid out.
_BRING_MS = 500

_SHORT_NAMES = {"unet": "UNet", "text_encoder": "TE", "text_encoder_2": "TE 2"}


def pace_ms(points: int) -> int:
    """How often plots of so many points are drawn."""
    return next(ms for most, ms in _PACES if points <= most)


class SmallCards(QWidget):
    """Learning rates, images/s, gradient norm, energy."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.rates = Spark(timeline, "Learning rate", lambda value: show_rounded(value, 2))
        self.speed = Spark(timeline, "Speed", lambda value: f"{value:,.2f} images/s")
        self.norm = Spark(timeline, "Gradient norm", lambda value: f"{value:.3g}")
        self.energy = Spark(timeline, "Energy", lambda value: f"{value:.3f} kWh")
        self._data = RunData()
        self._waiting: list[Callable[[RunData], None]] = []
        self._turn = QTimer(self, singleShot=True)
        self._turn.timeout.connect(self._next)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for card in (self.rates, self.speed, self.norm, self.energy):
            layout.addWidget(card, 1)

    def refresh(self, data: RunData) -> None:
        """Draw what is known now, one card in each turn of the event loop: a long curve's first look takes time."""
        self._waiting = [self._show_rates, self._show_speed, self._show_norm, self._show_energy]
        self._data = data
        self._turn.start(pace_ms(len(data.curve("loss"))) // 10)

    def _next(self) -> None:
        if self._waiting:
            self._waiting.pop(0)(self._data)
        if self._waiting:
            self._turn.start()

    def _show_rates(self, data: RunData) -> None:
        tags = [tag for tag in data.curves if tag.startswith("rate/")]
        lines = []
        for place, tag in enumerate(tags):
            group = tag.removeprefix("rate/")
            name = _SHORT_NAMES.get(group, group) if len(tags) > 1 else ""
            lines.append(_line(data, tag, (4, 3, 5, 2)[place % 4], name))
        self.rates.set_lines(lines)

    def _show_speed(self, data: RunData) -> None:
        self.speed.set_lines([_line(data, "speed", 2)])

    def _show_norm(self, data: RunData) -> None:
        self.norm.set_lines([_line(data, "grad_norm", 6)])

    def _show_energy(self, data: RunData) -> None:
        reading = data.telemetry
        measured = reading is not None and reading.energy_source != "none"
        note = "not measured" if reading is not None else ""
        self.energy.set_lines([_line(data, "kwh", 5)] if measured else [], note)
        found = spent(data)
        end = found.projected
        more = end is not None and end.kwh > 1.001 * found.kwh
        self.energy.set_detail(f"≈ {end.kwh:.3g} kWh at the end" if end and more else "", "\n".join(sentences(found)))


def _line(data: RunData, tag: str, color: int, name: str = "") -> SparkLine:
    curve = data.curve(tag)
    return SparkLine(curve.steps, curve.values, name, color, (id(curve), curve.cuts))


def _drawn_alike(run: RunState) -> tuple[int, int] | None:
    """The first and the last timestep where the settings draw all between them alike."""
    loss = run.settings.loss if run.settings is not None else None
    return (loss.min_timestep, loss.max_timestep) if loss is not None and loss.density == "uniform" else None


class Controls(QObject):
    """What can be asked of the worker; every button says what will happen."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = button("Open folder", "folder", "quiet", "The run's folder: checkpoints, samples, settings, log")
        self.sample = button("Sample now", "sample", tip="Draw all sample prompts after the present step, then go on")
        self.save = button("Save now", "save", tip="Write a checkpoint after the present step, then go on")
        self.pause = button("Pause", "pause")
        self.stop = button(
            "Stop and save",
            "stop",
            "primary",
            "Finish the present step, save a checkpoint and everything needed to go on later, then end",
        )
        self.resume = button("Go on", "play", "primary", "Start a worker again from the last saved state of this run")

    def all(self) -> list[QWidget]:
        """In the order of the title bar."""
        return [self.folder, self.sample, self.save, self.pause, self.stop, self.resume]

    def refresh(self, run: RunState | None) -> None:
        """Allow what is possible now."""
        alive = run is not None and run.alive
        paused = run is not None and run.state == "paused"
        can_resume = run is not None and run.kind == "train" and run.state in ("stopped", "interrupted", "failed")
        hidden = {self.stop if can_resume else self.resume}
        for widget in self.all():
            widget.setVisible(run is not None and widget not in hidden)
        for widget in (self.sample, self.save, self.stop, self.pause):
            widget.setEnabled(alive)
        words = "Continue" if paused else "Pause"
        if self.pause.text() != words:
            self.pause.setText(words)
            set_icon(self.pause, "play" if paused else "pause")
        self.pause.setToolTip(
            "Go on with the next step" if paused else "Wait before the next step; the model stays in memory"
        )


class MonitorPage(Page):
    """Shows context.run."""

    name: ClassVar[str] = "monitor"
    title: ClassVar[str] = "Monitor"
    icon: ClassVar[str] = "monitor"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.timeline = Timeline()
        self.loader = PictureLoader(self)
        self.controls = Controls()
        self.view = PictureView(self, self.loader)
        self.header = RunHeader()
        self.loss = LossCard(self.timeline)
        self.verdict = VerdictCard()
        self.cards = SmallCards(self.timeline)
        self.gpus = GpuStrips(self.timeline)
        self.film = FilmCard(self.timeline, self.loader, self.view)
        self.notes = NotesCard()
        self.log = LogView()
        self._run: RunState | None = None
        self._in_front = False
        self._draw_timer = QTimer(self, singleShot=True)
        self._draw_timer.timeout.connect(self._draw)
        self._rest_timer = QTimer(self, singleShot=True, interval=2 * _TURN_MS)
        self._rest_timer.timeout.connect(self._draw_rest)
        self._bring_timer = QTimer(self, singleShot=True, interval=_BRING_MS)
        self._lay_out()
        self._connect()
        self._show_run(context.run)

    def _lay_out(self) -> None:
        content = QWidget()
        content.setObjectName("scrolled")
        layout = QVBoxLayout(content)
        layout.setContentsMargins(24, 0, 24, 16)
        layout.setSpacing(8)
        layout.addWidget(self.header)
        layout.addWidget(self.loss, 1)
        for card in (self.film, self.verdict, self.cards, self.gpus, self.notes, self.log):
            layout.addWidget(card)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(content)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._empty())
        self._stack.addWidget(self.area)
        self.loss.plot.view.sigResized.connect(lambda *_: self._align())

    def _empty(self) -> Empty:
        training = button("Set up a training", "training", "primary")
        home = button("Open an earlier run", "home")
        training.clicked.connect(lambda: self.context.page_requested.emit("training"))
        home.clicked.connect(lambda: self.context.page_requested.emit("home"))
        text = (
            "Here a run can be watched while it works, and read when it is over: its losses, speed, memory, power and "
            "samples on one time axis. Start a training, or open a run that you made before."
        )
        return Empty("monitor", "No run is shown", text, training, home)

    def _connect(self) -> None:
        controls = self.controls
        controls.stop.clicked.connect(lambda: self._ask(RunState.stop, "It ends after the present step and saves."))
        controls.save.clicked.connect(lambda: self._ask(RunState.save_now, "A checkpoint follows the present step."))
        controls.sample.clicked.connect(lambda: self._ask(RunState.sample_now, "Samples follow the present step."))
        controls.pause.clicked.connect(self._pause)
        controls.folder.clicked.connect(self._open_folder)
        controls.resume.clicked.connect(self._resume)
        self.timeline.clicked.connect(self._point)
        self.verdict.step_asked.connect(self._point)
        self.film.grid_asked.connect(self._make_grid)
        self.film.grid_opened.connect(self._open_grid)
        self.film.bookmark_asked.connect(self._bookmark)
        self.notes.changed.connect(lambda notes: self.loss.plot.set_flags((m.step, m.text) for m in notes.bookmarks))
        self.notes.step_asked.connect(self._point)
        self.notes.failed.connect(lambda text: self.context.note.emit(text, "error"))
        self.context.run_changed.connect(self._show_run)
        self.context.point_requested.connect(self._show_point)
        self.area.verticalScrollBar().rangeChanged.connect(lambda *_: QTimer.singleShot(0, self._show_film))
        self.log.head.toggled.connect(lambda _: self._draw_rest())

    def primary_actions(self) -> list[QWidget]:
        """The controls of the run."""
        return self.controls.all()

    def shown(self) -> None:
        """Draw what came while another page was in front."""
        self._in_front = True
        self._take_notes()
        self._draw()
        # The window's objects are made to stay: the collector need not walk them (50 ms) while a run is drawn.
        gc.freeze()

    def hidden(self) -> None:
        """Draw nothing while another page is in front."""
        self._in_front = False
        self._draw_timer.stop()
        self._rest_timer.stop()
        self.notes.write_now()

    def closed(self) -> None:
        """Write what was typed last."""
        self.notes.write_now()

    def _show_run(self, run: object) -> None:
        self._run = run if isinstance(run, RunState) else None
        self._stack.setCurrentIndex(0 if self._run is None else 1)
        self.controls.refresh(self._run)
        self.view.close_view()
        if self._run is None:
            return
        self._run.updated.connect(self._news)
        self._run.loaded.connect(self._take_data)
        self.log.set_run(self._run.run.console_path)
        self._take_notes()
        self._take_data()

    def _take_notes(self) -> None:
        """Notes may have been written on another page."""
        if self._run is not None:
            self.notes.set_run(self._run.run.path, self._run.name)

    def _take_data(self) -> None:
        """The run's data is another object: at first, and when all of its file is read."""
        if self._run is None:
            return
        self.timeline.set_data(self._run.data)
        self.loss.set_data(self._run.data, self._run.run.path, _drawn_alike(self._run))
        self.gpus.set_run(self._run.run.path if self._run.kind == "train" else None)
        self.film.set_run(self._run)
        self._draw_timer.start(_TURN_MS)

    def _news(self) -> None:
        """Words at once, plots at their pace."""
        if self.sender() not in (None, self._run) or self._run is None:
            return
        self.controls.refresh(self._run)
        if self._in_front:
            self.header.refresh(self._run)
            if self._run.is_loaded and not self._draw_timer.isActive():
                self._draw_timer.start(pace_ms(len(self._run.data.curve("loss"))))

    def _draw(self) -> None:
        """The losses at once, all else in a turn of its own: together they would hold up the window."""
        if self._run is None:
            return
        self._draw_timer.stop()
        self.header.refresh(self._run)
        self.loss.refresh()
        self.timeline.advance()
        self._rest_timer.start()

    def _draw_rest(self) -> None:
        if self._run is None:
            return
        data = self._run.data
        self.verdict.refresh(data)
        self.cards.refresh(data)
        self.gpus.refresh(data)
        self.film.refresh()
        self.log.refresh(data)

    def _align(self) -> None:
        """The film strip stands under the plot, edge under edge."""
        left, right = self.loss.plot.plot_edges()
        plot, strip = self.loss.plot, self.film.strip
        start = plot.mapTo(self.area.widget(), plot.rect().topLeft()).x() + left
        end = start + right - left
        origin = strip.mapTo(self.area.widget(), strip.rect().topLeft()).x()
        strip.margins = (max(0, start - origin), max(0, origin + strip.width() - end))
        strip.update()

    def _ask(self, command: object, words: str) -> None:
        if self._run is not None:
            command(self._run)  # type: ignore[operator]
            self.context.note.emit(words, "info")

    def _pause(self) -> None:
        if self._run is not None and self._run.state == "paused":
            self._ask(RunState.resume, "It goes on.")
        else:
            self._ask(RunState.pause, "It waits after the present step.")

    def _open_folder(self) -> None:
        if self._run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._run.run.path)))

    def _resume(self) -> None:
        if self._run is not None:
            self.context.resume_requested.emit(self._run.run.path)

    def _point(self, step: float) -> None:
        """A point of a curve leads to its pictures."""
        if self._run is not None:
            self.context.point_requested.emit(round(min(max(step, 0), self._run.data.last_step)))

    def _show_point(self, step: int) -> None:
        """Frame the samples near a step, and keep them in view until all cards have found their places."""
        self.film.pin(step)
        self._bring_timer.start()
        QTimer.singleShot(0, self._show_film)

    def _show_film(self) -> None:
        if self._bring_timer.isActive():
            self.area.ensureWidgetVisible(self.film, 0, 8)

    def _bookmark(self, step: int, text: str) -> None:
        self.notes.bookmark(step, text)
        self.context.note.emit(f"Step {step:,} is kept: a flag on the curves, and a line in Notes.", "info")

    def _open_grid(self, job: Path) -> None:
        """The Grids page shows which grid was asked for when it comes to the front."""
        self.view.close_view()
        self.context.grid_job = job
        self.context.page_requested.emit("grids")

    def _make_grid(self, step: int) -> None:
        """The Grids page reads which step was asked for when it comes to the front."""
        self.view.close_view()
        self.context.grid_step = step
        self.context.page_requested.emit("grids")

    def resizeEvent(self, event: QEvent) -> None:
        """The strip follows the plot's width."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        QTimer.singleShot(0, self._align)
