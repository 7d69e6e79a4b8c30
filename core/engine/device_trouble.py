"""A GPU that runs out of memory, or vanishes: one sentence with what helps, wherever in the work it happens."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import torch

from core.errors import UserError
from core.settings import Settings

#: Words of CUDA, cuBLAS and cuDNN (and of torch on the processor) for memory that did not suffice.
_NO_ROOM = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "can't allocate memory",
    "not enough memory",
)
#: Words for a GPU that fell off its bus, whose driver died, or that was taken away; CUDA has many.
_GONE = (
    "cuda error",
    "cuda driver error",
    "nccl error",
    "cublas_status_",
    "cudnn_status_",
    "no cuda gpus are available",
)
#: A kernel of torch was called wrongly: that is a fault of ours.
_OURS = "device-side assert"
_GONE_ADVICE = (
    "The GPU stopped working ({reason}). What was saved is kept: look whether nvidia-smi still shows the GPU, restart "
    "the machine if it does not, then resume the run."
)
#: What is done in the phases besides the training.
_PHASES = {
    "cache": "while the pictures were encoded",
    "texts": "while the captions were encoded",
    "load": "while the model was loaded",
    "sample": "while samples were drawn",
    "evaluate": "while the stable loss was measured",
    "save": "while the run was saved",
}
_log = logging.getLogger("burnish")


@contextlib.contextmanager
def device_trouble(remedies: Callable[[], str]) -> Iterator[None]:
    """Turn a GPU that ran out of memory or vanished, while something is done, into a UserError.

    `remedies()` is the sentence for the former. The whole story is in the log, for a fault of ours may look like that.
    """
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, MemoryError) as error:  # torch's own errors of both kinds are RuntimeErrors
        words = str(error).lower()
        no_room = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in words for sign in _NO_ROOM)
        if not no_room and (_OURS in words or not any(sign in words for sign in _GONE)):
            raise
        _log.exception("the device failed")
        raise UserError(remedies() if no_room else _GONE_ADVICE.format(reason=_first_line(error))) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def memory_advice(settings: Settings, phase: str = "") -> str:
    """The sentence for a device that ran out of memory, with the cheapest remedies that are not in use yet.

    `phase` is what Progress events call it; "" while training.
    """
    remedies = _remedies_of(settings, phase) if phase in _PHASES else _remedies(settings)
    text = ", or ".join(remedies[:3])
    where = _PHASES.get(phase, "in a training step")
    return f"The memory did not suffice {where}. {text[:1].upper() + text[1:]}; then resume the run."


def _remedies(settings: Settings) -> list[str]:
    """What helps in a training step, the cheapest first."""
    remedies = []
    if not settings.training.activation_checkpointing:
        remedies.append("switch on training.activation_checkpointing")
    if settings.training.batch_size > 1:
        remedies.append("lower training.batch_size and raise training.accumulation")
    if settings.training.optimizer != "adamw8bit":
        remedies.append("choose the optimizer adamw8bit")
    if settings.training.method in ("full", "part"):
        remedies.append("choose the method lora")
    remedies.append("lower data.resolution")
    return remedies


def _remedies_of(settings: Settings, phase: str) -> list[str]:
    """What helps in a phase other than the training, the cheapest first."""
    tiles = [] if settings.hardware.vae_tiling else ["switch on hardware.vae_tiling"]
    if phase == "cache":
        fewer = ["lower hardware.encode_batch"] if settings.hardware.encode_batch > 1 else []
        return [*fewer, *tiles, "lower data.resolution"]
    if phase == "sample":
        return [*tiles, "draw smaller samples (sample.width, sample.height)", "leave sample.prompts empty"]
    if phase == "evaluate":
        return ["switch off validation.every_steps", "lower data.resolution", "choose the method lora"]
    if phase == "save":
        return ["switch off training.ema", "choose output.precision fp16", "close other programs"]
    return ["set training.weights_precision to bf16", "choose the method lora", "close other programs that use the GPU"]
