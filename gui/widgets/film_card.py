"""The card of the film strip: which prompt, the strip, and what can be done at a step that was clicked."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFrame, QLineEdit, QVBoxLayout, QWidget

from core import grid_finder
from core.events import Checkpoint, Sample
from gui.plots.timeline import Timeline
from gui.run_state import RunState
from gui.widgets.basics import button, label, row, tool
from gui.widgets.elided import Elided
from gui.widgets.film_strip import FilmStrip
from gui.widgets.picture_loader import PictureLoader
from gui.widgets.picture_view import PictureView, ShownPicture

_LONGEST_PROMPT = 60


class FilmCard(QFrame):
    """Samples of the run on the time axis of its curves.

    Signals:
        grid_asked: The user wants a grid of the checkpoint of a step.
        grid_opened: The user wants to see a grid (its folder) that holds that checkpoint already.
        bookmark_asked: The user wants to keep the step that was clicked, with a few words.
    """

    grid_asked = Signal(int)
    grid_opened = Signal(object)
    bookmark_asked = Signal(int, str)

    def __init__(self, timeline: Timeline, loader: PictureLoader, view: PictureView) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.strip = FilmStrip(timeline, loader)
        self.prompts = QComboBox()
        self.prompts.setAccessibleName("Prompt whose samples are shown")
        self.prompts.setMinimumWidth(96)
        self.prompts.setMaximumWidth(360)
        self.words = Elided("", "dim")
        self.point = Elided("", "value")
        self.show_button = button("Show sample", "picture", tip="Enlarge the sample nearest to the step you clicked")
        self.grid_button = button("Make a grid", "grids", tip="Compare the checkpoint nearest to the step you clicked")
        self.open_grid = button("Open the grid", "open", tip="Show the grid that holds this checkpoint already")
        self.mark_words = QLineEdit()
        self.mark_words.setPlaceholderText("A few words")
        self.mark_words.setAccessibleName("Words of the bookmark")
        self.mark_words.setMaximumWidth(200)
        self.mark_words.setMinimumWidth(80)
        self.mark = button("Bookmark", "tag", tip="Put a flag at this step on the curves, with these words")
        self.unpin = tool("close", "Forget the step you clicked")
        self._view = view
        self._run: RunState | None = None
        self._pinned: int | None = None
        self._in_view: Sample | None = None
        self._counts = (-1, -1, False)
        self._grid: Path | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 8, 12, 4)
        layout.setSpacing(4)
        layout.addLayout(row(label("Samples", "heading"), 8, self.prompts, self.words, None))
        layout.addWidget(self._point_row())
        layout.addWidget(self.strip)
        self.prompts.currentIndexChanged.connect(lambda _: self._show_samples())
        self.strip.chosen.connect(self.enlarge)
        self.show_button.clicked.connect(self._enlarge_pinned)
        self.grid_button.clicked.connect(self._ask_for_grid)
        self.open_grid.clicked.connect(self._open_grid)
        self.mark.clicked.connect(self._bookmark)
        self.mark_words.returnPressed.connect(self._bookmark)
        self.unpin.clicked.connect(lambda: self.pin(None))
        view.moved.connect(self._walk)
        self.pin(None)

    def _point_row(self) -> QWidget:
        """What is near the step that was clicked; not there until one is."""
        self.near = QWidget()
        offers = (self.show_button, self.open_grid, self.grid_button, self.mark_words, self.mark, self.unpin)
        layout = row(self.point, *offers)
        layout.setStretch(0, 1)
        self.near.setLayout(layout)
        return self.near

    def set_run(self, run: RunState) -> None:
        """Show another run's samples."""
        self._run = run
        self._counts = (-1, -1, False)
        self.pin(None)
        self.refresh()

    def refresh(self) -> None:
        """Take in new samples and checkpoints."""
        if self._run is None:
            return
        data = self._run.data
        counts = (len(data.samples), len(data.checkpoints), self._run.alive)
        if counts == self._counts:
            return
        self._counts = counts
        self._offer_prompts(data.samples)
        self._show_samples()
        if self._pinned is not None:
            self.pin(self._pinned)

    def _offer_prompts(self, samples: list[Sample]) -> None:
        """One entry for each prompt; the one that is chosen stays."""
        prompts = {sample.index: sample.prompt for sample in samples}
        if sorted(prompts) == [self.prompts.itemData(place) for place in range(self.prompts.count())]:
            return
        held = self.prompts.currentData()
        self.prompts.blockSignals(True)
        self.prompts.clear()
        for index, prompt in sorted(prompts.items()):
            short = prompt if len(prompt) <= _LONGEST_PROMPT else prompt[: _LONGEST_PROMPT - 1] + "…"
            self.prompts.addItem(short or "(empty prompt)", index)
        self.prompts.setCurrentIndex(max(0, self.prompts.findData(held)))
        self.prompts.blockSignals(False)

    def samples(self) -> list[Sample]:
        """Samples of the chosen prompt by step."""
        found = self._run.data.samples if self._run else []
        index = self.prompts.currentData()
        return sorted((sample for sample in found if sample.index == index), key=lambda sample: sample.step)

    def _show_samples(self) -> None:
        if self._run is None:
            return
        samples = self.samples()
        self.strip.set_samples(self._run.run.path, samples)
        self.strip.setVisible(bool(samples))
        self.prompts.setVisible(bool(samples))
        self.words.setText(self._empty_words() if not samples else "")

    def _empty_words(self) -> str:
        settings = self._run.settings if self._run else None
        if settings is not None and not settings.sample.prompts:
            return "This run has no sample prompts; write some on the Training page, under Samples."
        if self._run is not None and self._run.is_loaded and not self._run.alive:
            return "This run has none."
        return "None yet. They appear here, under the steps at which they were drawn."

    def nearest_sample(self, step: int) -> Sample | None:
        """The sample of the chosen prompt that is nearest to a step."""
        return min(self.samples(), key=lambda sample: abs(sample.step - step), default=None)

    def nearest_checkpoint(self, step: int) -> Checkpoint | None:
        """The checkpoint nearest to a step."""
        saved = self._run.data.checkpoints if self._run else []
        return min(saved, key=lambda one: abs(one.step - step), default=None)

    def pin(self, step: int | None) -> None:
        """Offer what there is near a step of the curves; None takes the offer away."""
        if step != self._pinned:
            self.mark_words.clear()
        self._pinned = step
        self.strip.timeline.pin(step)
        sample = self.nearest_sample(step) if step is not None else None
        saved = self.nearest_checkpoint(step) if step is not None else None
        near = [f"sample {sample.step:,}"] if sample else []
        near += [f"checkpoint {saved.step:,}"] if saved else []
        words = f"Near step {step:,}: {', '.join(near) or 'no sample and no checkpoint'}" if step is not None else ""
        self.point.setText(words)
        self.near.setVisible(step is not None)
        self._grid = grid_finder.grid_with(self._run.run.path, saved.path) if saved and self._run else None
        for widget, shown in ((self.show_button, sample), (self.grid_button, saved), (self.open_grid, self._grid)):
            widget.setVisible(bool(shown))
        self.strip.set_current(sample)

    def _open_grid(self) -> None:
        if self._grid is not None:
            self.grid_opened.emit(self._grid)

    def _bookmark(self) -> None:
        if self._pinned is not None:
            self.bookmark_asked.emit(self._pinned, self.mark_words.text().strip())
            self.mark_words.clear()

    def _enlarge_pinned(self) -> None:
        sample = self.nearest_sample(self._pinned) if self._pinned is not None else None
        if sample is not None:
            self.enlarge(sample)

    def _ask_for_grid(self) -> None:
        saved = self.nearest_checkpoint(self._pinned) if self._pinned is not None else None
        if saved is not None:
            self.grid_asked.emit(saved.step)

    def enlarge(self, sample: Sample) -> None:
        """Show a sample as large as the page."""
        self._in_view = sample
        saved = self.nearest_checkpoint(sample.step)
        grid = (lambda: self.grid_asked.emit(saved.step)) if saved is not None else None
        self._view.set_action(f"Make a grid of step {saved.step:,}" if saved else "", grid)
        text = f"{sample.prompt} · seed {sample.seed}"
        self._view.show_picture(ShownPicture(self.strip.path(sample), f"Step {sample.step:,}", text))

    def _walk(self, across: int, down: int) -> None:
        """Left and right go through the steps, up and down through the prompts."""
        held = self._in_view
        if held is None:
            return
        if down:
            self.prompts.setCurrentIndex(min(max(self.prompts.currentIndex() + down, 0), self.prompts.count() - 1))
            found = self.nearest_sample(held.step)
        else:
            samples = self.samples()
            place = next((i for i, sample in enumerate(samples) if sample.path == held.path), 0) + across
            found = samples[min(max(place, 0), len(samples) - 1)] if samples else None
        if found is not None:
            self.strip.set_current(found)
            self.enlarge(found)
