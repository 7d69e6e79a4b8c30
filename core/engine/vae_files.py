"""A VAE that comes alone: a diffusers VAE folder, or a .safetensors file with or without its prefix."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from core.engine.model_files import ModelSource, State, check_state, from_file, read_folder_part
from core.engine.safe_files import read_header, read_some


@dataclass(frozen=True)
class LoneVae(ModelSource):
    """A VAE file whose names lack the prefix of a whole model, or a folder of a VAE only."""

    def read(self, part: str, names: Collection[str], shapes: dict[str, tuple[int, ...]]) -> State:
        """The VAE's tensors under diffusers' names."""
        if self.folder:
            return check_state(self.path, read_folder_part(self.path, names), names, shapes)
        prefix = self.family.PREFIXES["vae"]
        places = {n: self.family.place("vae", n, self.configs["vae"]) for n in names}
        originals = {n: place.name.removeprefix(prefix) for n, place in places.items()}
        found = {n: o if o in self.keys else n for n, o in originals.items() if o in self.keys or n in self.keys}
        raw = read_some(self.path, list(found.values()))
        state = {n: from_file(raw[o], places[n], shapes[n]) for n, o in found.items()}
        return check_state(self.path, state, names, shapes)


def open_lone_vae(path: Path, base: ModelSource) -> ModelSource | None:
    """The VAE at `path` when it is one by itself, None when it is a whole model."""
    if path.is_dir():
        if (path / "model_index.json").exists() or not (path / "config.json").exists():
            return None
        configs = {**base.configs, "vae": json.loads((path / "config.json").read_text(encoding="utf-8"))}
        return LoneVae(path, base.family, True, configs)
    keys = frozenset(read_header(path)[0])
    if any(key.startswith(("encoder.", "decoder.")) for key in keys):
        return LoneVae(path, base.family, False, base.configs, keys)
    return None
