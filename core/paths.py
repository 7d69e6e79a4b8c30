"""Where things lie: shipped resources, the user's runs, caches; and how a path in a preset is read."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = ROOT / "resources"

#: A path in a preset that begins so lies among the files that ship with Burnish ("burnish:starter/pictures").
SHIPPED = "burnish:"


def resolve(text: str) -> Path:
    """The path that a setting means: "burnish:" is the resources folder, "~" the home, the rest as it stands."""
    if text.startswith(SHIPPED):
        return RESOURCES / text[len(SHIPPED) :].lstrip("/\\")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # the home of a user whom there is not
        return Path(text).absolute()


def home_folder() -> Path:
    """Folder for all that belongs to the user and is kept; BURNISH_HOME moves it (tests, portable use)."""
    override = os.environ.get("BURNISH_HOME")
    return Path(override) if override else Path(platformdirs.user_documents_dir()) / "Burnish"


def runs_folder() -> Path:
    """Where runs go unless output.folder says otherwise."""
    return home_folder() / "runs"


def presets_folder() -> Path:
    """The user's own presets."""
    return home_folder() / "presets"


def cache_folder() -> Path:
    """Where latents and indexes are kept unless hardware.cache_folder says otherwise; safe to delete."""
    override = os.environ.get("BURNISH_HOME")
    return Path(override) / "cache" if override else Path(platformdirs.user_cache_dir("burnish", False))


def cache_root(chosen: str) -> Path:
    """The cache folder that hardware.cache_folder chooses; cache_folder() where it is empty."""
    return resolve(chosen) if chosen else cache_folder()


def builtin_presets_folder() -> Path:
    """The presets that ship with Burnish."""
    return RESOURCES / "presets"
