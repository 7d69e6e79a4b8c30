"""The head of the Monitor page: which run, what it is doing, how far it is, how long yet, and what it has used."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QProgressBar, QVBoxLayout

from core.quantities import show_foretold, show_seconds
from core.run_data import RunData
from gui.run_state import RunState
from gui.widgets.basics import IconLabel, label, row, set_property
from gui.widgets.elided import Elided

PHASES = {
    "index": "Looking at the pictures",
    "cache": "Encoding the pictures",
    "texts": "Encoding the captions",
    "load": "Loading the model",
    "train": "Training",
    "evaluate": "Measuring the stable loss",
    "sample": "Drawing samples",
    "save": "Saving",
    "grid": "Drawing the grid",
}
STATES = {
    "new": "Getting ready",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted",
}
_GONE = "The worker was ended from outside (killed, or the machine went off). What was saved is kept; go on from there."
_ROLES = {"running": "good", "finished": "good", "paused": "warning", "interrupted": "warning", "failed": "error"}
_THOUSAND = 1000


def phase_of(state: RunState) -> str:
    """The phase a live run is in; "" when none is at work."""
    if state.state != "running":
        return ""
    if state.data.progress is not None:
        return state.data.progress.phase
    return "train" if state.data.started is not None else "load"


def state_words(state: RunState) -> str:
    """What the run is doing, in a few words."""
    if not state.is_loaded:
        return "Reading the run"
    if state.state != "running":
        return STATES.get(state.state, state.state.capitalize())
    phase = phase_of(state)
    words = PHASES.get(phase, phase.capitalize())
    progress = state.data.progress
    if progress is not None and progress.total:
        words += f" {progress.done:,} / {progress.total:,}"
    return words


def step_words(state: RunState) -> str:
    """Step, epoch and speed."""
    data, total = state.data, state.total_steps
    parts = [f"step {data.last_step:,} / {total:,}" if total else f"step {data.last_step:,}"]
    epochs = data.curve("epoch").values
    if len(epochs):
        parts.append(f"epoch {epochs[-1]:,.2f}")
    speed = data.curve("speed").values[-10:]
    if state.state == "running" and len(speed) and speed.mean() > 0:
        parts.append(f"{speed.mean():.2f} images/s" if speed.mean() < _THOUSAND else f"{speed.mean():,.0f} images/s")
    return " · ".join(parts)


def energy_words(data: RunData) -> str:
    """Energy and money, or that nothing measures them."""
    reading = data.telemetry
    if reading is None:
        return ""
    if reading.energy_source == "none":
        return "energy not measured"
    used = f"{reading.kwh:.3f}" if reading.kwh < 1 else f"{reading.kwh:,.2f}"
    return f"{used} kWh · {reading.cost:,.2f} {reading.currency}".rstrip()


def time_words(state: RunState) -> str:
    """Time worked and time left."""
    parts = [f"{show_seconds(state.data.seconds)} worked"] if state.data.seconds else []
    left = state.seconds_left
    if left is not None and state.state == "running":
        parts.append(f"{show_foretold(left)} left")
    return " · ".join(parts)


class RunHeader(QFrame):
    """Shows a RunState; refresh() reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.name, self.state = Elided("", "heading"), Elided("", "dim")
        self.steps, self.time, self.energy = Elided(), Elided("", "dim"), Elided("", "dim")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Progress of the run")
        self.notice = label("", "warning", wrap=True)
        self.notice_icon = IconLabel("warning", "warn", 16)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 10, 16, 10)
        layout.setSpacing(8)
        layout.addLayout(row(self.name, self.state, None, self.steps, 8, self.time, 8, self.energy))
        layout.addWidget(self.bar)
        notice = row(self.notice_icon, self.notice)
        notice.setStretch(1, 1)
        layout.addLayout(notice)
        self._notice(("", ""))

    def refresh(self, state: RunState) -> None:
        """Show what is known now."""
        self.name.say(state.name)
        self.state.say(state_words(state))
        set_property(self.state, "role", _ROLES.get(state.state, "dim"))
        known = bool(state.data.last_step or state.total_steps)
        self.steps.say(step_words(state) if known else "")
        self.time.say(time_words(state))
        self.energy.say(energy_words(state.data))
        self._show_progress(state)
        self._notice(_notice_of(state))

    def _show_progress(self, state: RunState) -> None:
        """The whole run's progress; before its first step that of the phase."""
        total, progress = state.total_steps, state.data.progress
        if not state.is_loaded:
            share = state.share_read
        elif progress is not None and progress.total and not state.data.last_step:
            share = progress.done / progress.total
        else:
            share = state.data.last_step / total if total else 0.0
        value = round(1000 * min(1.0, max(0.0, share)))
        if self.bar.value() != value:
            self.bar.setValue(value)

    def _notice(self, notice: tuple[str, str]) -> None:
        level, words = notice
        if words != self.notice.text():
            self.notice.setText(words)
        self.notice.setVisible(bool(words))
        self.notice_icon.setVisible(bool(words))
        if words:
            set_property(self.notice, "role", level)
            self.notice_icon.set("error" if level == "error" else "warning", "bad" if level == "error" else "warn")


def _notice_of(state: RunState) -> tuple[str, str]:
    """(role, words) of what the user should know: why the run failed, else its latest warning."""
    ended = state.data.ended
    if state.state == "failed" and ended is not None:
        return "error", ended.text or "The run failed; the log says why."
    if state.state == "interrupted":
        return "warning", _GONE
    warnings = [message for message in state.data.messages if message.level == "warning"]
    if not warnings:
        return "", ""
    last = warnings[-1]
    place = f"Step {last.step:,}: " if last.step >= 0 else ""
    more = f"  (and {len(warnings) - 1} more in the log)" if len(warnings) > 1 else ""
    return "warning", f"{place}{last.text}{more}"
