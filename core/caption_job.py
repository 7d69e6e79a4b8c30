"""A captioning job's settings and folder: made without torch, read back by the worker and by the window."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from core import atomic, paths, presets, registry
from core.errors import UserError
from core.runs import Run, freeze_paths, write_facts
from core.schema import Section, opt
from core.settings import with_tables

#: In the job's folder: its settings, and the pictures where some were chosen one by one.
SETTINGS_FILE = "caption.toml"
IDS_FILE, PATHS_FILE = "pictures.npy", "pictures.json"
#: Pictures that a preview shows.
PREVIEW = 6


class CaptionPage(Section):
    """Which model finds the words, and what becomes of them."""

    title: ClassVar[str] = "Captions"

    model: str = opt(
        "",
        label="Model",
        help="The folder of a captioning model on your disk: a tagger with model.onnx and selected_tags.csv, or one "
        "in transformers' layout with config.json, its weights and its tokenizer. Nothing is downloaded.",
        editor="folder",
    )
    captioner: str = opt(
        "wd14",
        label="Kind of model",
        help="How the model is asked. Recognised from its folder when you choose one.",
        choices="captioners",
    )
    write: Literal["auto", "tags", "natural"] = opt(
        "auto",
        label="Write as",
        help="tags go into NAME.txt, separated by commas; natural is a sentence in NAME.caption. auto takes what the "
        "model gives: taggers tags, the others sentences.",
        aliases=("caption_extension",),
    )
    existing: Literal["keep", "renew", "add", "replace"] = opt(
        "keep",
        label="Existing captions",
        help="keep leaves every picture alone that has one. renew replaces only words that this assistant wrote itself "
        "and nobody has changed since. add puts the new words beside the old ones. replace overwrites them all; words "
        "of yours that it replaces are kept in the job's folder.",
        aliases=("append_tags", "overwrite", "onlyif_missing"),
    )
    leave_out: list[str] = opt(
        [],
        label="Tags to leave out",
        help="One a line; * stands for any letters, so '*censor*' leaves out censored and mosaic censoring.",
        aliases=("undesired_tags", "exclude_tags"),
    )
    most_tags: int = opt(
        0,
        label="Most tags",
        help="Only the surest so many are written, 0 writes all. SD 1.5 and SDXL read about 25 tags at a time.",
        unit="tags",
        ge=0,
        le=1000,
        level="advanced",
    )
    batch: int = opt(
        8,
        label="Pictures at once",
        help="More is faster on a GPU until its memory is full; the job goes on with fewer when it is.",
        unit="pictures",
        ge=1,
        le=512,
        usual=(1, 64),
        level="advanced",
        aliases=("batch_size",),
    )
    threads: int = opt(
        4,
        label="Reading threads",
        help="So many pictures are read and decoded ahead. More helps where the disk or the network is slow.",
        unit="threads",
        ge=1,
        le=64,
        usual=(1, 16),
        level="advanced",
        aliases=("max_data_loader_n_workers",),
    )
    device: Literal["auto", "cuda", "cpu"] = opt(
        "auto",
        label="Device",
        help="auto takes a GPU where there is one. Choose cpu while a training has the GPU.",
        level="advanced",
    )


class PicturesPage(Section):
    """Which pictures are captioned."""

    title: ClassVar[str] = "Pictures"

    folders: list[str] = opt(
        [], label="Folders", help="Folders of pictures, all that lies below them included.", editor="folder"
    )
    index: str = opt(
        "",
        label="Index",
        help="The index of these folders, if there is one: its pictures are taken, and it learns the new captions.",
        editor="path",
        level="advanced",
    )
    preview: int = opt(
        0,
        label="Preview",
        help="Only the first so many pictures, and nothing is written. 0 does the whole work.",
        unit="pictures",
        ge=0,
        le=1000,
        level="advanced",
    )


class CaptionSettings(BaseModel):
    """A captioning job, as it stands in caption.toml; caption_model() adds the captioners' tables."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    caption: CaptionPage = Field(default_factory=CaptionPage)
    pictures: PicturesPage = Field(default_factory=PicturesPage)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which pictures the user means.

    Attributes:
        folders: Folders of pictures; all of them where no ids and paths are given.
        index: The index file of these folders, "" where there is none.
        ids: Ids of pictures in that index, in the order in which they should be captioned.
        paths: Single files.
    """

    folders: Sequence[str] = ()
    index: str = ""
    ids: NDArray[np.int64] | Sequence[int] | None = None
    paths: Sequence[str] = field(default_factory=tuple)

    def __bool__(self) -> bool:
        """Whether any picture is meant."""
        return bool(len(self.ids) if self.ids is not None else self.paths or self.folders)

    def words(self) -> str:
        """ "1,204 chosen pictures", or the folders by name."""
        count = len(self.ids) if self.ids is not None else len(self.paths)
        if count:
            return f"{count:,} chosen picture{'s' * (count != 1)}"
        names = [paths.resolve(folder).name or str(folder) for folder in self.folders]
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        return f"All pictures in {' and '.join(names[:2]) if not more else ', '.join(names[:2])}{more}"


@cache
def caption_model() -> type[CaptionSettings]:
    """CaptionSettings with one more table for each captioner that declares Options."""
    return with_tables(CaptionSettings, registry.JOB_FOLDERS)


def default_values(path: str) -> dict[str, Any]:
    """What the choice of a model folder says about the other options; {} where nothing recognises it."""
    kind = recognise(paths.resolve(path))
    return {"caption.captioner": kind} if kind else {}


def recognise(folder: Path) -> str:
    """Name of the captioner to which a folder belongs, "" when none knows it."""
    folder = folder.parent if folder.is_file() else folder
    for name, module in registry.components("captioners").items():
        if module.recognises(folder):
            return name
    return ""


def require_model(settings: CaptionSettings) -> Path:
    """The model's folder; UserError when there is none, or none that the chosen kind of captioner can open."""
    if not settings.caption.model.strip():
        raise UserError("caption.model: no captioning model is chosen. Choose the folder of a tagger or a captioner.")
    path = paths.resolve(settings.caption.model)
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise UserError(f"caption.model: {path} does not exist. Check the path and that its disk is there.")
    name = settings.caption.captioner
    if registry.component("captioners", name).recognises(folder):
        return folder
    found = recognise(folder)
    if found:
        raise UserError(f"{folder} is no model for the captioner '{name}'; set caption.captioner to '{found}'.")
    raise UserError(
        f"{folder} is no captioning model: a tagger has model.onnx and selected_tags.csv, others have a config.json "
        "with a model_type."
    )


def target(settings: CaptionSettings) -> Literal["tags", "natural"]:
    """Which of the two caption files is written."""
    if settings.caption.write != "auto":
        return settings.caption.write
    writes = registry.component("captioners", settings.caption.captioner).WRITES
    return "tags" if writes == "tags" else "natural"


def load(path: Path, changes: Sequence[str] = ()) -> CaptionSettings:
    """Settings from a CAPTION.toml; UserError when it is wrong."""
    values = presets.read(path, caption_model()).values
    return presets.build({**values, **presets.parse_changes(changes, caption_model())}, str(path), caption_model())


def create(settings: CaptionSettings, chosen: Chosen, folder: Path | None = None) -> Run:
    """Make the job's folder with frozen settings; UserError when the model or the pictures cannot be used."""
    require_model(settings)
    settings = settings.model_copy(deep=True)
    settings.pictures.folders, settings.pictures.index = list(chosen.folders), chosen.index
    settings = freeze_paths(settings)
    if not chosen:
        raise UserError("No pictures are chosen. Add a folder of pictures, or choose some.")
    if chosen.ids is not None and not chosen.index:
        raise UserError("Pictures can be chosen by their numbers only where the index that has them is named.")
    path = folder.expanduser().absolute() if folder else _next_folder()
    if (path / "run.json").exists():
        raise UserError(f"{path} holds a run or another job already; choose another folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        presets.freeze(path / SETTINGS_FILE, settings)
        _write_pictures(path, chosen)
        write_facts(path, f"captions by {paths.resolve(settings.caption.model).name}", "caption")
    except OSError as error:
        raise UserError(f"{path}: the job's folder cannot be made ({error.strerror or error}).") from None
    return Run(path)


def _write_pictures(folder: Path, chosen: Chosen) -> None:
    if chosen.ids is not None:
        with atomic.replacing(folder / IDS_FILE) as temporary, temporary.open("wb") as file:
            np.save(file, np.asarray(chosen.ids, np.int64))
    elif chosen.paths:
        atomic.write_text(folder / PATHS_FILE, json.dumps(list(chosen.paths)))


def chosen_of(job: Run, settings: CaptionSettings) -> Chosen:
    """The pictures of a job's folder; its ids stay on the disk until they are looked at."""
    ids = np.load(job.path / IDS_FILE, mmap_mode="r") if (job.path / IDS_FILE).is_file() else None
    names: list[str] = []
    if (job.path / PATHS_FILE).is_file():
        names = json.loads((job.path / PATHS_FILE).read_text(encoding="utf-8"))
    return Chosen(settings.pictures.folders, settings.pictures.index, ids, names)


def _next_folder() -> Path:
    """BURNISH_HOME/captions/0001 and so on; previews too, so that the last ones can be looked at."""
    root = paths.home_folder() / "captions"
    number = 1
    while (root / f"{number:04d}").exists():
        number += 1
    return root / f"{number:04d}"


def last_jobs(most: int = 20) -> list[Run]:
    """The jobs in the user's folder that write captions (no previews), the newest first."""
    root = paths.home_folder() / "captions"
    found = sorted(root.glob("[0-9]*"), reverse=True) if root.is_dir() else []
    return [Run(path) for path in found[:most] if (path / SETTINGS_FILE).is_file() and not _is_preview(path)]


def _is_preview(folder: Path) -> bool:
    try:
        return load(folder / SETTINGS_FILE).pictures.preview > 0
    except UserError:
        return True
