"""A whole model as it is written: in the original single-file layout, or as a diffusers folder."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core import atomic
from core.anatomy.source import CONFIG_KEY
from core.engine.model_files import V_PREDICTION, ZERO_TERMINAL_SNR, ModelSource
from core.engine.models import Models, load_part
from core.engine.objective import scheduler_config
from core.engine.safe_files import read_some
from core.engine.tensor_writer import Entry, write_entries
from core.families._layout import Place
from core.paths import RESOURCES
from core.settings import Settings

#: Tensors of a single file that a trained model must not carry on: averages of weights that are no more.
_AVERAGES = ("model_ema.", "ema.")
#: Tables of the noise schedule that SD 1.5 files hold; wrong once the settings change the schedule.
_TABLES = ("alphas_cumprod", "betas", "sqrt_", "log_one_minus_", "posterior_")


def single_file(models: Models, settings: Settings) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors by their original names, metadata) of the model as it is now.

    Parts that are not in memory are read from the source, in its precision, when they are written. What else the
    source file holds (position ids, the logit scale, tables of the schedule) is passed on as it is.
    """
    entries: dict[str, Entry] = {}
    scheduler = effective_scheduler(models, settings)
    configs: dict[str, Any] = {"scheduler": scheduler}
    for part in models.family.PREFIXES:
        source = models.part_source(part)
        configs[part] = {k: v for k, v in source.configs[part].items() if not k.startswith("_")}
        entries.update(_part_entries(_state(models, part), source, part))
    stale = _AVERAGES + (_TABLES if scheduler != models.source.configs["scheduler"] else ())
    entries.update(_rest(models.source, entries, stale))
    for name, holds in (
        (V_PREDICTION, scheduler.get("prediction_type") == "v_prediction"),
        (ZERO_TERMINAL_SNR, bool(scheduler.get("rescale_betas_zero_snr"))),
    ):
        entries.pop(name, None)
        if holds:
            entries[name] = Entry.of(torch.zeros(0), fixed=True)
    return entries, {CONFIG_KEY: json.dumps(configs)}


def effective_scheduler(models: Models, settings: Settings) -> dict[str, Any]:
    """Config of the noise schedule that the model is trained with."""
    return scheduler_config(settings, models.source.configs["scheduler"])


def predicts_velocity(models: Models, settings: Settings) -> bool:
    """Whether the model predicts v (Salimans and Ho 2022), not the noise."""
    return effective_scheduler(models, settings).get("prediction_type") == "v_prediction"


def _state(models: Models, part: str) -> dict[str, torch.Tensor]:
    """Tensors of a part as it is now; what was not trained comes from the disk in its own precision."""
    module = getattr(models, part)
    trained = {name for name, p in module.named_parameters() if p.requires_grad} if module is not None else set()
    state: dict[str, torch.Tensor] = module.state_dict() if trained else {}
    if not state or len(trained) < len(state):
        stored = load_part(models.part_source(part), part, None).state_dict()
        state = {name: state[name] if name in trained else tensor for name, tensor in stored.items()}
    return state


def _part_entries(state: Mapping[str, torch.Tensor], source: ModelSource, part: str) -> dict[str, Entry]:
    """Tensors of a part under their original names, in the shapes of the original layout."""
    together: dict[str, list[tuple[Place, torch.Tensor]]] = defaultdict(list)
    for key, tensor in state.items():
        place: Place = source.family.place(part, key, source.configs[part])
        together[place.name].append((place, tensor))
    found = {}
    for name, pieces in together.items():
        pieces.sort(key=lambda piece: piece[0].third or 0)
        place, tensor = pieces[0]
        found[name] = Entry(_joined(pieces), place.file_shape(tuple(tensor.shape)), tensor.dtype)
    return found


def _joined(pieces: list[tuple[Place, torch.Tensor]]) -> Any:
    """A function that makes the file's tensor of ours; its shape is set by the Entry."""

    def make() -> torch.Tensor:
        place, first = pieces[0]
        if place.third is not None:
            return torch.cat([tensor for _, tensor in pieces])
        return first.t() if place.transposed else first

    return make


def _rest(source: ModelSource, present: Mapping[str, Entry], stale: tuple[str, ...]) -> dict[str, Entry]:
    """What a single file holds besides the parts, or what the layout wants besides them for a model from a folder.

    `stale` are beginnings of names that are left out.
    """
    if source.folder:
        return {name: Entry.of(tensor) for name, tensor in source.family.fixed_tensors().items()}
    names = [n for n in source.keys if n not in present and not n.startswith(stale)]
    older = {source.stored_name(name) for name in present}
    names = [name for name in names if name not in older]
    return {name: Entry.of(tensor, fixed=True) for name, tensor in read_some(source.path, names).items()}


def write_folder(folder: Path, models: Models, settings: Settings, dtype: torch.dtype) -> int:
    """Write the model as a diffusers folder, all or nothing; returns its size in bytes."""
    from diffusers import __version__ as diffusers_version

    family = models.family
    shipped = RESOURCES / "models" / family.CONFIGS
    with atomic.replacing_folder(folder) as temporary:
        for part in family.PREFIXES:
            config = models.part_source(part).configs[part]
            _write_json(temporary / part / "config.json", config)
            name = "model" if part in family.TEXT_ENCODERS else "diffusion_pytorch_model"
            entries = {key: Entry.of(tensor).cast(dtype) for key, tensor in _state(models, part).items()}
            write_entries(temporary / part / f"{name}.safetensors", entries, {"format": "pt"})
        scheduler = effective_scheduler(models, settings)
        _write_json(temporary / "scheduler" / "scheduler_config.json", scheduler)
        for number, _ in enumerate(family.TEXT_ENCODERS):
            _write_tokenizer(temporary / ("tokenizer" if number == 0 else f"tokenizer_{number + 1}"), models, number)
        index = json.loads((shipped / "model_index.json").read_text(encoding="utf-8"))
        kind = scheduler.get("_class_name", "DDIMScheduler")
        index.update(_diffusers_version=diffusers_version, scheduler=["diffusers", kind])
        _write_json(temporary / "model_index.json", index)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _write_tokenizer(folder: Path, models: Models, number: int) -> None:
    """The tokenizer of a text encoder, with the padding that the encoder was trained with."""
    shutil.copytree(models.source.tokenizer_folder(), folder)
    pad = models.family.PADS[number]
    if not pad:
        return
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        if path.exists():
            _write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "pad_token": pad})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
