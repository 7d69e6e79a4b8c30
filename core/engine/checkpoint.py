"""Checkpoints that other programs load: the original single-file layout, or LoRA, with metadata."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import __version__, presets, registry
from core.engine.models import DTYPES, Models
from core.engine.safe_files import disk_error, read_header
from core.engine.tensor_writer import HASH_KEY, write_entries
from core.engine.whole_model import predicts_velocity, write_folder
from core.errors import DiskFullError
from core.settings import Settings


def save(path: Path, models: Models, settings: Settings, trained: list[str], facts: Mapping[str, Any]) -> int:
    """Write the checkpoint of a run's present weights, all or nothing; returns its size in bytes.

    `path` is a .safetensors file, or for a whole model a folder when the settings ask for diffusers' layout.
    `facts`: step, epoch, images, name, and parent() of the base model. Raises UserError when the disk is full.
    """
    method = registry.component("methods", settings.training.method)
    dtype = DTYPES[settings.output.precision]
    if is_whole_model(settings) and path.suffix != ".safetensors":
        try:
            return write_folder(path, models, settings, dtype)
        except (OSError, DiskFullError) as error:
            raise disk_error(path, error) from error
    tensors, metadata = method.checkpoint(models, settings, trained)
    metadata.update(_metadata(models, settings, method, facts))
    write_entries(path, {name: entry.cast(dtype) for name, entry in tensors.items()}, metadata, hashed=True)
    return path.stat().st_size


def is_whole_model(settings: Settings) -> bool:
    """Whether a checkpoint is a whole model, not an addition to one."""
    return bool(registry.component("methods", settings.training.method).WHOLE)


def _metadata(models: Models, settings: Settings, method: Any, facts: Mapping[str, Any]) -> dict[str, str]:
    """modelspec 1.0.1, kohya's ss_ keys, and the whole settings of the run."""
    training = settings.training
    lora = not is_whole_model(settings)
    entries: dict[str, Any] = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": _architecture(models, settings) + ("/lora" if lora else ""),
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": facts["name"],
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.resolution": f"{settings.data.resolution}x{settings.data.resolution}",
        "modelspec.prediction_type": "v" if predicts_velocity(models, settings) else "epsilon",
        "ss_v2": models.family.KOHYA_V2,
        "ss_base_model_version": models.family.KOHYA_VERSION,
        "ss_learning_rate": training.learning_rate,
        "ss_text_encoder_lr": training.text_encoder_learning_rate,
        "ss_optimizer": training.optimizer,
        "ss_lr_scheduler": training.schedule,
        "ss_seed": training.seed,
        "ss_clip_skip": settings.model.clip_skip,
        "ss_max_token_length": settings.data.max_tokens,
        "ss_steps": facts["step"],
        "ss_epoch": int(facts["epoch"]),
        "ss_batch_size_per_device": training.batch_size,
        "ss_gradient_accumulation_steps": training.accumulation,
        "ss_output_name": facts["name"],
        "burnish.version": __version__,
        **facts.get("parent", {}),
        "burnish.images": facts["images"],
        "burnish.settings": presets.to_toml(presets.flat(settings), {}),
        **method.describe(settings),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in entries.items()}


def _architecture(models: Models, settings: Settings) -> str:
    """modelspec's name of the family, of which SD 2.x has one for each prediction."""
    family = models.family
    by_velocity = predicts_velocity(models, settings) and hasattr(family, "ARCHITECTURE_V")
    return str(family.ARCHITECTURE_V if by_velocity else family.ARCHITECTURE)


def parent(path: Path) -> dict[str, str]:
    """Metadata that names the model a run started from, so that a checkpoint's lineage can be followed.

    Its file's SHA-256 is what A1111 and kohya know a model by; the hash of its tensors, which our checkpoints carry,
    is the same whatever is done to the header. A folder has a name only.
    """
    found = {"burnish.parent": path.name, "ss_sd_model_name": path.name}
    if path.is_file():
        found["ss_new_sd_model_hash"] = file_sha256(path)
        found["ss_sd_model_hash"] = found["ss_new_sd_model_hash"][:8]
        tensors = read_header(path)[1].get(HASH_KEY)
        if tensors:
            found["burnish.parent_tensors"] = tensors
    return found


def file_hash(path: Path) -> str:
    """A1111's short model hash: the first 10 digits of the file's SHA-256."""
    return file_sha256(path)[:10]


def file_sha256(path: Path) -> str:
    """SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
