"""A GPU's power limit: what it is, what a training does under other ones, measured here, and setting one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QProgressBar, QVBoxLayout, QWidget

from core.errors import UserError
from core.events import short_name
from gui import theme
from gui.widgets.background import Background
from gui.widgets.basics import button, column, label, row, set_property
from gui.widgets.sweep_table import Table

if TYPE_CHECKING:
    from core.launch import Detached
    from core.power.kept import Result
    from core.power.limits import Card
    from core.telemetry import Nvml

_PURPOSE = (
    "A card that may draw less clocks lower: a little slower, and often many more pictures for the same electricity. "
    "Measuring trains for a moment under each limit, with the settings of the run that is shown, and then sets the "
    "present limit again, even when it is stopped. It keeps nothing but this table."
)
_NEVER = "Nothing was measured on this card yet. Measuring takes some minutes and wants the card for itself."
_HEADS = ("Limit", "Images/s", "Power", "Images per kWh")
_REFRESH_MS = 1000


@dataclass(frozen=True)
class Found:
    """What was read of the card and of earlier measurements.

    Attributes:
        why_not: Why there is no `card`.
        measuring: Whether a measurement is at work.
        left: Watts that a killed measurement should have set back, None mostly.
    """

    card: Card | None
    why_not: str
    result: Result | None
    measuring: bool
    left: float | None


def look(number: int, name: str, run: Path | None, open_nvml: Callable[[], Nvml]) -> Found:
    """Read the card and what was measured on it, with the run's training if there is any; works off the window's
    thread."""
    from core.power import kept, limits

    nvml = open_nvml()
    try:
        # A run may have been made on another machine: a card of another name is not the one that is shown.
        card = next((one for one in limits.cards(nvml) if one.index == number and one.name == name), None)
    finally:
        nvml.close()
    if card is None:
        return Found(None, nvml.why_not or f"this machine has no {name} as GPU {number}", None, False, None)
    left = kept.left_over().get(card.uuid or str(card.index))
    return Found(card, "", _result(card.uuid, run), kept.measuring_pid() is not None, left)


def _result(uuid: str, run: Path | None) -> Result | None:
    from core.power import kept
    from core.power.job import key_of
    from core.runs import Run

    if run is not None:
        with contextlib.suppress(UserError):
            key = key_of(Run(run).settings())
            for result in kept.results():
                if (result.uuid, result.key) == (uuid, key):
                    return result
    return kept.latest(uuid)


def _open_nvml() -> Nvml:
    from core.telemetry import Nvml

    return Nvml()


class PowerDialog(QDialog):
    """Works beside the main window; a measurement that it starts outlives it."""

    def __init__(
        self,
        number: int,
        name: str,
        run: Path | None,
        parent: QWidget | None = None,
        open_nvml: Callable[[], Nvml] = _open_nvml,
    ) -> None:
        """`number` and `name` of the card; `run`: the run whose settings are measured. Tests give `open_nvml`."""
        super().__init__(parent)
        self.setWindowTitle("Power limit")
        self.resize(660, 560)
        self.number, self.run_path, self.found = number, run, Found(None, "", None, False, None)
        self._name = name
        self._open_nvml = open_nvml
        self._child: Detached | None = None
        self._reading, self._setting = Background(self), Background(self)
        self._timer = QTimer(self, interval=_REFRESH_MS)
        self._make()
        self._lay_out()
        self._connect()
        self._tell("")
        self._show(self.found)

    def _make(self) -> None:
        self.title = label(f"GPU {self.number}, {short_name(self._name)}", "heading")
        self.now = label("", "value", wrap=True)
        self.table = Table()
        self.verdict = label("", wrap=True)
        self.progress = label("", "dim", wrap=True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("A measurement is at work")
        self.problem = label("", "error", wrap=True)
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.measure = button("Measure", "play", "primary", "Train for half a minute under each of some limits")
        self.stop = button("Stop measuring", "stop", tip="End the measurement; the former limit holds again")
        self.set = button("Set this limit", tip="Limit the card to the watts of the chosen row until the next restart")
        self.default = button("Default", "reset", tip="Give the card the limit that it left the factory with")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 24)
        layout.setSpacing(12)
        layout.addLayout(column(self.title, self.now, label(_PURPOSE, "dim", wrap=True), spacing=8))
        layout.addWidget(self.table, 100)
        layout.addWidget(self.verdict)
        layout.addStretch(1)  # keeps the words together while there is no table
        layout.addLayout(column(self.bar, self.progress, self.problem, spacing=8))
        layout.addLayout(row(self.set, self.default, None, self.stop, self.measure))

    def _connect(self) -> None:
        self._timer.timeout.connect(self.refresh)
        theme.signals().changed.connect(self._fill)
        self._reading.done.connect(self._show)
        self._reading.failed.connect(lambda error: self._tell(str(error)))
        self._setting.done.connect(self._was_set)
        self._setting.failed.connect(self._was_not_set)
        self.table.itemSelectionChanged.connect(self._allow)
        self.measure.clicked.connect(self.begin)
        self.stop.clicked.connect(self.end)
        self.set.clicked.connect(lambda: self._ask_for(self.chosen_watts()))
        self.default.clicked.connect(lambda: self._ask_for(self.found.card.default_watts if self.found.card else None))

    def showEvent(self, event: QShowEvent) -> None:
        """Look at the card while the window is shown."""
        super().showEvent(event)
        self.refresh()
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks any more; a measurement goes on."""
        self._timer.stop()
        super().hideEvent(event)

    # -- what is shown -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read card and results in the background."""
        if not self._reading.busy:
            number, name, run, open_nvml = self.number, self._name, self.run_path, self._open_nvml
            self._reading.start(lambda: look(number, name, run, open_nvml))
        if self._child is not None and self._child.poll() is not None:
            status, self._child = self._child.returncode, None
            self._tell("" if status in (0, 130) else _last_line())

    def _show(self, found: Found) -> None:
        self.found = found
        self.now.setText(_limit_words(found))
        self.table.setVisible(bool(found.result))
        self._fill()
        working = found.measuring or self._child is not None
        self.bar.setVisible(working)
        self.progress.setText(_last_line() if working else "")
        self.progress.setVisible(working)
        if found.left is not None and not working and not self.problem.text():
            self._tell(
                f"A measurement was killed and could not set {found.left:.0f} W again. 'python3 main.py power' does it "
                "at its next start, where it may."
            )
        self._allow()

    def _fill(self, *_: object) -> None:
        from core.power import plan

        result = self.found.result
        if result is None:
            self.verdict.setText(_NEVER if self.found.card is not None else "")
            set_property(self.verdict, "role", "dim")
            return
        rest, chosen = result.rest_watts, plan.choose(result.rows, result.rest_watts)
        heads = (*_HEADS, *(("Card alone",) if rest else ()), "")
        rows, colours = [], []
        for one in result.rows:
            marks = _marks(one.limit_watts, chosen)
            alone = (f"{one.images_per_kwh():,.0f}",) if rest else ()
            speed = f"{one.images_per_second:.2f}"
            shown = (f"{one.limit_watts:.0f} W", speed, f"{one.watts:.0f} W", f"{one.images_per_kwh(rest):,.0f}")
            rows.append((*shown, *alone, marks))
            colours.append("accent" if marks else "text")
        self.table.show_rows(heads, rows, colours)
        whole = f" The rest of the machine counts with {rest:.0f} W." if rest else ""
        self.verdict.setText(f"{plan.sentence(result.rows, rest)} Measured with '{result.job}'.{whole}")
        set_property(self.verdict, "role", "")

    def _allow(self) -> None:
        """Allow what is possible now."""
        card, working = self.found.card, self.found.measuring or self._child is not None
        able = card is not None and card.has_limit and not working
        self.measure.setVisible(not working)
        self.stop.setVisible(working)
        self.measure.setEnabled(able)
        self.default.setEnabled(able and card is not None and abs(card.limit_watts - card.default_watts) >= 1)
        watts = self.chosen_watts()
        self.set.setEnabled(able and watts is not None)
        self.set.setText("Set this limit" if watts is None else f"Set {watts:.0f} W")

    def _tell(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    # -- what is done ------------------------------------------------------------------------------------------

    def chosen_watts(self) -> float | None:
        """The limit of the chosen row."""
        places = self.table.selectionModel().selectedRows()
        if not places or self.found.result is None or places[0].row() >= len(self.found.result.rows):
            return None
        return self.found.result.rows[places[0].row()].limit_watts

    def _ask_for(self, watts: float | None) -> None:
        """Set a limit, in the background: a driver may take its time."""
        card, open_nvml = self.found.card, self._open_nvml
        if card is None or watts is None:
            return
        self._tell("")
        wanted, asked = card, watts

        def work() -> None:
            from core.power.limits import Limiter

            nvml = open_nvml()
            try:
                Limiter(nvml).set(wanted, asked)
            finally:
                nvml.close()

        self._setting.start(work)

    def _was_set(self, _: object) -> None:
        from core.power.limits import soon_forgotten

        card = self.found.card
        if card is not None and not card.persistent:
            self._tell(soon_forgotten(card))
        self.refresh()

    def _was_not_set(self, error: Exception) -> None:
        self._tell(str(error))

    def begin(self) -> None:
        """Start a measurement as a process of its own."""
        from core.launch import start_detached, worker_environment
        from core.power.kept import log_path

        self._tell("")
        try:
            log_path().parent.mkdir(parents=True, exist_ok=True)
            log_path().write_text("", encoding="utf-8")
            self._child = start_detached(self.command(), worker_environment(beside_window=True), log_path())
        except OSError as error:
            self._tell(f"The measurement could not be started ({error.strerror or error}).")
        self._show(self.found)

    def command(self) -> list[str]:
        """Program and arguments of a measurement."""
        from core.paths import ROOT

        run = ("--run", str(self.run_path)) if self.run_path is not None else ()
        return [sys.executable, str(ROOT / "main.py"), "power", "--find", "--gpu", str(self.number), *run]

    def end(self) -> None:
        """Ask the measurement to stop; it sets the former limit before it ends."""
        from core.power.kept import stop_path

        with contextlib.suppress(OSError):
            stop_path().touch()
        self.stop.setEnabled(False)
        QTimer.singleShot(5000, self.stop, lambda: self.stop.setEnabled(True))


def _limit_words(found: Found) -> str:
    card = found.card
    if card is None:
        return f"Its power limit cannot be read: {found.why_not}." if found.why_not else "The card is being read."
    if not card.has_limit:
        return "This card has no power limit that a program could set."
    now = f"May draw {card.limit_watts:.0f} W"
    usual = ", its default" if abs(card.limit_watts - card.default_watts) < 1 else f" of {card.default_watts:.0f} W"
    return f"{now}{usual}; {card.least_watts:.0f} to {card.most_watts:.0f} W can be set."


def _marks(limit: float, chosen: object) -> str:
    """What a row is chosen for."""
    names = {"best": "most per kWh", "nearly_free": "nearly free"}
    return ", ".join(words for name, words in names.items() if getattr(chosen, name, None) == limit)


def _last_line() -> str:
    """The last line that the measurement printed."""
    from core.power.kept import log_path

    with contextlib.suppress(OSError):
        lines = log_path().read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
    return ""
