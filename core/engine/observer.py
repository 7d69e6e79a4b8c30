"""Looks at the model while it is trained: the stable loss and the samples, without touching the training's draws."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import torch
from PIL import Image

from core import events as ev
from core.engine.models import Models, autocast
from core.engine.noise import NoiseSchedule
from core.engine.objective import scheduler_config
from core.engine.prepare import Prepared
from core.engine.sample import Drawing
from core.engine.stable_loss import Probe, StableLoss
from core.engine.text_states import Conditioning, TextStates, encode
from core.errors import DiskFullError, Stopped, means_full
from core.grid import CellPlan
from core.infotext import parameters, save_picture
from core.runs import Run
from core.settings import Settings
from core.together import drawn_together, measured_together


class Observer:
    """Measures and samples the present weights.

    Attributes:
        data: The pictures; the held-out ones are measured as "validation", the probe as "train".
    """

    def __init__(
        self, run: Run, settings: Settings, models: Models, data: Prepared, precision: str, texts: TextStates | None
    ) -> None:
        """`texts` are those of the frozen text encoder, None when it is trained."""
        self.data = data
        self._run = run
        self._settings = settings
        self._models = models
        self._precision = precision
        self._texts = texts
        self._scheduler = scheduler_config(settings, models.source.configs["scheduler"])
        schedule = NoiseSchedule.from_config(self._scheduler, models.device)
        page = settings.validation
        self._probes: dict[str, list[Probe]] = {}
        self._unsaved: list[tuple[ev.Sample, Image.Image, str]] = []
        at_once = measured_together(settings.data.resolution)
        self._ruler = StableLoss(schedule, page.seed, page.timestep_buckets, page.repeats, batch=at_once)

    def _text_states(self, captions: list[str]) -> Conditioning:
        """Conditioning by the text encoder as it is now."""
        if self._texts is not None:
            return self._texts.get(captions)
        with torch.no_grad():
            return encode(self._models, captions, self._precision, self._settings.model.clip_skip)

    def _predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, states: Conditioning, sizes: torch.Tensor
    ) -> torch.Tensor:
        arguments = self._models.family.unet_arguments(states, sizes)
        with autocast(self._models.device, self._precision):
            noisy = self._models.arrange(noisy)
            predicted: torch.Tensor = self._models.unet(noisy, timesteps, **arguments, return_dict=False)[0]
        return predicted

    def measure(self, step: int) -> Iterator[ev.Event]:
        """The stable loss of the train probe and of the held-out pictures."""
        for split, rows in (("train", self.data.probe), ("validation", self.data.validation)):
            if not len(rows):
                continue
            began = time.monotonic()
            if split not in self._probes:  # kept ready: the ruler must not change with an edited caption either
                self._probes[split] = self.data.probes(rows, self._models.scaling_factor)
            probes = self._probes[split]
            found = self._ruler.measure(probes, self._predict, self._text_states, self._models.device)
            yield ev.Evaluated(
                step=step,
                split=split,
                loss=found.loss,
                buckets=found.buckets,
                duration=round(time.monotonic() - began, 3),
            )

    def sample(self, step: int, stop: Callable[[], bool], keep: bool = True) -> Iterator[ev.Event]:
        """Draw the sample prompts; a wish to stop leaves the rest undrawn. `keep`: whether the pictures are saved.

        Pictures for which the disk has no room wait for write_samples().
        """
        requests = self.requests()
        if not requests:
            yield ev.Message(level="warning", text="There is no sample prompt in the settings.", step=step)
            return
        self._models.load("vae")
        drawing = Drawing(self._models, self._text_states, self._precision, stop, scheduler=self._scheduler)
        yield ev.Progress(phase="sample", done=0, total=len(requests))
        try:
            for index, image in drawing.draw(requests, batch=drawn_together(requests[0].width, requests[0].height)):
                if not keep:
                    continue
                request = requests[index]
                path = self._run.samples_path / f"step{step:08d}-{index:02d}.png"
                text = parameters(request, {"Model": f"{self._run.name} step {step}"})
                relative = path.relative_to(self._run.path).as_posix()
                event = ev.Sample(step=step, path=relative, prompt=request.prompt, seed=request.seed, index=index)
                self._unsaved.append((event, image, text))
                with contextlib.suppress(DiskFullError):
                    yield from self.write_samples()
        except Stopped:
            return

    def write_samples(self) -> Iterator[ev.Event]:
        """Write the drawn pictures that are not on the disk yet; DiskFullError when there is no room still."""
        while self._unsaved:
            event, image, text = self._unsaved[0]
            path = self._run.path / event.path
            try:
                save_picture(path, image, text)
            except OSError as error:
                if means_full(error):
                    raise DiskFullError(path) from error
                raise
            del self._unsaved[0]
            yield event

    def requests(self) -> list[CellPlan]:
        """The sample prompts as drawing requests; sizes are rounded to what the model can draw."""
        page, side = self._settings.sample, self._settings.data.resolution
        multiple = self._models.vae_factor * 2 ** (len(self._models.source.configs["unet"]["block_out_channels"]) - 1)
        width, height = (max(multiple, (size or side) // multiple * multiple) for size in (page.width, page.height))
        return [
            CellPlan(
                checkpoint="",
                prompt=prompt,
                negative=page.negative,
                seed=page.seed + number,
                cfg=page.cfg,
                steps=page.steps,
                sampler=page.sampler,
                width=width,
                height=height,
            )
            for number, prompt in enumerate(page.prompts)
            if prompt.strip()
        ]
