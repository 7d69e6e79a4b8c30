"""What can be done at a point of a run's curve: see the nearest sample, go to Monitor, make a grid, keep a bookmark."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QWidget

from core.compare import Compared, nearest_checkpoint
from core.events import Sample
from gui.widgets.basics import button, row, tool
from gui.widgets.elided import Elided
from gui.widgets.picture_loader import PictureLoader
from gui.widgets.picture_view import PictureView, ShownPicture


class PointBar(QFrame):
    """Appears when a curve is clicked.

    Signals:
        monitor_asked, bookmark_asked: (run, step).
        grid_asked: (run, step of the checkpoint).
    """

    monitor_asked = Signal(object, int)
    bookmark_asked = Signal(object, int)
    grid_asked = Signal(object, int)

    def __init__(self, ground: QWidget) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.loader = PictureLoader(self)
        self.view = PictureView(ground, self.loader)
        self.words = Elided("", "value")
        self.sample = button(
            "Show sample", "picture", tip="Enlarge the sample nearest to this step; down: the next run's"
        )
        self.monitor = button("Open in Monitor", "monitor", tip="Show this run with its samples at this step")
        self.grid = button("Make a grid", "grids", tip="Compare the checkpoint nearest to this step")
        self.mark = button("Bookmark", "tag", tip="Keep this step among the run's notes")
        self.shut = tool("close", "Forget the point")
        self.run: Compared | None = None
        self.step = 0
        self._runs: list[Compared] = []
        self._shown: Sample | None = None
        layout = row(self.words, self.sample, self.monitor, self.grid, self.mark, self.shut)
        layout.setStretch(0, 1)
        layout.setContentsMargins(12, 6, 8, 6)
        self.setLayout(layout)
        self.sample.clicked.connect(self.enlarge)
        self.monitor.clicked.connect(lambda: self.monitor_asked.emit(self.run, self.step))
        self.mark.clicked.connect(lambda: self.bookmark_asked.emit(self.run, self.step))
        self.grid.clicked.connect(self._ask_for_grid)
        self.shut.clicked.connect(self.forget)
        self.view.moved.connect(self._walk)
        self.hide()

    def show_point(self, run: Compared, step: int, runs: Sequence[Compared]) -> None:
        """Offer what there is near a step of a run; `runs` are those that one can walk to."""
        self.run, self.step, self._runs = run, step, list(runs)
        sample, saved = self._nearest(run, step), nearest_checkpoint(run.data, step)
        near = [f"sample of step {sample.step:,}"] if sample else []
        near += [f"checkpoint of step {saved:,}"] if saved is not None else []
        self.words.say(f"{run.label}, step {step:,}: {', '.join(near) or 'no sample and no checkpoint'}")
        self.sample.setVisible(sample is not None)
        self.grid.setVisible(saved is not None)
        self.show()

    def forget(self) -> None:
        """Offer nothing."""
        self.run = None
        self.hide()

    def _nearest(self, run: Compared, step: int) -> Sample | None:
        """The sample nearest to a step, of the prompt that is in view, or of the first one."""
        index = self._shown.index if self._shown is not None else 0
        samples = [one for one in run.data.samples if one.index == index] or run.data.samples
        return min(samples, key=lambda one: abs(one.step - step), default=None)

    def enlarge(self) -> None:
        """Show the nearest sample as large as the page."""
        if self.run is not None and (sample := self._nearest(self.run, self.step)) is not None:
            self._shown = sample
            text = f"{sample.prompt} · seed {sample.seed}"
            title = f"{self.run.label}, step {sample.step:,}"
            self.view.show_picture(ShownPicture(self.run.path / sample.path, title, text))

    def _walk(self, across: int, down: int) -> None:
        """Left and right go through the run's steps, up and down to the same step of the other runs."""
        if self.run is None or self._shown is None:
            return
        if across:
            steps = sorted({one.step for one in self.run.data.samples if one.index == self._shown.index})
            place = steps.index(self._shown.step) + across if self._shown.step in steps else 0
            self.step = steps[min(max(place, 0), len(steps) - 1)] if steps else self.step
        else:
            with_samples = [run for run in self._runs if run.data.samples]
            place = next((i for i, run in enumerate(with_samples) if run.id == self.run.id), 0) + down
            self.run = with_samples[min(max(place, 0), len(with_samples) - 1)]
        self.show_point(self.run, self.step, self._runs)
        self.enlarge()

    def _ask_for_grid(self) -> None:
        saved = nearest_checkpoint(self.run.data, self.step) if self.run is not None else None
        if saved is not None:
            self.grid_asked.emit(self.run, saved)
