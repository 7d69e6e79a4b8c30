"""The line at the foot of every page: the running job, the GPUs, the energy. A click opens Monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QWidget

from gui import theme
from gui.widgets.basics import label

if TYPE_CHECKING:
    from core.events import Gpu
    from core.run_data import RunData
    from gui.run_state import RunState

_WORDS = {
    "new": "getting ready",
    "running": "running",
    "paused": "paused",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}
_PHASES = {
    "index": "looking at the pictures",
    "cache": "encoding the pictures",
    "texts": "encoding the captions",
    "load": "loading the model",
    "evaluate": "measuring the stable loss",
    "sample": "drawing samples",
    "save": "saving",
    "grid": "drawing the grid",
}


def state_words(state: str) -> str:
    """A run's state in the user's words."""
    return _WORDS.get(state, state)


def progress_words(data: RunData, state: str, seconds_left: float | None = None) -> str:
    """Step, speed and time left of a run, or the phase it is in."""
    from core.quantities import show_foretold

    parts = []
    if data.progress is not None and state == "running":
        done = data.progress
        count = f" {done.done:,} / {done.total:,}" if done.total else ""
        parts.append(_PHASES.get(done.phase, done.phase) + count)
    elif state != "running":
        parts.append(state_words(state))
    total = data.started.total_steps if data.started else 0
    if data.last_step or total:
        parts.append(f"step {data.last_step:,} / {total:,}" if total else f"step {data.last_step:,}")
    if state == "running" and data.progress is None:
        speed = data.curve("speed").values[-10:]
        speed = speed[speed > 0]
        if len(speed):
            parts.append(f"{float(speed.mean()):.1f} img/s")
        if seconds_left is not None:
            parts.append(f"{show_foretold(seconds_left)} left")
    return " · ".join(parts)


def gpu_words(gpu: Gpu) -> str:
    """Memory and power of one GPU."""
    words = f"GPU{gpu.index}"
    if gpu.vram_bytes >= 0 and gpu.vram_total_bytes > 0:
        words += f" {gpu.vram_bytes / 2**30:.1f}/{gpu.vram_total_bytes / 2**30:.0f} GB"
    if gpu.watts >= 0:
        words += f" {gpu.watts:.0f} W"
    return words


def machine_words(data: RunData) -> str:
    """The GPUs' memory and power; the processor and the memory where there is no GPU."""
    reading = data.telemetry
    if reading is None:
        return ""
    if not reading.gpus:
        memory = f"{reading.ram_bytes / 2**30:.1f}/{reading.ram_total_bytes / 2**30:.0f} GB"
        return f"CPU {reading.cpu_percent:.0f} %   RAM {memory}"
    shown = [gpu_words(gpu) for gpu in reading.gpus[:3]]
    more = len(reading.gpus) - len(shown)
    return "   ".join([*shown, f"and {more} more"] if more > 0 else shown)


def energy_words(data: RunData) -> str:
    """Energy and cost, only when something measures them."""
    reading = data.telemetry
    if reading is None or reading.energy_source == "none":
        return ""
    return f"{reading.kwh:.2f} kWh   {reading.cost:.2f} {reading.currency}".rstrip()


def energy_tip(data: RunData) -> str:
    """Energy, money and CO2 so far, for 1,000 images and at the end; the CO2 only where it is set."""
    from core.energy import sentences, spent

    return "\n".join(sentences(spent(data)))


class StateDot(QWidget):
    """A round light: green at work, amber paused, red failed, grey otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(10, 10)
        self._token = "dim"

    def set_state(self, state: str) -> None:
        """Take the colour of a run's state."""
        self._token = {"running": "good", "paused": "warn", "failed": "bad", "interrupted": "warn"}.get(state, "dim")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the light."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(theme.current(), self._token)))
        painter.drawEllipse(1, 1, 8, 8)
        painter.end()


class StatusLine(QFrame):
    """Shows one run; reads its data twice a second, never once an event.

    Signals:
        clicked: The line was clicked.
    """

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("statusLine")
        self.setFixedHeight(32)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip("The run that is shown; click to open Monitor")
        self.setAccessibleName("Running job")
        self._run: RunState | None = None
        self._dot = StateDot()
        self.name = label("", "value")
        self.progress = label("Nothing is running")
        self.machine = label()
        self.energy = label()
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setInterval(500)
        self._timer.timeout.connect(self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 0)
        layout.setSpacing(8)
        for part in (self._dot, self.name, self.progress):
            layout.addWidget(part)
        layout.addStretch(1)
        for part in (self.machine, self.energy):
            layout.addWidget(part)
            layout.addSpacing(8 if part is self.machine else 0)
        self.progress.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        layout.setStretchFactor(self.progress, 4)
        _tabular(self.progress, self.machine, self.energy)

    def follow(self, run: RunState | None) -> None:
        """Show this gui.run_state.RunState from now on, None for nothing."""
        self._run = run
        self._timer.start() if run is not None else self._timer.stop()
        self.refresh()

    def refresh(self) -> None:
        """Read the run's data and show it; the machine only while the run is at work, since old readings mislead."""
        run = self._run
        if run is None:
            self._say("", "Nothing is running", "", "", "none")
            return
        words = progress_words(run.data, run.state, run.seconds_left)
        machine = machine_words(run.data) if run.alive else ""
        self._say(run.name, words, machine, energy_words(run.data), run.state)
        self.energy.setToolTip(energy_tip(run.data) if self.energy.text() else "")

    def _say(self, name: str, progress: str, machine: str, energy: str, state: str) -> None:
        self._dot.set_state(state)
        for part, text in zip(
            (self.name, self.progress, self.machine, self.energy),
            (name, progress, machine, energy),
            strict=True,
        ):
            if part.text() != text:
                part.setText(text)
            part.setVisible(bool(text))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Any click opens Monitor."""
        if self.rect().contains(event.position().toPoint()):
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """So do Enter and space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)


def _tabular(*labels: QLabel) -> None:
    """Figures of equal width, so that numbers that change do not jump."""
    for part in labels:
        font = QFont(part.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        part.setFont(font)
