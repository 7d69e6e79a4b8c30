"""The map of the compared runs over two of the settings in which they differ, and what it shows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from core.compare import Compared, Difference
from core.compare_map import MAP_VALUES, settings_map
from core.errors import UserError
from gui.plots.heat_map import HeatMap
from gui.widgets.basics import label, row

#: Settings that are offered first, across and down.
_FIRST = ("training.learning_rate", "training.batch_size")


class MapPanel(QWidget):
    """Signals: chosen (ids of the runs of a cell that was clicked)."""

    chosen = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.across, self.down, self.value = QComboBox(), QComboBox(), QComboBox()
        for box, name in ((self.across, "Across"), (self.down, "Down"), (self.value, "What is shown")):
            box.setAccessibleName(name)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(12)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setMaximumWidth(220)
        for key, name in MAP_VALUES.items():
            self.value.addItem(name, key)
        self.map = HeatMap()
        self.words = label("", "dim", wrap=True)
        self._runs: list[Compared] = []
        self._varied: list[Difference] = []
        #: What the user has chosen; until then the rate goes across and the batch down, where they differ.
        self._wanted: dict[QComboBox, str] = {}
        shown = QWidget()
        layout = QVBoxLayout(shown)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        over, and_over = label("over", "dim"), label("and", "dim")
        choices = row(self.value, over, self.across, and_over, self.down, None)
        for place in (0, 2, 4, 5):
            choices.setStretch(place, 1)
        layout.addLayout(choices)
        layout.addWidget(self.map, 1)
        why = QWidget()
        reason = QVBoxLayout(why)
        reason.setContentsMargins(0, 0, 0, 0)
        reason.addWidget(self.words)
        reason.addStretch(1)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(shown)
        self._stack.addWidget(why)
        self.map.chosen.connect(self.chosen)
        for box in (self.across, self.down, self.value):
            box.currentIndexChanged.connect(lambda _: self._draw())
            box.activated.connect(lambda _, box=box: self._wanted.update({box: str(box.currentData())}))

    def show_runs(self, runs: Sequence[Compared], varied: Sequence[Difference]) -> None:
        """Offer the settings that differ, and draw."""
        self._runs, self._varied = list(runs), list(varied)
        keys = [one.key for one in varied]
        for box, first, other in ((self.across, _FIRST[0], 0), (self.down, _FIRST[1], 1)):
            held = self._wanted.get(box)
            with QSignalBlocker(box):
                box.clear()
                for one in varied:
                    box.addItem(one.label, one.key)
                wanted = held if held in keys else next((key for key in keys if key.endswith(first)), None)
                box.setCurrentIndex(keys.index(wanted) if wanted in keys else min(other, len(keys) - 1))
        if self.across.currentIndex() == self.down.currentIndex() and len(keys) > 1:
            with QSignalBlocker(self.down):
                self.down.setCurrentIndex(next(i for i in range(len(keys)) if i != self.across.currentIndex()))
        self._draw()

    def _draw(self) -> None:
        across, down = self.across.currentIndex(), self.down.currentIndex()
        enough = len(self._varied) > 1 and across != down and min(across, down) >= 0
        self._stack.setCurrentIndex(0 if enough or len(self._varied) > 1 else 1)
        if not enough:
            self.map.show_map(None, ("", ""), str)
            self.words.setText(
                "A map needs runs that differ in two settings, as a sweep over rates and batches makes them. "
                + ("These differ in one." if len(self._varied) == 1 else "These differ in none that is known.")
            )
            return
        key = str(self.value.currentData())
        one, other = self._varied[across], self._varied[down]
        try:
            found = settings_map(self._runs, one, other, key)
        except UserError as error:
            self.words.setText(str(error))
            self._stack.setCurrentIndex(1)
            return
        self.map.show_map(found, (one.label, other.label), _writer(key))


def _writer(key: str) -> Callable[[float], str]:
    formats = {"loss": "{:.5f}", "hours": "{:.2f} h"}
    return formats.get(key, "{:,.0f}").format
