"""What a file or folder that was dropped on the window means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PySide6.QtCore import QMimeData

Meaning = Literal["model", "preset", "run", "pictures", "unknown"]


def meaning(path: Path) -> Meaning:
    """A .safetensors file or diffusers folder is a model, a .toml a preset, a folder a run or pictures."""
    if path.is_dir():
        if (path / "run.json").exists():
            return "run"
        return "model" if (path / "model_index.json").exists() else "pictures"
    kinds: dict[str, Meaning] = {".safetensors": "model", ".toml": "preset"}
    return kinds.get(path.suffix.lower(), "unknown")


def dropped_paths(data: QMimeData) -> list[Path]:
    """Local files and folders that are being dragged."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
