"""Checkpoints that other programs load: the original single-file layout, or LoRA, with metadata."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core import __version__, presets, registry
from core.engine.model_files import CONFIG_KEY
from core.engine.models import Models, load_part
from core.engine.safe_files import raw_bytes, write_tensors
from core.settings import Settings

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def whole_model(models: Models, trained: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All parts of the model under their original names; parts that are not in memory are read from the source."""
    tensors: dict[str, torch.Tensor] = {}
    configs: dict[str, Any] = {"scheduler": models.source.configs["scheduler"]}
    for part in models.family.PREFIXES:
        source = models.vae_source if part == "vae" and models.vae_source else models.source
        module = getattr(models, part)
        if module is None:
            module = load_part(source, part)
        config = source.configs[part]
        configs[part] = {k: v for k, v in config.items() if not k.startswith("_")}
        for key, tensor in module.state_dict().items():
            name = models.family.original_name(part, key, config)
            shape = models.family.original_shape(part, key, tuple(tensor.shape))
            tensors[name] = tensor.detach().reshape(shape)
    return tensors, {CONFIG_KEY: json.dumps(configs)}


def save(path: Path, models: Models, settings: Settings, trained: list[str], facts: Mapping[str, Any]) -> int:
    """Write the checkpoint of a run's present weights, all or nothing; returns its size in bytes.

    `facts`: step, epoch, images, name. Raises UserError when the disk is full.
    """
    method = registry.component("methods", settings.training.method)
    tensors, metadata = method.checkpoint(models, settings, trained)
    dtype = DTYPES[settings.output.precision]
    converted = {n: t.to(dtype) if t.is_floating_point() and t.ndim else t for n, t in tensors.items()}
    metadata.update(_metadata(models, settings, method, facts))
    metadata["modelspec.hash_sha256"] = tensor_hash(converted)
    write_tensors(path, converted, metadata)
    return path.stat().st_size


def _metadata(models: Models, settings: Settings, method: Any, facts: Mapping[str, Any]) -> dict[str, str]:
    """modelspec 1.0.1, kohya's ss_ keys, and the whole settings of the run."""
    training = settings.training
    lora = settings.training.method != "full"
    entries: dict[str, Any] = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": models.family.ARCHITECTURE + ("/lora" if lora else ""),
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": facts["name"],
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.resolution": f"{settings.data.resolution}x{settings.data.resolution}",
        "modelspec.prediction_type": "epsilon",
        "ss_v2": False,
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": models.source.path.name,
        "ss_learning_rate": training.learning_rate,
        "ss_text_encoder_lr": training.text_encoder_learning_rate,
        "ss_optimizer": training.optimizer,
        "ss_lr_scheduler": training.schedule,
        "ss_seed": training.seed,
        "ss_steps": facts["step"],
        "ss_epoch": int(facts["epoch"]),
        "ss_batch_size_per_device": training.batch_size,
        "ss_gradient_accumulation_steps": training.accumulation,
        "ss_output_name": facts["name"],
        "burnish.version": __version__,
        "burnish.images": facts["images"],
        "burnish.settings": presets.to_toml(presets.flat(settings), {}),
        **method.describe(settings),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in entries.items()}


def tensor_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the tensors' bytes in the order of their names, with 0x in front, as modelspec wants it."""
    digest = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        digest.update(raw_bytes(tensor))
    return f"0x{digest.hexdigest()}"


def file_hash(path: Path) -> str:
    """A1111's short model hash: the first 10 digits of the file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:10]
