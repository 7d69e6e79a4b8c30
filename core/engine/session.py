"""A whole training run as a generator of events: prepare, train, measure, sample, save, resume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch

from core import __version__
from core import events as ev
from core.data.captions import first, variants
from core.engine import checkpoint, state
from core.engine.control import Control
from core.engine.distributed import broadcast_flags, is_launched, make_accelerator
from core.engine.loader import Loader
from core.engine.models import Models, open_models, pick_device, pick_precision
from core.engine.noise import seed_of
from core.engine.observer import Observer
from core.engine.prepare import Prepared, cache_latents, gather, index_folders
from core.engine.trainer import StepResult, Trainer
from core.errors import Stopped, UserError
from core.outlook import total_steps
from core.runs import Run
from core.settings import Settings


class Session:
    """One run, from its settings to its last event.

    Attributes:
        step: Steps done.
        seconds: Time worked, pauses left out, over all parts of the run.
        kwh: Set by whoever reads the sensors; kept in the training state.
    """

    def __init__(self, run: Run, settings: Settings, control: Control) -> None:
        self.run = run
        self.settings = settings
        self.control = control
        self.step = 0
        self.images = 0
        self.kwh = 0.0
        self._seconds_before = 0.0
        self._began = time.monotonic()
        self._paused_seconds = 0.0
        self._saved_step = -1
        device = pick_device(settings.hardware.device)
        if not is_launched():
            # Sums depend on the number of threads: a resume, wherever it is started, keeps that of the beginning.
            torch.set_num_threads(int(run.keep_fact("threads", torch.get_num_threads())))
        self.precision = pick_precision(settings.training.precision, device)
        self.accelerator = make_accelerator(device, self.precision)
        self.models: Models = open_models(settings, self.accelerator.device)

    @property
    def seconds(self) -> float:
        """Seconds worked so far, pauses left out."""
        return self._seconds_before + time.monotonic() - self._began - self._paused_seconds

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and saves."""
        return bool(self.accelerator.is_main_process)

    def events(self) -> Iterator[ev.Event]:
        """Do the run; the last event is Ended. Raises UserError for what the user must mend."""
        try:
            yield from self._prepare()
            yield from self._train()
        except Stopped:
            yield ev.Ended(state="stopped", step=self.step)

    def cache_only(self) -> Iterator[ev.Event]:
        """Index and cache, nothing more."""
        try:
            indexed = yield from index_folders(self.settings, self.control)
            yield from cache_latents(
                self.settings, self.models, indexed, self.control, self.accelerator, self.precision
            )
            yield ev.Ended(state="finished")
        except Stopped:
            yield ev.Ended(state="stopped")

    def _prepare(self) -> Iterator[ev.Event]:
        """Data, then models, then the trainer with its state."""
        settings = self.settings
        with self.accelerator.main_process_first():
            indexed = yield from index_folders(settings, self.control)
        store = yield from cache_latents(settings, self.models, indexed, self.control, self.accelerator, self.precision)
        data = gather(settings, indexed[0], store)
        yield ev.Progress(phase="load", done=0, total=1)
        if not settings.sample.prompts:
            self.models.drop("vae")
        self.models.load("unet", "tokenizer")
        if settings.training.text_encoder_learning_rate > 0:
            self.models.load("text_encoder")
        self.trainer = Trainer(self.models, settings, self.accelerator, self.precision)
        processes = self.accelerator.num_processes
        self.loader = Loader(
            data.train, store, settings, self.models.scaling_factor, self.accelerator.process_index, processes
        )
        self.total = self._total_steps()
        self.observer = Observer(self.run, settings, self.models, data, self.precision, self.trainer.texts)
        self._prepare_texts(data)
        yield from self._resume(data)
        yield self._started(data)

    def _prepare_texts(self, data: Prepared) -> None:
        """Encode every caption and prompt that will come, where they can be named, and free the text encoder."""
        if self.trainer.texts is None:
            return
        wanted = {request.prompt for request in self.observer.requests()} | {self.settings.sample.negative}
        wanted |= {first(item.captions, self.settings.data) for item in (*data.validation, *data.probe)}
        for item in data.train:
            texts = variants(item.captions, self.settings.data)
            if texts is None:
                return
            wanted |= texts
        self.trainer.texts.prepare(wanted)

    def _total_steps(self) -> int:
        batches = self.loader.order.batches_per_epoch * self.accelerator.num_processes
        steps = total_steps(self.settings, batches)
        if not steps:
            raise UserError("training.max_steps: say how long to train: set the steps or the epochs.")
        return steps

    def _started(self, data: Prepared) -> ev.Started:
        trained, every = self.trainer.counts()
        training = self.settings.training
        return ev.Started(
            step=self.step,
            total_steps=self.total,
            steps_per_epoch=self.loader.order.batches_per_epoch / training.accumulation,
            images_per_step=training.batch_size * training.accumulation * self.accelerator.num_processes,
            pictures=len(data.train),
            validation_pictures=len(data.validation),
            trainable=trained,
            parameters=every,
            device=str(self.accelerator.device),
            precision=self.precision,
            version=__version__,
        )

    def _resume(self, data: Prepared) -> Iterator[ev.Event]:
        """Go back to the newest state that can be read, if there is one."""
        for saved in reversed(self.run.states()):
            try:
                weights, optimizer, facts = state.load(saved.path)
            except UserError as error:
                yield ev.Message(level="warning", text=str(error))
                continue
            self.trainer.load_weights(weights)
            self.trainer.load_optimizer_state(optimizer)
            self.step, self.images = int(facts["step"]), int(facts["images"])
            self._seconds_before, self._began = float(facts["seconds"]), time.monotonic()
            self._saved_step = self.step
            if facts["data"] != data.fingerprint:
                text = "The training pictures changed since the run was saved; from here on their order is another one."
                yield ev.Message(level="warning", text=text, step=self.step)
            return

    def _train(self) -> Iterator[ev.Event]:
        """The loop over steps, with all that is due between them."""
        if self.step == 0:
            yield from self._observe()
        accumulation = self.settings.training.accumulation
        stream = self.loader.stream(self.step * accumulation)
        while self.step < self.total:
            yield from self._serve_commands()
            if self.control.stopping:
                yield from self._save()
                raise Stopped
            began = time.monotonic()
            batches = [next(stream) for _ in range(accumulation)]
            factor = self.trainer.rate_factor(self.step + 1, self.total)
            torch.manual_seed(
                seed_of("dropout", self.settings.training.seed, self.step, self.accelerator.process_index)
            )
            result = self.trainer.step(batches, factor)
            self.step += 1
            self.images += result.images
            yield self._step_event(result, began)
            yield from self._after_step()
        yield from self._save()
        yield ev.Ended(state="finished", step=self.step)

    def _step_event(self, result: StepResult, began: float) -> ev.Step:
        """The step as an event; waits for the GPU, so that the time is the step's own."""
        loss, norm = float(result.loss), float(result.grad_norm)
        batches = self.step * self.settings.training.accumulation
        return ev.Step(
            step=self.step,
            loss=loss,
            rates=result.rates,
            images=self.images,
            epoch=round(batches / self.loader.order.batches_per_epoch, 6),
            speed=round(result.images / max(1e-9, time.monotonic() - began), 3),
            grad_norm=norm,
            seconds=round(self.seconds, 3),
        )

    def _after_step(self) -> Iterator[ev.Event]:
        """Measure, sample and save where it is due."""
        yield from self._observe()
        if self._save_is_due():
            yield from self._save()

    def _observe(self) -> Iterator[ev.Event]:
        """Stable loss and samples where they are due; other ranks wait."""
        settings = self.settings
        measure = _due(self.step, settings.validation.every_steps, self.total)
        sample = _due(self.step, settings.sample.every_steps, self.total) and bool(settings.sample.prompts)
        if not (measure or sample):
            return
        if self.is_main:
            with _evaluating(self.trainer.denoiser):
                if measure:
                    yield from self.observer.measure(self.step)
                if sample:
                    yield from self.observer.sample(self.step, self.control)
        self.accelerator.wait_for_everyone()

    def _save_is_due(self) -> bool:
        output = self.settings.output
        if self.step < self.total and output.save_every_steps and self.step % output.save_every_steps == 0:
            return True
        if not output.save_every_epochs or self.step >= self.total:
            return False
        per_epoch = self.loader.order.batches_per_epoch * output.save_every_epochs
        accumulation = self.settings.training.accumulation
        return self.step * accumulation // per_epoch > (self.step - 1) * accumulation // per_epoch

    def _serve_commands(self) -> Iterator[ev.Event]:
        """Pause, save and sample as asked; every rank hears what rank 0 hears."""
        self._hear()
        if self.control.paused and not self.control.stopping:
            yield from self._pause()
        if self.control.save:
            self.control.save = False
            yield from self._save()
        if self.control.sample:
            self.control.sample = False
            if self.is_main:
                with _evaluating(self.trainer.denoiser):
                    yield from self.observer.sample(self.step, self.control)
            self.accelerator.wait_for_everyone()

    def _hear(self) -> None:
        control = self.control
        control.poll()
        flags = [control.stopping, control.paused, control.save, control.sample]
        flags = broadcast_flags(self.accelerator, flags)
        control.stopping, control.paused, control.save, control.sample = flags

    def _pause(self) -> Iterator[ev.Event]:
        yield ev.Paused(step=self.step)
        began = time.monotonic()
        while self.control.paused and not self.control.stopping:
            time.sleep(0.25)
            self._hear()
        self._paused_seconds += time.monotonic() - began
        yield ev.Continued(step=self.step)

    def _save(self) -> Iterator[ev.Event]:
        """Checkpoint and state of this step, once."""
        if self._saved_step == self.step or self.step == 0:
            return
        if self.is_main:
            yield ev.Progress(phase="save", done=0, total=2)
            epoch = self.step * self.settings.training.accumulation / self.loader.order.batches_per_epoch
            facts: dict[str, Any] = {
                "step": self.step,
                "images": self.images,
                "epoch": epoch,
                "name": self.run.name,
                "seconds": self.seconds,
                "kwh": self.kwh,
                "data": self.observer.data.fingerprint,
            }
            path = self.run.checkpoint_path(self.step)
            size = checkpoint.save(path, self.models, self.settings, list(self.trainer.groups), facts)
            yield ev.Checkpoint(step=self.step, path=path.relative_to(self.run.path).as_posix(), bytes=size)
            folder = self.run.states_path / f"step{self.step:08d}"
            state.save(folder, self.trainer.trained_weights(), self.trainer.optimizer_state(), facts)
            self.run.prune_states(self.settings.output.keep_states)
            yield ev.StateSaved(step=self.step, path=folder.relative_to(self.run.path).as_posix())
        self._saved_step = self.step
        self.accelerator.wait_for_everyone()


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
