"""When a run looks at its model: the stable loss and samples that are due, in the processes that take part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from core import events as ev
from core.advisor import out_of_patience
from core.engine.distributed import agreed, broadcast_flags
from core.engine.intermission import Intermission
from core.engine.observer import Observer
from core.engine.saver import Saver
from core.engine.trainer import Trainer
from core.settings import Settings


class Lookout:
    """Measures and samples at the right steps, and ends a run whose held-out loss no longer falls.

    Attributes:
        enough: The patience of the settings is at its end.
    """

    def __init__(
        self, settings: Settings, observer: Observer, trainer: Trainer, saver: Saver, between: Intermission
    ) -> None:
        self.enough = False
        self._settings = settings
        self._observer = observer
        self._trainer = trainer
        self._saver = saver
        self._between = between

    @property
    def takes_part(self) -> bool:
        """Whether this process measures, samples and saves: rank 0, and all where each has a share of the weights."""
        return self._between.is_main or self._trainer.is_split

    def due(self, step: int, total: int) -> tuple[bool, bool]:
        """Whether the stable loss is measured at a step of `total`, and whether samples are drawn."""
        settings = self._settings
        measure = _due(step, settings.validation.every_steps, total)
        sample = _due(step, settings.sample.every_steps, total) and bool(settings.sample.prompts)
        return measure, sample

    def look(self, step: int, total: int) -> Iterator[ev.Event]:
        """Stable loss and samples where they are due; other ranks wait. Stopped when a full disk was given up."""
        measure, sample = self.due(step, total)
        if not (measure or sample):
            return
        if self.takes_part:
            with _evaluating(self._trainer.denoiser), self._trainer.shown():
                if measure:
                    yield from self._measure(step, total)
                if sample:
                    yield from self._draw(step)
        accelerator = self._between.accelerator
        accelerator.wait_for_everyone()
        (self.enough,) = broadcast_flags(accelerator, [self.enough])
        yield from self._between.insist(step, self._observer.write_samples)

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

    def _measure(self, step: int, total: int) -> Iterator[ev.Event]:
        """The stable loss; what it says of the held-out pictures decides which checkpoints are the best."""
        losses = self._saver.losses
        yield ev.Progress(phase="evaluate", done=0, total=1)
        for event in self._observer.measure(step):
            if isinstance(event, ev.Evaluated) and event.split == "validation":
                losses[step] = event.loss
            yield event
        patience = self._settings.validation.patience
        if out_of_patience(losses, patience) and step < total:
            self.enough = True
            text = f"The loss of the held-out pictures has not fallen for {patience} measurements: the run ends here."
            yield ev.Message(text=text, step=step)


def _due(step: int, every: int, total: int) -> bool:
    """Whether something that happens at step 0, every so many steps and at the end happens now."""
    return every > 0 and (step % every == 0 or step == total)


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into eval mode for a while (no dropout)."""
    module.eval()
    try:
        yield
    finally:
        module.train()
