"""When checkpoints and training states are saved, which are kept, and the way back to the newest state."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from core import events as ev
from core.engine import checkpoint, state
from core.engine.models import Models
from core.engine.trainer import Trainer
from core.errors import UserError
from core.runs import Run, SavedModel
from core.settings import Settings
from core.settings.output import OutputSettings


class Saver:
    """Writes what a run saves, and removes what its settings do not keep.

    Attributes:
        losses: Validation loss by the step it was measured at; decides which checkpoints are the best.
    """

    def __init__(self, run: Run, settings: Settings, models: Models, trainer: Trainer, writes: bool = True) -> None:
        """`writes` is False in processes that only bring their share of the weights."""
        self._writes = writes
        self.losses: dict[int, float] = {}
        self._run = run
        self._settings = settings
        self._models = models
        self._trainer = trainer

    def is_due(self, step: int, total: int, batches_per_epoch: int) -> bool:
        """Whether a checkpoint is due after a step that is not the last."""
        output, accumulation = self._settings.output, self._settings.training.accumulation
        if step >= total:
            return False
        if output.save_every_steps and step % output.save_every_steps == 0:
            return True
        per_epoch = batches_per_epoch * output.save_every_epochs
        return bool(per_epoch) and step * accumulation // per_epoch > (step - 1) * accumulation // per_epoch

    def save(self, step: int, facts: Mapping[str, Any]) -> Iterator[ev.Event]:
        """Write checkpoint and state of a step; `facts` as checkpoint.save and state.save want them."""
        with self._trainer.shown(), self._trainer.gathered():
            if self._writes:
                yield from self._checkpoint(step, facts)
        weights, optimizer = self._trainer.trained_weights(), self._trainer.optimizer_state()
        if not self._writes:
            return
        run = self._run
        folder = run.states_path / f"step{step:08d}"
        losses = [[at, loss] for at, loss in sorted(self.losses.items())]
        kept = {**facts, "losses": losses, "optimizer": self._settings.training.optimizer}
        state.save(folder, weights, optimizer, kept)
        run.prune_states(self._settings.output.keep_states)
        yield ev.StateSaved(step=step, path=folder.relative_to(run.path).as_posix())
        for old in dropped(run.checkpoints(), self._settings.output, self.losses):
            run.remove_checkpoint(old)
            yield ev.CheckpointRemoved(step=old.step, path=old.path.relative_to(run.path).as_posix())

    def restore(self) -> Generator[ev.Event, None, dict[str, Any] | None]:
        """Bring the trainer to the newest state that can be read; its facts, None when there is no state."""
        for saved in reversed(self._run.states()):
            try:
                weights, optimizer, facts = state.load(saved.path)
            except UserError as error:
                yield ev.Message(level="warning", text=str(error))
                continue
            self._trainer.load_weights(weights)
            present = self._settings.training.optimizer
            if facts.get("optimizer", present) == present:
                self._trainer.load_optimizer_state(optimizer)
            else:
                text = f"The optimizer was {facts['optimizer']} before; the new one begins without memory of the past."
                yield ev.Message(level="warning", text=text, step=int(facts["step"]))
            self.losses = {int(step): float(loss) for step, loss in facts.get("losses", [])}
            return facts
        return None

    def _checkpoint(self, step: int, facts: Mapping[str, Any]) -> Iterator[ev.Event]:
        """Write the weights that the modules hold now."""
        run = self._run
        known = {"parent": run.facts().get("parent") or run.keep_fact("parent", self._parent())}
        yield ev.Progress(phase="save", done=0, total=2)
        path = run.checkpoint_path(step, folder=self._settings.output.layout == "diffusers folder" and self._whole())
        size = checkpoint.save(path, self._models, self._settings, list(self._trainer.groups), {**facts, **known})
        yield ev.Checkpoint(step=step, path=path.relative_to(run.path).as_posix(), bytes=size)

    def _parent(self) -> dict[str, str]:
        return checkpoint.parent(self._models.source.path)

    def _whole(self) -> bool:
        return checkpoint.is_whole_model(self._settings)


def dropped(saved: list[SavedModel], output: OutputSettings, losses: Mapping[int, float]) -> list[SavedModel]:
    """Those checkpoints (by step, the newest last) that the settings do not keep.

    Kept are the last `keep_last` (0: all), the `keep_best` with the lowest validation loss at or before their step, and
    those at multiples of `keep_every` steps.
    """
    if not output.keep_last:
        return []
    best = sorted((loss_at(model.step, losses), -model.step, model.step) for model in saved)
    kept = {model.step for model in saved[-output.keep_last :]}
    kept |= {step for loss, _, step in best[: output.keep_best] if loss != float("inf")}
    if output.keep_every:
        kept |= {model.step for model in saved if model.step % output.keep_every == 0}
    return [model for model in saved if model.step not in kept]


def loss_at(step: int, losses: Mapping[int, float]) -> float:
    """The validation loss last measured at or before a step; infinite when there is none."""
    known = [at for at in losses if at <= step]
    return losses[max(known)] if known else float("inf")
