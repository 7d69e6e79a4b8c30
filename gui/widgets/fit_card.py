"""Will it fit: share of the weights that is trained, memory by component, verdict per card, disk, hours, kWh, money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from core.quantities import show_bytes, show_foretold, show_share
from gui.widgets.background import Background
from gui.widgets.basics import card, label, row, set_property
from gui.widgets.facts import Facts
from gui.widgets.memory_bar import MemoryBar

if TYPE_CHECKING:
    from core.estimate.report import Estimate
    from core.estimate.verdict import Change

#: Milliseconds without an edit before the estimate is made, and before changes are looked for.
_PAUSE, _LONGER_PAUSE = 150, 800
#: Chips beside each other: all of them would be wider than the panel on a small laptop.
_COLUMNS = 3
#: Savings that are named; the tip names all.
_SHOWN = 4


class FitCard(QWidget):
    """Shows the estimate of the latest settings; all of it is computed off the window's thread, and without torch."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = Facts()
        self.bar = MemoryBar()
        self.total = label("", "value")
        self.note = label("", "dim", wrap=True)
        self.savings = label("", "dim", wrap=True)
        self.chips: dict[str, QLabel] = {}
        self._chip_row = QWidget()
        self._details = QWidget()
        self._question: tuple[Any, ...] | None = None
        self._work, self._more = Background(self), Background(self)
        self._timer, self._later = _timer(self, _PAUSE, self._start), _timer(self, _LONGER_PAUSE, self._look_further)
        self._work.done.connect(self._show)
        self._work.failed.connect(self._show_failure)
        self._more.done.connect(self._show_changes)
        self._lay_out()

    def _lay_out(self) -> None:
        inner = QVBoxLayout(self._details)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(10)
        head = row(label("Memory of the GPU", "dim"), None, self.total)
        inner.addLayout(head)
        inner.addWidget(self.bar)
        chips = QGridLayout(self._chip_row)
        chips.setContentsMargins(0, 0, 0, 0)
        chips.setSpacing(4)
        inner.addWidget(label("Cards with so many GB", "dim"))
        inner.addWidget(self._chip_row)
        inner.addWidget(self.facts)
        inner.addWidget(self.savings)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(card(label("Will it fit?", "heading"), self._details, self.note))
        self._details.hide()

    def ask(self, settings: Any, pictures: int | None, batches: int | None, cached: int | None) -> None:
        """Estimate these settings soon; a later question replaces this one."""
        self._question = (settings, pictures, batches, cached)
        self._later.stop()
        self._timer.start()

    def _start(self) -> None:
        if self._question is None:
            return
        settings, pictures, batches, cached = self._question

        def work() -> Estimate:
            from core.estimate.report import estimate

            return estimate(settings, pictures, batches, cached_pictures=cached, with_changes=False)

        self._more.forget()
        self._work.start(work)

    def _look_further(self) -> None:
        """Look for savings when nothing was edited for a while."""
        if self._question is None:
            return
        settings = self._question[0]

        def work() -> list[Change]:
            from core.estimate.report import savings

            return savings(settings)

        self._more.start(work)

    def _show(self, found: Estimate) -> None:
        self._details.show()
        self.total.setText(show_bytes(found.memory.total))
        self.bar.show_parts(found.memory.components)
        self._show_verdict(found.fits)
        settings = self._question[0] if self._question else None
        self.facts.show_rows(estimate_rows(found, settings.hardware.currency if settings else ""))
        self.note.setText(sentence(found))
        self._later.start()

    def _show_failure(self, error: BaseException) -> None:
        """Say why there is no estimate: mostly the model is not chosen yet."""
        from core.errors import UserError

        self._details.hide()
        self.note.setText(str(error) if isinstance(error, UserError) else f"No estimate could be made ({error}).")

    def _show_verdict(self, fits: dict[str, bool]) -> None:
        layout: Any = self._chip_row.layout()
        for size, does in fits.items():
            if size not in self.chips:
                self.chips[size] = label("", "badge")
                self.chips[size].setAlignment(Qt.AlignmentFlag.AlignCenter)
                layout.addWidget(self.chips[size], *divmod(len(self.chips) - 1, _COLUMNS))
            chip = self.chips[size]
            set_property(chip, "role", "badge" if does else "dim")
            chip.setText(f"{size} {'✓' if does else '✕'}")
            chip.setToolTip(f"A card with {size} GB {'does' if does else 'does not do'}.")
            chip.setAccessibleName(chip.toolTip())

    def _show_changes(self, found: list[Change]) -> None:
        shown = [f"{name_of(change)}: −{show_bytes(change.saves_bytes)}" for change in found[:_SHOWN]]
        self.savings.setText("Would save memory:\n" + "\n".join(shown) if shown else "")
        self.savings.setToolTip("\n".join(f"{name_of(change)}: {change.price}" for change in found))


def name_of(change: Change) -> str:
    """A change by the option that gives it its name, as the form calls it."""
    from core import presets

    key, value = next(iter(change.settings.items()))
    name = presets.entries()[key].option.label
    return f"{name} on" if value is True else f"{name} {value}"


def _timer(owner: FitCard, pause: int, work: Any) -> QTimer:
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(pause)
    timer.timeout.connect(work)
    return timer


def estimate_rows(found: Estimate, currency: str) -> list[tuple[str, str, str]]:
    """The table of the card: what, how much, and how it comes about."""
    from core.energy import co2_words

    unknown = "Known when a run with this model and method was made here."
    speed = f"By the speed of '{found.speed_from}'." if found.speed_from else unknown
    return [
        ("Trained weights", show_share(found.trainable_share, 1), f"{found.trained:,} of {found.weights:,}."),
        ("RAM", show_bytes(found.ram_bytes), "Of the whole computer, while the run works."),
        ("Disk", show_bytes(found.disk_bytes), "Encoded pictures, checkpoints, and the state for a resume."),
        ("Time", "—" if found.hours is None else show_foretold(found.hours * 3600), speed),
        ("Energy", "—" if found.kwh is None else f"{found.kwh:.2f} kWh", speed),
        ("Cost", "—" if found.cost is None else f"{found.cost:.2f} {currency}", "Energy times its price."),
        *([("CO2", co2_words(found.co2_grams), "Energy times its CO2 per kWh.")] if found.co2_grams else []),
    ]


def sentence(found: Estimate) -> str:
    """What to know about the memory."""
    said = f"Most is needed while {found.memory.phase}."
    if found.processes > 1:
        said += f" Each of the {found.processes} GPUs needs as much."
    if found.device == "cpu":
        said += " The run is set to the processor, so this is RAM."
    if found.factor != 1.0:
        said += " Corrected by what earlier runs on this computer needed."
    return said
