"""A whole training run as a generator of events: prepare, train, measure, sample, save, resume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any

import torch

from core import __version__, timestep_losses
from core import events as ev
from core.engine.cache import encode
from core.engine.control import Control
from core.engine.device_trouble import device_trouble, memory_advice
from core.engine.distributed import is_launched, main_first, make_accelerator, partitions
from core.engine.guard import PATIENCE, Guard, advice
from core.engine.intermission import Intermission
from core.engine.kept_draws import KeptDraws
from core.engine.latent_store import is_live
from core.engine.loader import Batch, LatentSpace, Loader
from core.engine.lookout import Lookout
from core.engine.models import DTYPES, Models, open_models, pick_device, pick_precision
from core.engine.noise import seed_device, seed_of
from core.engine.objective import draw_plan
from core.engine.observer import Observer
from core.engine.prepare import Prepared, prepare
from core.engine.reading import Taken
from core.engine.saver import Saver
from core.engine.text_states import TextStates, adopt_states, texts_to_come
from core.engine.trainer import Trainer
from core.engine.zero import require_deepspeed
from core.errors import DiskFullError, Stopped, UserError
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
        self._saved_step = -1
        self._rate_scale = 1.0
        self._returns = 0
        self._told_at = 0.0
        self._phase = ""
        self._guard = Guard(settings.training.spike_factor)
        device = pick_device(settings.hardware.device)
        # A GPU works on while the step before is told; a processor has nothing to gain from that.
        self._lags = device.type == "cuda"
        if not is_launched():
            # Sums depend on the number of threads: a resume, wherever it is started, keeps that of the beginning.
            torch.set_num_threads(int(run.keep_fact("threads", torch.get_num_threads())))
        self.precision = pick_precision(settings.training.precision, device, settings.training.weights_precision)
        self.accelerator = make_accelerator(device, self.precision)
        if partitions(settings, self.accelerator):
            require_deepspeed(device)  # rather now than after the pictures were encoded
        self._between = Intermission(control, self.accelerator, run.path)
        self.models: Models = open_models(settings, self.accelerator.device)
        self.models.frozen = DTYPES[self.precision]

    @property
    def seconds(self) -> float:
        """Seconds worked so far, pauses left out."""
        return self._seconds_before + time.monotonic() - self._began - self._between.seconds

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and saves."""
        return bool(self.accelerator.is_main_process)

    def events(self) -> Iterator[ev.Event]:
        """Do the run; the last event is Ended. Raises UserError for what the user must mend."""
        try:
            yield from self._told(self._prepare())
            yield from self._told(self._train())
        except Stopped:
            yield ev.Ended(state="stopped", step=self.step)

    def cache_only(self) -> Iterator[ev.Event]:
        """Index and cache, nothing more."""
        try:
            work = prepare(self.settings, self.models, self.control, self.accelerator, self.precision)
            yield from self._told(work)
            yield ev.Ended(state="finished")
        except Stopped:
            yield ev.Ended(state="stopped")

    def _told(self, events: Iterator[ev.Event]) -> Iterator[ev.Event]:
        """The events of a part of the work; a GPU that fails in it is a UserError that fits what was being done."""
        with device_trouble(lambda: memory_advice(self.settings, self._phase)):
            for event in events:
                if isinstance(event, ev.Progress):
                    self._phase = event.phase
                elif isinstance(event, ev.Started | ev.Step | ev.Evaluated | ev.Sample | ev.StateSaved):
                    self._phase = ""
                yield event

    def _prepare(self) -> Iterator[ev.Event]:
        """Data, then models, then the trainer with its state."""
        settings = self.settings
        resumed = bool(self.run.states())
        data = yield from prepare(settings, self.models, self.control, self.accelerator, self.precision, resumed)
        yield ev.Progress(phase="load", done=0, total=1)
        if not (settings.sample.prompts or is_live(settings)):
            self.models.drop("vae")
        self.models.load("unet", "tokenizer", as_stored=True)
        if self.models.trains_text(settings):
            self.models.load(*self.models.text_parts, as_stored=True)
        self.trainer = Trainer(self.models, settings, self.accelerator, self.precision, fresh=not resumed)
        self.loader = self._make_loader(data)
        self.total = self._total_steps()
        self.observer = Observer(self.run, settings, self.models, data, self.precision, self.trainer.texts)
        self._saver = Saver(self.run, settings, self.models, self.trainer, self.is_main)
        batches = self.loader.order.batches_per_epoch
        self._lookout = Lookout(settings, self.observer, self.trainer, self._saver, self._between, batches)
        self._draws = self._keep_draws()
        yield from self._prepare_texts(data)
        yield from self._resume()
        yield from self._draws.begin(self.step)
        yield self._started(data)

    def _keep_draws(self) -> KeptDraws:
        """What keeps the timesteps and losses of rank 0's pictures, where they are wanted."""
        kept = self.is_main and self.settings.validation.keep_draws
        images = self.settings.training.batch_size * self.settings.training.accumulation
        return KeptDraws(timestep_losses.path_of(self.run.path) if kept else None, self.total, images)

    def _make_loader(self, data: Prepared) -> Loader:
        """What makes the batches; it gets the VAE where pictures are encoded at each use."""
        models, settings = self.models, self.settings
        return Loader(
            data.dataset,
            data.store,
            settings,
            LatentSpace(models.scaling_factor, models.latent_channels, models.vae_factor),
            draw_plan(settings, models.source.configs["scheduler"]),
            (self.accelerator.process_index, self.accelerator.num_processes),
            (lambda pixels: encode(models, pixels, self.precision)) if is_live(settings) else None,
        )

    def _prepare_texts(self, data: Prepared) -> Iterator[ev.Event]:
        """Encode every caption and prompt that will come, where they can be named, and free the text encoder."""
        if self.trainer.texts is None:
            return
        with main_first(self.accelerator):
            yield from self._make_texts(data, self.trainer.texts)

    def _make_texts(self, data: Prepared, states: TextStates) -> Iterator[ev.Event]:
        if self.settings.data.adopt_kohya_caches == "latents and text":
            count = adopt_states(data.dataset, states)
            yield ev.Message(
                text=f"The text states of {count:,} captions were taken over from another trainer's cache."
            )
        prompts = {request.prompt for request in self.observer.requests()} | {self.settings.sample.negative}
        wanted = texts_to_come(data.dataset, prompts, states.most)
        if wanted is not None:
            yield from states.prepare(wanted, self.control.should_stop)

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
            pictures=data.dataset.plan.trained,
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
        self._lookout.budget.load(facts.get("measuring", {}))
        if facts["data"] != self.observer.data.fingerprint:
            text = "The training pictures changed since the run was saved; from here on their order is another one."
            yield ev.Message(level="warning", text=text, step=self.step)

    def _train(self) -> Iterator[ev.Event]:
        """The loop over steps, with all that is due between them."""
        if self.step == 0:
            yield from self._lookout.look(self.step, self.total, lambda: self.seconds)
        while self.step < self.total and not self._lookout.enough:
            self._lookout.budget.begin(self.step, self.seconds)
            with contextlib.closing(self.loader.stream(self.step * self.settings.training.accumulation)) as stream:
                yield from self._train_on(stream)
        yield from self._save()
        yield from self._between.insist(self.step, self._tell)
        yield ev.Ended(state="finished", step=self.step)

    def _train_on(self, stream: Iterator[Batch]) -> Iterator[ev.Event]:
        """Steps until the end, or until a bad one sends the run back to where the stream must begin anew."""
        waiting: list[Taken] = []
        while self.step < self.total:
            self._between.hear()
            if self.accelerator.num_processes > 1:
                self._between.hear()  # rank 0 may have heard or measured something since: all turn off at the same step
            while waiting and self.control.asked:
                if (yield from self._judge(waiting.pop(0))):
                    return
            yield from self._serve_commands()
            if self.control.stopping:
                yield from self._save()
                raise Stopped
            if self._lookout.enough:
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
        return any(self._lookout.due(self.step, self.total)) or self._saver.is_due(
            self.step, self.total, self.loader.order.batches_per_epoch
        )

    def _judge(self, taken: Taken) -> Generator[ev.Event, None, bool]:
        """Tell of a step; True when it was bad and the run went back."""
        event = self._step_event(taken)
        yield event
        if (records := taken.records()) is not None:
            yield from self._draws.take(records, taken.step)
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
        place = (self.settings.training.seed, self.step, self.accelerator.process_index)
        seed_device(seed_of("dropout", *place), self.accelerator.device)
        self.step += 1
        result = self.trainer.step(
            self.step, batches, factor, lambda loss, norm: bool(self._guard.complaint(loss, norm))
        )
        self.images += result.images
        return Taken(self.step, self.images, began, result, self._draws.wants(self.step))

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
        yield from self._draws.begin(self.step)
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
        yield from self._lookout.look(self.step, self.total, lambda: self.seconds)
        if self._saver.is_due(self.step, self.total, self.loader.order.batches_per_epoch):
            yield from self._save()

    def _serve_commands(self) -> Iterator[ev.Event]:
        """Pause, save and sample as asked; every rank hears what rank 0 hears."""
        if self.control.blocked:
            yield from self._between.insist(self.step, self._tell)
        if self.control.paused and not self.control.stopping:
            yield from self._draws.flush(self.step)
            yield from self._between.pause(self.step)
        if self.control.save:
            self.control.save = False
            yield from self._save()
        if self.control.sample:
            self.control.sample = False
            yield from self._lookout.sample(self.step)
            self._between.hear()

    def _tell(self) -> Iterator[ev.Event]:
        """Get rid of the events that are not on the disk yet; DiskFullError when there is no room still."""
        if self.control.unwritten():
            raise DiskFullError(self.run.events_path)
        yield from ()

    def _save(self) -> Iterator[ev.Event]:
        """Checkpoint and state of this step, once; a state means that the draws up to it are on the disk."""
        yield from self._draws.flush(self.step)
        if self._saved_step == self.step or self.step == 0:
            return
        yield from self._between.insist(self.step, self._write)
        self._saved_step = self.step

    def _write(self) -> Iterator[ev.Event]:
        """Checkpoint and state; rank 0 writes them, and the others bring their shares where the weights are split."""
        if not self._lookout.takes_part:
            return
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
            "measuring": self._lookout.budget.facts(),
        }
        yield from self._saver.save(self.step, facts)
