"""A whole training run as a generator of events: prepare, train, measure, sample, save, resume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any

import torch

from core import __version__
from core import events as ev
from core.advisor import out_of_patience
from core.data.captions import first, variants
from core.engine.control import Control
from core.engine.distributed import agreed, broadcast_flags, is_launched, main_first, make_accelerator
from core.engine.guard import PATIENCE, Guard, advice
from core.engine.loader import Batch, Loader
from core.engine.models import DTYPES, Models, open_models, pick_device, pick_precision
from core.engine.noise import seed_of
from core.engine.objective import draw_plan
from core.engine.observer import Observer
from core.engine.prepare import Prepared, agree, cache_latents, gather, index_folders
from core.engine.reading import Taken
from core.engine.saver import Saver
from core.engine.trainer import Trainer
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
        self._rate_scale = 1.0
        self._returns = 0
        self._told_at = 0.0
        self._enough = False
        self._guard = Guard(settings.training.spike_factor)
        device = pick_device(settings.hardware.device)
        # A GPU works on while the step before is told; a processor has nothing to gain from that.
        self._lags = device.type == "cuda"
        if not is_launched():
            # Sums depend on the number of threads: a resume, wherever it is started, keeps that of the beginning.
            torch.set_num_threads(int(run.keep_fact("threads", torch.get_num_threads())))
        self.precision = pick_precision(settings.training.precision, device, settings.training.weights_precision)
        self.accelerator = make_accelerator(device, self.precision)
        self.models: Models = open_models(settings, self.accelerator.device)
        self.models.frozen = DTYPES[self.precision]

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
        with main_first(self.accelerator):
            indexed = yield from index_folders(settings, self.control)
        store = yield from cache_latents(settings, self.models, indexed, self.control, self.accelerator, self.precision)
        data = gather(settings, indexed[0], store)
        agree(data, self.accelerator)
        yield ev.Progress(phase="load", done=0, total=1)
        if not settings.sample.prompts:
            self.models.drop("vae")
        self.models.load("unet", "tokenizer", as_stored=True)
        if self.models.trains_text(settings):
            self.models.load(*self.models.text_parts, as_stored=True)
        self.trainer = Trainer(self.models, settings, self.accelerator, self.precision)
        processes = self.accelerator.num_processes
        self.loader = Loader(
            data.train,
            store,
            settings,
            self.models.scaling_factor,
            draw_plan(settings, self.models.source.configs["scheduler"]),
            self.accelerator.process_index,
            processes,
        )
        self.total = self._total_steps()
        self.observer = Observer(self.run, settings, self.models, data, self.precision, self.trainer.texts)
        self._saver = Saver(self.run, settings, self.models, self.trainer, self.is_main)
        self._prepare_texts(data)
        yield from self._resume()
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

    def _resume(self) -> Iterator[ev.Event]:
        """Go back to the newest state that can be read, if there is one."""
        facts = yield from self._saver.restore()
        if facts is None:
            return
        self.step, self.images = int(facts["step"]), int(facts["images"])
        self._seconds_before, self._began = float(facts["seconds"]), time.monotonic()
        self._saved_step = self.step
        self._rate_scale = float(facts.get("rate_scale", 1.0))
        self._guard.typical = float(facts.get("typical_norm", 0.0))
        if facts["data"] != self.observer.data.fingerprint:
            text = "The training pictures changed since the run was saved; from here on their order is another one."
            yield ev.Message(level="warning", text=text, step=self.step)

    def _train(self) -> Iterator[ev.Event]:
        """The loop over steps, with all that is due between them."""
        if self.step == 0:
            yield from self._observe()
        while self.step < self.total and not self._enough:
            with contextlib.closing(self.loader.stream(self.step * self.settings.training.accumulation)) as stream:
                yield from self._train_on(stream)
        yield from self._save()
        yield ev.Ended(state="finished", step=self.step)

    def _train_on(self, stream: Iterator[Batch]) -> Iterator[ev.Event]:
        """Steps until the end, or until a bad one sends the run back to where the stream must begin anew."""
        waiting: list[Taken] = []
        while self.step < self.total:
            self._hear()
            if self.accelerator.num_processes > 1:
                self._hear()  # rank 0 may have heard or measured something since: all turn off at the same step
            while waiting and self.control.asked:
                if (yield from self._judge(waiting.pop(0))):
                    return
            yield from self._serve_commands()
            if self.control.stopping:
                yield from self._save()
                raise Stopped
            if self._enough:
                return
            waiting.append(self._step([next(stream) for _ in range(self.settings.training.accumulation)]))
            rests = self._rests()
            while len(waiting) > (0 if rests else 1):
                if (yield from self._judge(waiting.pop(0))):
                    return
            if rests:
                yield from self._after_step()

    def _rests(self) -> bool:
        """Whether all steps must be told before the next one begins: something is due now, or nothing is gained."""
        if not self._lags or self.step >= self.total or self.control.asked:
            return True
        return any(self._looks_due()) or self._saver.is_due(self.step, self.total, self.loader.order.batches_per_epoch)

    def _judge(self, taken: Taken) -> Generator[ev.Event, None, bool]:
        """Tell of a step; True when it was bad and the run went back."""
        event = self._step_event(taken)
        yield event
        complaint = self._guard.complaint(event.loss, event.grad_norm)
        self._guard.note(event.grad_norm, complaint)
        if complaint and taken.result.moved:
            yield from self._go_back(complaint, taken.step)
            return True
        if complaint:
            yield self._skipped(complaint, taken.step)
        return False

    def _step(self, batches: list[Batch]) -> Taken:
        """One step, counted; what chance decides in it depends on its number only."""
        began = time.monotonic()
        factor = self.trainer.rate_factor(self.step + 1, self.total) * self._rate_scale
        torch.manual_seed(seed_of("dropout", self.settings.training.seed, self.step, self.accelerator.process_index))
        self.step += 1
        result = self.trainer.step(
            self.step, batches, factor, lambda loss, norm: bool(self._guard.complaint(loss, norm))
        )
        self.images += result.images
        return Taken(self.step, self.images, began, result)

    def _skipped(self, complaint: str, step: int) -> ev.Message:
        """Tell of a step whose gradient was thrown away; UserError after too many in a row."""
        if self._guard.bad >= PATIENCE:
            raise UserError(advice(f"{complaint}, {PATIENCE} times in a row", step, self._last_saved()))
        return ev.Message(level="warning", text=f"Step {step:,} was skipped: {complaint}.", step=step)

    def _last_saved(self) -> int:
        """Step of the newest training state, 0 for none."""
        return max((saved.step for saved in self.run.states()), default=0)

    def _go_back(self, complaint: str, at: int) -> Iterator[ev.Event]:
        """After step `at`, which broke the weights: back to the last state with half the rate, or UserError."""
        saved = self._last_saved()
        self._returns += 1
        if self.settings.training.on_nan != "go back" or not saved or self._returns > PATIENCE:
            raise UserError(advice(complaint, at, saved))
        scale = self._rate_scale / 2
        yield from self._resume()
        self._rate_scale = scale
        text = f"At step {at:,} {complaint}: back to step {self.step:,} with {scale:.3g} of the learning rate."
        yield ev.Message(level="warning", text=text, step=self.step)

    def _step_event(self, taken: Taken) -> ev.Step:
        """The step as an event; its time is from its start, or from the end of the one before where that was later."""
        loss, norm = taken.numbers()
        batches = taken.step * self.settings.training.accumulation
        now = time.monotonic()
        took, self._told_at = now - max(taken.began, self._told_at), now
        return ev.Step(
            step=taken.step,
            loss=loss,
            rates=taken.result.rates,
            images=taken.images,
            epoch=round(batches / self.loader.order.batches_per_epoch, 6),
            speed=round(taken.result.images / max(1e-9, took), 3),
            grad_norm=norm,
            seconds=round(self.seconds, 3),
        )

    def _after_step(self) -> Iterator[ev.Event]:
        """Measure, sample and save where it is due."""
        yield from self._observe()
        if self._saver.is_due(self.step, self.total, self.loader.order.batches_per_epoch):
            yield from self._save()

    def _looks_due(self) -> tuple[bool, bool]:
        """Whether the stable loss is measured at this step, and whether samples are drawn."""
        settings = self.settings
        measure = _due(self.step, settings.validation.every_steps, self.total)
        sample = _due(self.step, settings.sample.every_steps, self.total) and bool(settings.sample.prompts)
        return measure, sample

    def _observe(self) -> Iterator[ev.Event]:
        """Stable loss and samples where they are due; other ranks wait."""
        measure, sample = self._looks_due()
        if not (measure or sample):
            return
        if self._takes_part:
            with _evaluating(self.trainer.denoiser), self.trainer.shown():
                if measure:
                    yield from self._measure()
                if sample:
                    yield from self._sample()
        self.accelerator.wait_for_everyone()
        (self._enough,) = broadcast_flags(self.accelerator, [self._enough])

    @property
    def _takes_part(self) -> bool:
        """Whether this process measures, samples and saves: rank 0, and all where each has a share of the weights."""
        return self.is_main or self.trainer.shares is not None

    def _sample(self) -> Iterator[ev.Event]:
        """Samples of the present weights; rank 0 keeps them, and its wish to stop holds for all."""
        stop = self.control.should_stop
        stop = agreed(self.accelerator, stop) if self.trainer.shares else stop
        yield from self.observer.sample(self.step, stop, keep=self.is_main)

    def _measure(self) -> Iterator[ev.Event]:
        """The stable loss; what it says of the held-out pictures decides which checkpoints are the best."""
        for event in self.observer.measure(self.step):
            if isinstance(event, ev.Evaluated) and event.split == "validation":
                self._saver.losses[self.step] = event.loss
            yield event
        patience = self.settings.validation.patience
        if out_of_patience(self._saver.losses, patience) and self.step < self.total:
            self._enough = True
            text = f"The loss of the held-out pictures has not fallen for {patience} measurements: the run ends here."
            yield ev.Message(text=text, step=self.step)

    def _serve_commands(self) -> Iterator[ev.Event]:
        """Pause, save and sample as asked; every rank hears what rank 0 hears."""
        if self.control.paused and not self.control.stopping:
            yield from self._pause()
        if self.control.save:
            self.control.save = False
            yield from self._save()
        if self.control.sample:
            self.control.sample = False
            if self._takes_part:
                with _evaluating(self.trainer.denoiser), self.trainer.shown():
                    yield from self._sample()
            self._hear()

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
        if self._takes_part:
            epoch = self.step * self.settings.training.accumulation / self.loader.order.batches_per_epoch
            facts: dict[str, Any] = {
                "step": self.step,
                "images": self.images,
                "epoch": epoch,
                "name": self.run.name,
                "seconds": self.seconds,
                "kwh": self.kwh,
                "data": self.observer.data.fingerprint,
                "rate_scale": self._rate_scale,
                "typical_norm": self._guard.typical,
            }
            yield from self._saver.save(self.step, facts)
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
