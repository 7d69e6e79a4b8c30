"""What speaks against starting a run: impossible combinations (errors) and unusual values (warnings), by option."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from core import paths, presets, registry
from core.data.tag_rules import read_rules
from core.errors import UserError
from core.methods._parts import block_factors
from core.outlook import effective_rates
from core.quantities import show_number
from core.schema import Entry, unusual
from core.settings import Settings

#: The system that is worked on.
PLATFORM = sys.platform
#: Said before a start, and by the trainer where only it can know.
FUSED_ALONE = "the fused backward pass works on one GPU only; switch it off, or use one."
BF16_WEIGHTS = "weights in bf16 want bf16 arithmetic; set training.precision to bf16 or auto, or the weights to fp32."
SPLIT_FP16 = "split gradients of fp16 cannot be scaled; choose bf16 or fp32, or set hardware.parallel to ddp."
FUSED_FP16 = "the fused backward pass cannot scale fp16's gradients; choose bf16 or fp32, or switch it off."


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Attributes:
        key: The option to change ("training.max_steps").
        text: A sentence: what is wrong and what to do.
        severity: "error" keeps the run from starting, "warning" does not.
    """

    key: str
    text: str
    severity: Literal["error", "warning"]


def problems(settings: Settings) -> list[Problem]:
    """All findings; looks at the disk for paths but opens no model and reads no picture."""
    return [*_errors(settings), *_warnings(settings)]


def require_startable(settings: Settings, goes_on: bool = False) -> None:
    """Raise the first error as a UserError; a run that goes on from its own state needs not what it began with."""
    for problem in _errors(settings, goes_on):
        raise UserError(f"{problem.key}: {problem.text}")


def _errors(settings: Settings, goes_on: bool = False) -> Iterator[Problem]:
    if not settings.model.base:
        yield Problem("model.base", "choose the model to start from.", "error")
    elif not paths.resolve(settings.model.base).exists():
        yield Problem("model.base", f"{settings.model.base} does not exist; check the path.", "error")
    if settings.model.vae and not paths.resolve(settings.model.vae).exists():
        yield Problem("model.vae", f"{settings.model.vae} does not exist; check the path or leave it empty.", "error")
    if not settings.data.folders:
        yield Problem("data.folders", "add at least one folder of pictures.", "error")
    for folder in settings.data.folders:
        if not paths.resolve(folder).is_dir():
            yield Problem("data.folders", f"{folder} is not a folder; check the path.", "error")
    if settings.data.folder_rules:
        yield from _wrong_rules(settings)
    yield from _contradictions(settings)
    method = registry.components("methods").get(settings.training.method)
    if not goes_on and method is not None and hasattr(method, "objection"):
        key, text = method.objection(settings)
        if text:
            yield Problem(key, text, "error")


def _wrong_rules(settings: Settings) -> Iterator[Problem]:
    """Rules of folders that name none, or one twice."""
    from core.data.rules import of_directories

    try:
        of_directories([], settings)
    except UserError as error:
        yield Problem("data.folder_rules", str(error).partition(" ")[2], "error")


def _idle_rules(settings: Settings) -> Iterator[Problem]:
    """Rules that can hold for no picture."""
    folders = [paths.resolve(folder) for folder in settings.data.folders]
    for rule in settings.data.folder_rules:
        path = paths.resolve(rule.path)
        if rule.path and not any(path.is_relative_to(folder) or folder.is_relative_to(path) for folder in folders):
            text = f"{rule.path} is in none of the picture folders, so its rule holds for no picture."
            yield Problem("data.folder_rules", text, "warning")


def _contradictions(settings: Settings) -> Iterator[Problem]:
    training, data, loss = settings.training, settings.data, settings.loss
    if not training.max_steps and not training.max_epochs:
        yield Problem("training.max_steps", "say how long to train: set the steps or the epochs.", "error")
    if not training.learning_rate and not training.text_encoder_learning_rate:
        yield Problem("training.learning_rate", "both learning rates are 0, so nothing would be trained.", "error")
    if data.min_side > data.max_side:
        yield Problem("data.min_side", "the shortest side is longer than the longest one; swap them.", "error")
    if data.bucket_step > data.max_side:
        yield Problem("data.bucket_step", "the step is larger than the longest side; make it smaller.", "error")
    if data.bucket_step % 8:
        yield Problem("data.bucket_step", "it must be a multiple of 8, the VAE's factor.", "error")
    if loss.min_timestep > loss.max_timestep:
        yield Problem("loss.min_timestep", "the first timestep lies after the last; swap them.", "error")
    if training.weights_precision == "bf16" and training.precision in ("fp16", "fp32"):
        yield Problem("training.precision", BF16_WEIGHTS, "error")
    if training.max_steps and training.warmup_steps >= training.max_steps:
        yield Problem("training.warmup_steps", "the warm-up would take the whole run; make it shorter.", "error")
    try:
        block_factors(settings)
    except UserError as error:
        yield Problem("training.block_rates", str(error).removeprefix("training.block_rates: "), "error")
    try:
        read_rules(tuple(settings.data.tag_rules))
    except UserError as error:
        yield Problem("data.tag_rules", str(error).removeprefix("data.tag_rules: "), "error")
    yield from _skip_contradictions(settings)
    if settings.hardware.parallel != "ddp":
        yield from _sharding_contradictions(settings)
    if training.fused_backward_pass:
        yield from _fused_contradictions(settings)
    unknown = False
    for key, folder in registry.SETTINGS_FOLDERS.items():
        value = presets.flat(settings)[folder]
        if value not in registry.names(key):
            unknown = True
            yield Problem(folder, f"there is no '{value}'; choose from the menu.", "error")
    if not unknown:
        yield from _optimizer_contradictions(settings)


def _optimizer_contradictions(settings: Settings) -> Iterator[Problem]:
    """What the chosen optimizer cannot do, as its file says."""
    training = settings.training
    optimizer, _ = registry.chosen("optimizers", settings)
    if training.fused_backward_pass and not getattr(optimizer, "FUSED", True):
        text = f"{optimizer.LABEL} needs all gradients at once; switch it off, or choose another optimizer."
        yield Problem("training.fused_backward_pass", text, "error")
    rates = {rate for rate in effective_rates(settings).values() if rate}
    if getattr(optimizer, "ONE_RATE", False) and len(rates) > 1:
        text = f"{optimizer.LABEL} knows one rate only; set all learning rates that are not 0 to the same."
        yield Problem("training.learning_rate", text, "error")
    elif getattr(optimizer, "ONE_RATE", False) and _has_block_rates(settings):
        text = f"{optimizer.LABEL} knows one rate only; multiply blocks by 1 or 0, or choose another optimizer."
        yield Problem("training.block_rates", text, "error")
    if settings.hardware.parallel != "ddp" and not getattr(optimizer, "SPLITS", True):
        text = f"{optimizer.LABEL} must see whole weights, which no GPU has then; choose ddp, or another optimizer."
        yield Problem("hardware.parallel", text, "error")
    if getattr(optimizer, "AVERAGES", False) and training.ema:
        text = f"{optimizer.LABEL} averages the weights itself; switch one of the two off."
        yield Problem("training.ema", text, "error")


def _has_block_rates(settings: Settings) -> bool:
    """Whether blocks of the UNet move at different rates; those that are frozen do not count."""
    try:
        return any(factor not in (0, 1) for factor in block_factors(settings).values())
    except UserError:
        return False


def _sharding_contradictions(settings: Settings) -> Iterator[Problem]:
    """What cannot be where weights, gradients and states are split over the GPUs."""
    hardware = settings.hardware
    if hardware.parallel == "deepspeed":
        yield from _zero_contradictions(settings)
    if PLATFORM == "win32":
        text = f"{hardware.parallel} wants Linux, where GPUs talk through NCCL; choose ddp."
        yield Problem("hardware.parallel", text, "error")
    if settings.training.precision == "fp16":
        yield Problem("training.precision", SPLIT_FP16, "error")
    if hardware.compile:
        text = f"blocks are not compiled with {hardware.parallel}; switch it off, or set hardware.parallel to ddp."
        yield Problem("hardware.compile", text, "error")


def _zero_contradictions(settings: Settings) -> Iterator[Problem]:
    """What DeepSpeed leaves no room for: it keeps the weights in 32 bits itself, and moves them in one go."""
    training = settings.training
    optimizer = registry.components("optimizers").get(training.optimizer)
    if training.ema or getattr(optimizer, "AVERAGES", False):
        key = "training.ema" if training.ema else "training.optimizer"
        yield Problem(key, "DeepSpeed keeps no average of the weights; choose fsdp, or another optimizer.", "error")
    if training.weights_precision == "bf16":
        text = "DeepSpeed keeps the weights in 32 bits, a share on each GPU; choose fp32 here, or fsdp."
        yield Problem("training.weights_precision", text, "error")
    if training.on_nan == "skip":
        text = "DeepSpeed has moved the weights before a bad step is seen; choose stop or go back."
        yield Problem("training.on_nan", text, "error")


def _skip_contradictions(settings: Settings) -> Iterator[Problem]:
    """Skipping a step wants the whole gradient before anything moves."""
    if settings.training.on_nan == "skip" and settings.training.fused_backward_pass:
        text = "a fused backward pass has moved the weights before a bad step is seen; choose stop or go back."
        yield Problem("training.on_nan", text, "error")


def _fused_contradictions(settings: Settings) -> Iterator[Problem]:
    """What needs the whole gradient at once, which never exists in a fused backward pass."""
    training = settings.training
    if training.accumulation > 1:
        text = "gradients cannot be added up while the fused backward pass frees them; set it to 1, or switch that off."
        yield Problem("training.accumulation", text, "error")
    if training.clip_norm:
        text = "the fused backward pass never has the whole gradient to clip; set it to 0, or switch that off."
        yield Problem("training.clip_norm", text, "error")
    if settings.hardware.processes > 1:
        yield Problem("training.fused_backward_pass", FUSED_ALONE, "error")
    if training.precision == "fp16":
        yield Problem("training.fused_backward_pass", FUSED_FP16, "error")


def _warnings(settings: Settings) -> Iterator[Problem]:
    """Unusual values; the usual ranges are those of real models, so the small one that ships is left alone."""
    values = presets.flat(settings)
    shipped = settings.model.base.startswith(paths.SHIPPED)
    own_rate = getattr(registry.components("optimizers").get(settings.training.optimizer), "USUAL_RATE", None)
    training = settings.training
    high = training.method in ("full", "part") and training.learning_rate > 2e-5 and not own_rate and not shipped
    for entry in presets.entries(type(settings)).values():
        text = unusual(entry, values[entry.key])
        if (own_rate and entry.key.endswith("learning_rate")) or (high and entry.key == "training.learning_rate"):
            text = ""
        if text and not shipped and is_visible(entry.key, values):
            yield Problem(entry.key, f"{entry.option.label} is {show_number(values[entry.key])}: {text}.", "warning")
    yield from _objective_warnings(settings)
    if own_rate:
        yield from _own_rate_warnings(settings, own_rate)
    elif high:
        yield Problem(
            "training.learning_rate",
            f"{show_number(training.learning_rate)} is high for full fine-tuning; 1e-6 to 5e-6 is usual.",
            "warning",
        )
    if not settings.sample.prompts and (settings.sample.every_steps or settings.sample.every_epochs):
        yield Problem("sample.prompts", "samples are asked for, but there is no prompt.", "warning")
    held_out = settings.validation.share or settings.validation.chosen
    held_out = held_out or any(rule.role == "validation" for rule in settings.data.folder_rules)
    if settings.validation.every_steps and not held_out:
        yield Problem("validation.share", "nothing is held out, so over-training cannot be seen.", "warning")
    yield from _idle_rules(settings)


def _own_rate_warnings(settings: Settings, usual: tuple[float, float]) -> Iterator[Problem]:
    """Rates that are odd for an optimizer to which a rate means something else."""
    rate = settings.training.learning_rate
    if rate and not usual[0] <= rate <= usual[1]:
        label = registry.label("optimizers", settings.training.optimizer)
        least, most = map(show_number, usual)
        text = f"{show_number(rate)} is odd for {label}: usually between {least} and {most}."
        yield Problem("training.learning_rate", text, "warning")


def _objective_warnings(settings: Settings) -> Iterator[Problem]:
    """Parts of the objective that work against each other."""
    model, loss = settings.model, settings.loss
    if model.zero_terminal_snr == "on" and model.prediction == "epsilon":
        text = "the last timestep is noise alone, so predicting the noise teaches nothing there; choose v-prediction."
        yield Problem("model.zero_terminal_snr", text, "warning")
    if loss.noise_offset and loss.pyramid_noise:
        text = "pyramid noise already holds an offset; set one of the two to 0."
        yield Problem("loss.noise_offset", text, "warning")


def is_visible(key: str, values: Mapping[str, object], known: Mapping[str, Entry] | None = None) -> bool:
    """Whether an option matters with these values: its visible-when holds and its component is the chosen one.

    `known`: every option by its key, for those who ask about many.
    """
    entry = (presets.entries() if known is None else known).get(key)
    if entry is None:
        return True
    if entry.owner:
        folder, name = entry.owner.split(".")
        if values.get(registry.SETTINGS_FOLDERS[folder]) != name:
            return False
    when = entry.option.when
    return when is None or values.get(when[0]) in when[1]
