"""When a run looks at its model: the stable loss and samples that are due, in the processes that take part."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator

import torch

from core import events as ev
from core.advisor import out_of_patience
from core.engine.distributed import agreed, broadcast_flags, broadcast_numbers
from core.engine.intermission import Intermission
from core.engine.measuring_budget import MeasuringBudget
from core.engine.observer import Observer
from core.engine.saver import Saver
from core.engine.stable_loss import Share
from core.engine.trainer import Trainer
from core.outlook import epoch_ends
from core.quantities import show_share
from core.settings import Settings


class Lookout:
    """Measures and samples at the right steps, and ends a run whose held-out loss no longer falls.

    Attributes:
        enough: The patience of the settings is at its end.
        budget: What measuring takes of the run's time, and may take.
    """

    def __init__(
        self,
        settings: Settings,
        observer: Observer,
        trainer: Trainer,
        saver: Saver,
        between: Intermission,
        batches_per_epoch: int,
    ) -> None:
        self.enough = False
        self.budget = MeasuringBudget(settings.validation.most_share, settings.validation.every_steps)
        self._settings = settings
        self._observer = observer
        self._trainer = trainer
        self._saver = saver
        self._between = between
        self._batches_per_epoch = batches_per_epoch
        accelerator = between.accelerator
        if accelerator.num_processes > 1 and not trainer.is_split:
            observer.share = Share(
                accelerator.process_index, accelerator.num_processes, lambda e: torch.distributed.all_reduce(e)
            )

    @property
    def takes_part(self) -> bool:
        """Whether this process samples and saves: rank 0, and all where each has a share of the weights."""
        return self._between.is_main or self._trainer.is_split

    def due(self, step: int, total: int) -> tuple[bool, bool]:
        """Whether a step of `total` is one to measure the stable loss at, and whether samples are drawn."""
        sample = bool(self._settings.sample.prompts) and self._sample_due(step, total)
        return self.budget.is_due(step, total), sample

    def _sample_due(self, step: int, total: int) -> bool:
        """Before the first step, every so many steps or epochs, and at the end; never where both are off."""
        sample, accumulation = self._settings.sample, self._settings.training.accumulation
        if not (sample.every_steps or sample.every_epochs):
            return False
        if step in (0, total) or (sample.every_steps and step % sample.every_steps == 0):
            return True
        return epoch_ends(step, sample.every_epochs, accumulation, self._batches_per_epoch)

    def look(self, step: int, total: int, worked: Callable[[], float]) -> Iterator[ev.Event]:
        """Stable loss and samples where they are due; other ranks wait. Stopped when a full disk was given up.

        Args:
            worked: Tells the seconds that the run has worked so far.
        """
        measure, sample = self.due(step, total)
        if not (measure or sample):
            return
        if measure:
            measure = yield from self._allowed(step, total, worked())
        if measure or self.takes_part:
            with _evaluating(self._trainer.denoiser):
                yield from self._look(step, total, measure, sample and self.takes_part)
        accelerator = self._between.accelerator
        accelerator.wait_for_everyone()
        (self.enough,) = broadcast_flags(accelerator, [self.enough])
        yield from self._between.insist(step, self._observer.write_samples)

    def _look(self, step: int, total: int, measure: bool, sample: bool) -> Iterator[ev.Event]:
        """Measure and draw with the weights that the run shows, then measure the trained ones beside them."""
        began = time.monotonic()
        with self._trainer.shown():
            if measure:
                yield from self._measure(step, total, began)
            measured = time.monotonic() - began
            if sample:
                yield from self._draw(step)
        began = time.monotonic()
        if measure and self._settings.validation.raw_beside_ema and self._trainer.averages:
            yield from self._observer.measure(step, "raw")
        if measure:
            self.budget.note(measured + time.monotonic() - began)

    def _allowed(self, step: int, total: int, worked: float) -> Generator[ev.Event, None, bool]:
        """Whether the stable loss is measured at a step that is due; rank 0's clock decides for all processes."""
        budget, accelerator = self.budget, self._between.accelerator
        allowed = budget.allows(step, total, worked)
        answer, budget.stride = broadcast_numbers(accelerator, [int(allowed), budget.stride])
        if budget.stride > 1 and not budget.told:
            budget.told = True
            yield ev.Message(text=self._less_often(step, total, worked), step=step)
        return bool(answer)

    def _less_often(self, step: int, total: int, worked: float) -> str:
        """The sentence for a run that cannot measure as often as it was asked to."""
        budget = self.budget
        asked, most = budget.share_asked(step, total, worked), budget.share
        now = f"every {budget.steps:,} steps" if budget.steps < total else "at its last step only"
        return (
            f"Measuring the stable loss every {budget.every:,} steps would take {show_share(asked)} of the run's time, "
            f"more than the {show_share(most)} of validation.most_share: for now it is measured {now}. Fewer "
            "validation.max_pictures or a larger validation.every_steps cost less; validation.most_share=0 is no limit."
        )

    def sample(self, step: int) -> Iterator[ev.Event]:
        """Samples of the present weights, because they were asked for."""
        if self.takes_part:
            with _evaluating(self._trainer.denoiser), self._trainer.shown():
                yield from self._draw(step)
        yield from self._between.insist(step, self._observer.write_samples)

    def _draw(self, step: int) -> Iterator[ev.Event]:
        """Draw the samples; rank 0 keeps them, and its wish to stop holds for all."""
        stop = self._between.control.should_stop
        stop = agreed(self._between.accelerator, stop) if self._trainer.is_split else stop
        yield from self._observer.sample(step, stop, keep=self._between.is_main)

    def _measure(self, step: int, total: int, began: float) -> Iterator[ev.Event]:
        """The stable loss; what it says of the held-out pictures decides which checkpoints are the best.

        Bringing an average into the weights, which took place since `began`, counts towards the first split's duration.
        """
        losses, brought = self._saver.losses, time.monotonic() - began
        yield ev.Progress(phase="evaluate", done=0, total=1)
        for event in self._observer.measure(step):
            if isinstance(event, ev.Evaluated):
                event.duration, brought = round(event.duration + brought, 3), 0.0
                if event.split == "validation":
                    losses[step] = event.loss
            yield event
        patience = self._settings.validation.patience
        if out_of_patience(losses, patience) and step < total:
            self.enough = True
            text = f"The loss of the held-out pictures has not fallen for {patience} measurements: the run ends here."
            yield ev.Message(text=text, step=step)


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into eval mode for a while (no dropout)."""
    module.eval()
    try:
        yield
    finally:
        module.train()
