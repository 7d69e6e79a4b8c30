"""What a base model is, found without torch: its family, the configs of its parts, and their layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core import registry
from core.anatomy.encoders import clip_layers, vae_layers
from core.anatomy.headers import PICKLES, read_header
from core.anatomy.layers import Layer, weights_of
from core.anatomy.unet import unet_layers
from core.errors import UserError
from core.paths import RESOURCES, resolve

#: Metadata key under which our checkpoints carry the configs of their parts.
CONFIG_KEY = "burnish.configs"


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A model by its layers.

    Attributes:
        name: Name of the family in core.families ("sd15").
        family: Its module.
        configs: Config of each part as diffusers writes it.
        parts: Layers of "unet", "vae", "text_encoder" and, where there is one, "text_encoder_2".
    """

    name: str
    family: Any
    configs: Mapping[str, Mapping[str, Any]]
    parts: Mapping[str, tuple[Layer, ...]]

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """Names of the text encoders."""
        return tuple(part for part in self.parts if part.startswith("text_encoder"))

    def weights(self, part: str) -> int:
        """Number of weights of a part."""
        return weights_of(self.parts[part])


def open_anatomy(base: str, family: str = "auto") -> Anatomy:
    """The anatomy of the model of the settings; what was read before and has not changed is not read again.

    Without a base model a named family stands for its full-size model. UserError when there is neither, or when the
    file is no model that is known.
    """
    if not base:
        if family == "auto":
            raise UserError(
                "model.base: choose the model to start from. (Or set model.family, for an estimate of its "
                "full-size model.)"
            )
        return _full_size(family)
    path = resolve(base)
    try:
        stamp = max(file.stat().st_mtime_ns for file in (path, *path.glob("*/*.json")))
    except OSError:
        raise UserError(f"{path} does not exist. Check the path of the base model.") from None
    return _open(path, family, stamp)


@lru_cache(maxsize=16)
def _open(path: Path, family: str, stamp: int) -> Anatomy:
    return _open_folder(path, family) if path.is_dir() else _open_file(path, family)


@lru_cache(maxsize=16)
def _full_size(family: str) -> Anatomy:
    module = registry.component("families", family)
    return _anatomy(module, shipped_configs(module), f"the full-size {module.LABEL}")


def _open_file(path: Path, family: str) -> Anatomy:
    if path.suffix.lower() in PICKLES:
        if family == "auto":
            raise UserError(
                f"{path} is a pickle, which is not opened for an estimate. Set model.family, or convert it to "
                ".safetensors."
            )
        return _full_size(family)
    header = read_header(path)
    names = frozenset(header.shapes)
    module = pick_family(family, lambda candidate: candidate.recognises(names))
    if module is None:
        raise UserError(f"{path} is no model that can be trained: none of the known families has its tensors.")
    own = header.metadata.get(CONFIG_KEY)
    try:
        configs = json.loads(own) if own else shipped_configs(module)
    except ValueError as error:
        raise UserError(f"{path}: the configs in its metadata cannot be read ({error}).") from None
    found = _anatomy(module, configs, str(path))
    held = header.weights(module.PREFIXES["unet"])
    if held != found.weights("unet"):
        raise UserError(
            f"{path}: its UNet has {held:,} weights, but that of {module.LABEL} has {found.weights('unet'):,}. "
            "The model is of another size or family."
        )
    return found


def _open_folder(path: Path, family: str) -> Anatomy:
    index = _read_json(path / "model_index.json")
    text = path / "text_encoder" / "config.json"
    text_config = _read_json(text) if text.is_file() else {}
    module = pick_family(family, lambda candidate: candidate.recognises_folder(index, text_config))
    if module is None:
        kind = index.get("_class_name", "an unknown pipeline")
        raise UserError(f"{path} holds {kind}, which is no family that can be trained.")
    configs = {part: _read_json(path / part / "config.json") for part in module.PREFIXES}
    return _anatomy(module, configs, str(path))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). The model folder is incomplete.") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a config. The model folder is damaged.")
    return found


def pick_family(name: str, recognises: Callable[[Any], bool]) -> Any:
    """The family's module by name, or the first that recognises the model, or None."""
    if name != "auto":
        return registry.component("families", name)
    modules = (module for module in registry.components("families").values() if hasattr(module, "recognises"))
    return next((module for module in modules if recognises(module)), None)


def shipped_configs(module: Any) -> dict[str, dict[str, Any]]:
    """Configs of the parts and the scheduler of a family's full-size model, for files that bring none."""
    folder = RESOURCES / "models" / module.CONFIGS
    files = {part: f"{part}/config.json" for part in module.PREFIXES}
    files["scheduler"] = "scheduler/scheduler_config.json"
    return {part: _read_json(folder / name) for part, name in files.items()}


def _anatomy(module: Any, configs: Mapping[str, Any], where: str) -> Anatomy:
    try:
        parts = {part: tuple(layers_of(part, configs[part])) for part in module.PREFIXES}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"{where}: the configs of its parts cannot be used ({error!r}).") from None
    return Anatomy(module.__name__.rsplit(".", 1)[1], module, configs, parts)


def layers_of(part: str, config: Mapping[str, Any]) -> list[Layer]:
    """The layers of a part ("unet", "vae", "text_encoder" ...) from its config, under the names of its module."""
    if part == "unet":
        return unet_layers(config)
    return vae_layers(config) if part == "vae" else clip_layers(config)
