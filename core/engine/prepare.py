"""From folders to latents: index, cache, plan; yields progress and returns what the training needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from core import events as ev
from core.data.captions import first
from core.data.dataset import Dataset, Item
from core.data.index import Index
from core.data.scanning import open_index, scan
from core.engine.caching import Job, cache_latents
from core.engine.control import Control
from core.engine.distributed import main_first, require_same
from core.engine.latent_store import MOMENTS, is_live, kept_kind, latent_key
from core.engine.loader import told_sizes
from core.engine.models import Models
from core.engine.shards import ShardStore
from core.engine.stable_loss import Probe
from core.errors import Stopped
from core.settings import Settings

#: So many broken pictures are told one by one.
_NAMED = 20
#: Folders with more pictures than this are not scanned again by a resume.
_LOOKED_AT_AGAIN = 200_000


@dataclass(frozen=True)
class Prepared:
    """The training's data.

    Attributes:
        fingerprint: Changes when the trained pictures, their order or their buckets change.
    """

    dataset: Dataset
    store: ShardStore
    fingerprint: str

    @property
    def validation(self) -> NDArray[np.int64]:
        """Rows of the held-out pictures."""
        return self.dataset.plan.validation

    @property
    def probe(self) -> NDArray[np.int64]:
        """Rows of as many trained ones, measured beside them."""
        return self.dataset.plan.probe

    def probes(self, rows: NDArray[np.int64], scale: float) -> list[Probe]:
        """The pictures as the stable loss measures them: scaled latent, first caption, the plan's crop."""
        return [
            Probe(
                self._latent(item) * scale,
                first(item.captions, item.data),
                item.content_hash,
                told_sizes(item.size, item.fit),
            )
            for item in self.dataset.items(rows)
        ]

    def _latent(self, item: Item) -> torch.Tensor:
        """The mean of the VAE's posterior, float32."""
        kind = kept_kind(self.dataset.settings)
        key = latent_key(item.content_hash, item.fit, kind=kind, rule=self.dataset.pixel_rule(item.row))
        stored = self.store.get(key).float()
        return stored.chunk(2)[0] if kind == MOMENTS else stored


def index_folders(settings: Settings, control: Control, resumed: bool = False) -> Generator[ev.Event, None, Index]:
    """Scan the picture folders; events say what was broken and skipped.

    A run that is resumed goes on with what it began with where looking at all files again would take minutes.
    """
    index = open_index(settings)
    yield ev.Progress(phase="index", done=0, total=1)
    if resumed and index.count() > _LOOKED_AT_AGAIN:
        text = (
            f"{index.count():,} pictures are in the index; the folders were not looked through again for this resume."
        )
        yield ev.Message(text=text)
        return index
    scanned = scan(settings, index, _stopper(control))
    if scanned.note:
        yield ev.Message(text=scanned.note)
    if is_live(settings):
        index.hash_missing(_stopper(control))
    for picture in itertools.islice(index.pictures(broken=True), _NAMED):
        yield ev.Message(level="warning", text=f"{picture.path} is skipped: {picture.reason}.")
    if scanned.files.broken > _NAMED:
        more = scanned.files.broken - _NAMED
        yield ev.Message(level="warning", text=f"{more:,} more broken pictures are skipped.")
    yield ev.Progress(phase="index", done=1, total=1, text=f"{index.count():,} pictures")
    return index


def _stopper(control: Control) -> Callable[[int, int], None]:
    """A progress callback that ends the work when the user asks for it."""

    def progress(done: int, total: int) -> None:
        if control.should_stop():
            raise Stopped

    return progress


def prepare(
    settings: Settings,
    models: Models,
    control: Control,
    accelerator: Accelerator,
    precision: str,
    resumed: bool = False,
) -> Generator[ev.Event, None, Prepared]:
    """Index, cache and plan; the same pictures and latents in all processes.

    Args:
        resumed: Whether the run has trained before; see index_folders().

    Raises UserError when no picture is left, or the machines do not find the same; Stopped when the user wishes it.
    """
    with main_first(accelerator):
        index = yield from index_folders(settings, control, resumed)
    job = Job(settings, models, index, control, accelerator, precision)
    dataset, store = yield from cache_latents(job)
    data = Prepared(dataset, store, dataset.plan.fingerprint())
    require_same(
        accelerator,
        data.fingerprint,
        "The machines do not find the same pictures and latents: put data.folders and hardware.cache_folder on a disk "
        "that all of them see under the same path.",
    )
    return data
