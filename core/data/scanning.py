"""Brings an index up to date with the settings: the folders' files, and the captions of metadata files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core import paths
from core.data.index import Index, ScanResult, index_path
from core.data.metadata_captions import apply_settings
from core.settings import Settings

#: (done, total) of what is under way; may raise to stop.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found in the folders; `note` is what is to be told of the metadata files, "" for nothing."""

    files: ScanResult
    note: str


def open_index(settings: Settings) -> Index:
    """The index of the settings' folders in their cache folder, as it is; UserError where it cannot be opened."""
    return Index(index_path(settings.data.folders, paths.cache_root(settings.hardware.cache_folder)))


def scan(settings: Settings, index: Index, progress: Progress | None = None) -> Scanned:
    """Scan the folders, then apply the metadata files; only what changed is read.

    Raises UserError for folders without a picture or that cannot be read, and for a damaged metadata file.
    """
    files = index.scan([paths.resolve(folder) for folder in settings.data.folders], progress)
    return Scanned(files, apply_settings(index, settings.data, progress))
