"""Fetches the packages the starter model is made from and reads what they hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLAT = "iconify-json-fluent-emoji-flat-1.2.6"
HIGH_CONTRAST = "iconify-json-fluent-emoji-high-contrast-1.2.6"
LABELS = "emojibase-data-17.0.0"
NPM_PACKAGES = {
    FLAT: "@iconify-json/fluent-emoji-flat@1.2.6",
    HIGH_CONTRAST: "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    LABELS: "emojibase-data@17.0.0",
}
VOCABULARY_PACKAGE = "open_clip_torch==3.3.0"
SUBJECTS = Path(__file__).with_name("subjects.txt")


@dataclass(frozen=True)
class Subject:
    """One thing the starter model can draw."""

    label: str
    tags: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The subject's icon name and file name."""
        return slug(self.label)


def slug(label: str) -> str:
    """Turn a label into an icon's name."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def fetch_sources(folder: Path) -> None:
    """Download every package that folder does not hold yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in NPM_PACKAGES.items():
        if not (folder / name).is_dir():
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
            with tarfile.open(folder / f"{name}.tgz") as archive:
                archive.extractall(folder / name, filter="data")
    if not any(folder.glob("open_clip_torch-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", VOCABULARY_PACKAGE]
        subprocess.run(command, cwd=folder, check=True)


def vocabulary_wheel(folder: Path) -> Path:
    """Return the downloaded wheel that holds CLIP's vocabulary."""
    return next(folder.glob("open_clip_torch-*.whl"))


def read_icons(folder: Path, collection: str) -> dict[str, str]:
    """Read a collection's icons as whole SVG documents by name."""
    content: dict[str, Any] = json.loads((folder / collection / "package" / "icons.json").read_text("utf-8"))
    width, height = content.get("width", 32), content.get("height", 32)
    documents = {}
    for name, icon in content["icons"].items():
        box = f"0 0 {icon.get('width', width)} {icon.get('height', height)}"
        body = icon["body"].replace("currentColor", "#000000")
        documents[name] = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{body}</svg>'
    return documents


def read_subjects(folder: Path) -> list[Subject]:
    """Read the world's subjects, with their tags, in the order of subjects.txt."""
    entries = json.loads((folder / LABELS / "package" / "en" / "data.json").read_text("utf-8"))
    tags = {entry["label"]: tuple(entry.get("tags", ())) for entry in entries}
    return [Subject(label, tags[label]) for label in SUBJECTS.read_text("utf-8").split("\n") if label]
