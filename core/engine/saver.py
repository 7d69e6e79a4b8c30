"""When checkpoints and training states are saved, which are kept, and the way back to the newest state."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch

from core import events as ev
from core import presets
from core.effects import effects, is_fixed
from core.engine import checkpoint, snapshot, state
from core.engine.models import Models
from core.engine.safe_files import disk_error
from core.engine.trainer import Trainer
from core.errors import DiskFullError, UserError
from core.outlook import epoch_ends
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
        self._written: set[str] = set()

    def is_due(self, step: int, total: int, batches_per_epoch: int) -> bool:
        """Whether a checkpoint is due after a step that is not the last."""
        output, accumulation = self._settings.output, self._settings.training.accumulation
        if step >= total:
            return False
        if output.save_every_steps and step % output.save_every_steps == 0:
            return True
        return epoch_ends(step, output.save_every_epochs, accumulation, batches_per_epoch)

    def save(self, step: int, facts: Mapping[str, Any]) -> Iterator[ev.Event]:
        """Write checkpoint and state of a step; `facts` as checkpoint.save and state.save want them.

        Raises DiskFullError when there is no room for one of them; called again, it writes what is missing. All
        processes bring their share of the weights, so the state is tried even where the checkpoint did not fit.
        """
        full: DiskFullError | None = None
        with self._trainer.shown(), self._trainer.gathered():
            try:
                if self._writes and "checkpoint" not in self._written:
                    yield from self._checkpoint(step, facts)
            except DiskFullError as error:
                full = error
        weights, optimizer = snapshot.trained_weights(self._trainer), snapshot.optimizer_state(self._trainer)
        if self._writes and "state" not in self._written:
            yield from self._state(step, facts, weights, optimizer)
        if full is not None:
            raise full
        self._written.clear()
        if self._writes:
            yield from self._remove_old()

    def _state(
        self, step: int, facts: Mapping[str, Any], weights: dict[str, torch.Tensor], optimizer: dict[str, Any]
    ) -> Iterator[ev.Event]:
        """Write the training state, and remove those that are older than the settings keep."""
        run = self._run
        folder = run.states_path / f"step{step:08d}"
        losses = [[at, loss] for at, loss in sorted(self.losses.items())]
        kept = {**facts, "losses": losses, "optimizer": self._settings.training.optimizer}
        kept["settings"] = presets.flat(self._settings)
        state.save(folder, weights, optimizer, kept)
        self._written.add("state")
        run.prune_states(self._settings.output.keep_states)
        yield ev.StateSaved(step=step, path=folder.relative_to(run.path).as_posix())

    def _remove_old(self) -> Iterator[ev.Event]:
        """Remove the checkpoints that the settings do not keep."""
        run = self._run
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
            snapshot.load_weights(self._trainer, weights)
            present = self._settings.training.optimizer
            if facts.get("optimizer", present) == present:
                snapshot.load_optimizer_state(self._trainer, optimizer)
                snapshot.renew_options(self._trainer, facts.get("settings", {}))
            else:
                text = f"The optimizer was {facts['optimizer']} before; the new one begins without memory of the past."
                yield ev.Message(level="warning", text=text, step=int(facts["step"]))
            now = {key: value for key, value in presets.flat(self._settings).items() if not is_fixed(key)}
            for line in effects({**now, **facts.get("settings", {})}, now):
                yield ev.Message(text=f"Changed since this state: {line}.", step=int(facts["step"]))
            self.losses = {int(step): float(loss) for step, loss in facts.get("losses", [])}
            return facts
        return None

    def _checkpoint(self, step: int, facts: Mapping[str, Any]) -> Iterator[ev.Event]:
        """Write the weights that the modules hold now."""
        run = self._run
        known = {"parent": self._parent()}
        yield ev.Progress(phase="save", done=0, total=2)
        path = run.checkpoint_path(step, folder=self._settings.output.layout == "diffusers folder" and self._whole())
        size = checkpoint.save(path, self._models, self._settings, list(self._trainer.groups), {**facts, **known})
        self._written.add("checkpoint")
        yield ev.Checkpoint(step=step, path=path.relative_to(run.path).as_posix(), bytes=size)

    def _parent(self) -> dict[str, str]:
        """What is known of the base model; found once, for its file has gigabytes to be read for its hash."""
        run = self._run
        try:
            found: dict[str, str] = run.facts().get("parent") or run.keep_fact(
                "parent", checkpoint.parent(self._models.source.path)
            )
        except OSError as error:
            raise disk_error(run.path / "run.json", error) from error
        return found

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
