"""Looks at the model while it is trained: the stable loss and the samples, without touching the training's draws."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from PIL import Image

from core import events as ev
from core.engine.models import Models, autocast
from core.engine.noise import NoiseSchedule
from core.engine.objective import scheduler_config
from core.engine.prepare import Prepared
from core.engine.sample import Drawing
from core.engine.stable_loss import ALONE, Probe, Share, StableLoss
from core.engine.text_states import Conditioning, TextStates, encode, split
from core.errors import DiskFullError, Stopped, means_full
from core.grid import CellPlan
from core.infotext import parameters, save_picture
from core.runs import Run
from core.settings import Settings
from core.together import drawn_together, measured_together

#: Latents, and text states, of the measured pictures stay on the GPU up to so many bytes of each, in RAM up to more.
_ON_DEVICE, _IN_RAM = 32 << 20, 256 << 20


@dataclass(frozen=True)
class _Ready:
    """What a split's measurements need, kept ready: the ruler must not change with an edited caption file either.

    Attributes:
        states: Text states by caption, each without its batch; empty where they are asked for at each measurement.
    """

    probes: list[Probe]
    states: dict[str, Conditioning]
    device: torch.device

    def texts(self, captions: list[str]) -> Conditioning:
        """Conditioning of a batch."""
        found = [self.states[caption] for caption in captions]
        return {name: torch.stack([state[name] for state in found]).to(self.device) for name in found[0]}


class Observer:
    """Measures and samples the present weights.

    Attributes:
        data: The pictures; the held-out ones are measured as "validation", the probe as "train".
        share: The part of each measurement that this process takes.
    """

    def __init__(
        self, run: Run, settings: Settings, models: Models, data: Prepared, precision: str, texts: TextStates | None
    ) -> None:
        """`texts` are those of the frozen text encoder, None when it is trained."""
        self.data = data
        self.share: Share = ALONE
        self._run = run
        self._settings = settings
        self._models = models
        self._precision = precision
        self._texts = texts
        self._scheduler = scheduler_config(settings, models.source.configs["scheduler"])
        schedule = NoiseSchedule.from_config(self._scheduler, models.device)
        page = settings.validation
        self._ready: dict[str, _Ready] = {}
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
        noisy = self._models.arrange(noisy)
        predicted: torch.Tensor = self._models.unet(noisy, timesteps, **arguments, return_dict=False)[0]
        return predicted

    def measure(self, step: int, weights: str = "") -> Iterator[ev.Event]:
        """The stable loss of the train probe and of the held-out pictures; `weights` as Evaluated names them."""
        for name, rows in (("train", self.data.probe), ("validation", self.data.validation)):
            if not len(rows):
                continue
            began = time.monotonic()
            ready = self._made_ready(name)
            texts = ready.texts if ready.states else self._text_states
            with autocast(self._models.device, self._precision):  # weights are cast once, not once a batch
                found = self._ruler.measure(ready.probes, self._predict, texts, self._models.device, self.share)
            yield ev.Evaluated(
                step=step,
                split=name,
                loss=found.loss,
                buckets=found.buckets,
                duration=round(time.monotonic() - began, 3),
                weights=weights,
            )

    def _made_ready(self, name: str) -> _Ready:
        """Probes and text states of a split; what cannot change is found once."""
        ready = self._ready.get(name)
        if ready is None:
            rows = self.data.probe if name == "train" else self.data.validation
            probes, device = self.data.probes(rows, self._models.scaling_factor), self._models.device
            if sum(probe.latent.nbytes for probe in probes) <= _ON_DEVICE:
                probes = [replace(probe, latent=probe.latent.to(device)) for probe in probes]
            states = self._states_of(probes) if self._texts is not None else {}
            ready = self._ready[name] = _Ready(probes, states, device)
        if self._texts is None:  # a trained encoder says something else each time, but the same for a caption's draws
            return replace(ready, states=self._states_of(ready.probes))
        return ready

    @torch.no_grad()
    def _states_of(self, probes: list[Probe]) -> dict[str, Conditioning]:
        """The text states of each caption; empty when they are too large to be kept."""
        captions = sorted({probe.caption for probe in probes})
        states: dict[str, Conditioning] = {}
        for start in range(0, len(captions), self._ruler.batch):
            part = captions[start : start + self._ruler.batch]
            states.update(zip(part, split(self._text_states(part)), strict=True))
            if _size(states) / len(states) * len(captions) > _IN_RAM:
                return {}
        if _size(states) > _ON_DEVICE:
            return states
        device = self._models.device
        return {text: {name: t.to(device) for name, t in state.items()} for text, state in states.items()}

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


def _size(states: dict[str, Conditioning]) -> int:
    """Bytes of text states."""
    return sum(tensor.nbytes for state in states.values() for tensor in state.values())
