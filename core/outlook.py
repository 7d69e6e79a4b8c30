"""What the settings mean before anything starts: steps, epochs, pictures seen, checkpoints, disk."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.methods._parts import rates
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Outlook:
    """A run in numbers. None where the number of pictures is not known yet.

    Attributes:
        images_per_step: Effective batch.
        steps: Planned steps.
        steps_per_epoch: Steps in which every training picture is seen once.
        learning_rate: The UNet's rate, scaled with the effective batch when that is asked for.
        rate_scaled: Whether it is asked for.
        checkpoints: How many are saved at most, the last one included (one may fall on a step and an epoch at once).
    """

    images_per_step: int
    steps: int | None
    epochs: float | None
    steps_per_epoch: float | None
    images: int | None
    checkpoints: int | None
    learning_rate: float
    rate_scaled: bool


def effective_batch(settings: Settings) -> int:
    """Pictures per change of the weights."""
    training = settings.training
    return training.batch_size * training.accumulation * settings.hardware.processes


def effective_rates(settings: Settings) -> dict[str, float]:
    """Full learning rate of every part ("unet", "text_encoder" ...): the settings' rates, scaled with the batch.

    The reference is a batch of 1. The square root keeps the noise of Adam's steps the same (Malladi et al. 2022), the
    linear rule that of SGD's (Goyal et al. 2017).
    """
    power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[settings.training.rate_scaling]
    scale = float(effective_batch(settings) ** power)
    return {part: rate * scale for part, rate in rates(settings).items()}


def total_steps(settings: Settings, batches_per_epoch: int | None) -> int | None:
    """Planned steps; `batches_per_epoch` counts batches of all processes together, None while it is unknown."""
    training = settings.training
    limits = []
    if training.max_steps:
        limits.append(training.max_steps)
    if training.max_epochs:
        if batches_per_epoch is None:
            return training.max_steps or None
        per_step = training.accumulation * settings.hardware.processes
        limits.append(math.ceil(training.max_epochs * batches_per_epoch / per_step))
    return min(limits) if limits else None


def epoch_ends(step: int, every: int, accumulation: int, batches_per_epoch: int) -> bool:
    """Whether a step (1 is the first) brings an epoch to its end whose number `every` divides; never for 0.

    `batches_per_epoch` are global micro-batches, of which a step takes `accumulation`.
    """
    span = batches_per_epoch * every
    return span > 0 and step > 0 and step * accumulation // span > (step - 1) * accumulation // span


def outlook(settings: Settings, pictures: int | None, batches_per_epoch: int | None) -> Outlook:
    """The numbers that the settings lead to; `pictures` are those trained on, without the held-out ones."""
    batch = effective_batch(settings)
    steps = total_steps(settings, batches_per_epoch)
    per_epoch = None
    if batches_per_epoch:
        per_epoch = batches_per_epoch / (settings.training.accumulation * settings.hardware.processes)
    saves = None
    if steps:
        every = settings.output.save_every_steps
        saves = math.ceil(steps / every) if every else 1
        if settings.output.save_every_epochs and per_epoch:
            saves += math.ceil(steps / (per_epoch * settings.output.save_every_epochs)) - 1
    return Outlook(
        images_per_step=batch,
        steps=steps,
        epochs=steps / per_epoch if steps and per_epoch else None,
        steps_per_epoch=per_epoch,
        images=steps * batch if steps else None,
        checkpoints=saves,
        learning_rate=effective_rates(settings)["unet"],
        rate_scaled=settings.training.rate_scaling != "none",
    )
