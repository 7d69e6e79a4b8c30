"""Fills the latent cache before the training, shared out over the processes, and tells how far it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from core import events as ev
from core import paths
from core.data import kohya_cache
from core.data.dataset import Dataset
from core.data.index import Index
from core.data.pictures import PictureError
from core.data.planning import open_dataset
from core.engine.cache import Encoded, Encoder, Recipe
from core.engine.control import Control
from core.engine.distributed import Board, broadcast_flags, main_first
from core.engine.latent_store import is_live, kept_kind, row_keys, store_folder
from core.engine.models import Models
from core.engine.shards import ShardStore, tidy
from core.errors import Stopped, UserError
from core.settings import Settings

#: Rounds of encoding: broken pictures and new duplicates may change a few crops of others, once or twice.
_ROUNDS = 4
#: Rows whose names are looked up at once.
_ROWS = 1 << 20
#: What decoding taught goes into the index after so many pictures.
_LEARNED = 256


class Throttle:
    """Lets at most `per_second` progress events through, and always the last one."""

    def __init__(self, per_second: float = 5.0) -> None:
        self._gap = 1.0 / per_second
        self._last = 0.0

    def lets(self, done: int, total: int) -> bool:
        """Whether to say this one."""
        now = time.monotonic()
        if done < total and now - self._last < self._gap:
            return False
        self._last = now
        return True


def plans_folder(settings: Settings) -> Path:
    """Where the plans of trainings are kept."""
    return paths.cache_root(settings.hardware.cache_folder) / "plans"


@dataclass(frozen=True)
class Job:
    """What caching needs to know."""

    settings: Settings
    models: Models
    index: Index
    control: Control
    accelerator: Accelerator
    precision: str


def lacking(dataset: Dataset, store: ShardStore) -> NDArray[np.int64]:
    """Rows whose latents are not all in the store, or whose content nobody has read yet.

    Of pictures that are encoded at each use only those that are measured are kept.
    """
    plan = dataset.plan
    if is_live(dataset.settings):
        measured = np.concatenate([plan.validation, plan.probe])
        return measured[~store.has(row_keys(dataset, measured))]
    kind = kept_kind(dataset.settings)
    found = []
    for start in range(0, len(plan), _ROWS):  # a piece at a time: names of millions at once would be a gigabyte
        rows = np.arange(start, min(start + _ROWS, len(plan)))
        wanted: NDArray[np.bool_] = np.asarray(~plan.content[rows].any(axis=1), dtype=bool)
        for mirrored in (False, True):
            asked = np.flatnonzero(~wanted & (dataset.mirrored(rows) if mirrored else True))
            wanted[asked] |= ~store.has(row_keys(dataset, rows[asked], mirrored, kind))
        found.append(rows[wanted])
    return np.concatenate(found)


def cache_latents(job: Job) -> Generator[ev.Event, None, tuple[Dataset, ShardStore]]:
    """Encode what the cache lacks, shared out over the processes; brings the VAE into memory.

    Broken pictures are told once and leave the dataset. Returns the dataset, all of whose pictures are in the store.
    Raises Stopped when the user wishes it; what is encoded by then stays.
    """
    settings, models, accelerator = job.settings, job.models, job.accelerator
    precision = "bf16" if job.precision == "bf16" else "fp32"
    models.load("vae")
    folder = store_folder(paths.cache_root(settings.hardware.cache_folder), models.vae_fingerprint, precision)
    folder.mkdir(parents=True, exist_ok=True)
    if accelerator.is_main_process:
        tidy(folder)
    accelerator.wait_for_everyone()
    store = ShardStore(folder)
    for turn in range(_ROUNDS):
        with main_first(accelerator):
            dataset = open_dataset(settings, job.index, plans_folder(settings))
        missing = lacking(dataset, store)
        if not len(missing):
            if turn == 0:
                yield ev.Progress(phase="cache", done=0, total=0)
            break
        yield from _encode(job, dataset, store, missing, Board(accelerator, f"cache-{turn}"))
    else:
        raise UserError(
            "Pictures go or change while they are being cached, again and again. Start once the folders are at rest."
        )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        store.settle()
    accelerator.wait_for_everyone()
    store.refresh()
    return dataset, store


def _encode(
    job: Job, dataset: Dataset, store: ShardStore, missing: NDArray[np.int64], board: Board
) -> Iterator[ev.Event]:
    """One round over all processes."""
    settings, accelerator = job.settings, job.accelerator
    recipe = Recipe(
        batch=settings.hardware.encode_batch,
        precision=job.precision,
        kind=kept_kind(settings),
        adopt=_adopter(settings, dataset, job.models.family.__name__.rpartition(".")[2]),
    )
    encoder = Encoder(
        dataset, job.models, store, recipe, stop=lambda: bool(board.add("stop", int(job.control.should_stop())))
    )
    mine = missing[accelerator.process_index :: accelerator.num_processes]
    with contextlib.suppress(Stopped):
        yield from _told(encoder.work(mine, settings.hardware.decode_threads), job.index, board)
        yield from _wait_for_others(board, accelerator, job.control)
    store.flush()
    accelerator.wait_for_everyone()
    if broadcast_flags(accelerator, [board.add("stop") > 0])[0]:
        store.close()
        raise Stopped
    store.join()
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        store.refresh()


def _told(work: Iterable[Encoded], index: Index, board: Board) -> Iterator[ev.Event]:
    """The events of this process's share: its broken pictures, and the progress of all processes."""
    throttle = Throttle()
    done = adopted = 0
    learned: list[tuple[int, str, int | None]] = []
    try:
        for number, progress in enumerate(work):
            total = board.add("total", progress.total if number == 0 else 0)
            so_far = board.add("done", progress.done - done)
            done = progress.done
            adopted += progress.adopted
            learned += progress.learned
            if len(learned) >= _LEARNED:
                index.learned(learned)
                learned = []
            for path, reason in progress.broken:
                index.mark_broken(path, reason)
                yield ev.Message(level="warning", text=f"{path} is skipped: {reason}.")
            if throttle.lets(so_far, total):
                yield ev.Progress(phase="cache", done=so_far, total=total)
    finally:
        index.learned(learned)
    if adopted:
        yield ev.Message(text=f"{adopted:,} latents were taken over from another trainer's cache.")


def _adopter(
    settings: Settings, dataset: Dataset, family: str
) -> Callable[[str, int, bool], NDArray[np.float32] | None] | None:
    """Looks for the latent that sd-scripts kept beside a picture; None where the settings do not want it."""
    if settings.data.adopt_kohya_caches == "no":
        return None

    def adopt(path: str, row: int, mirrored: bool) -> NDArray[np.float32] | None:
        if dataset.plan.alpha[row]:
            return None  # sd-scripts leaves transparency away, ours lies over a ground
        width, height = dataset.plan.sizes[row].tolist()
        found = kohya_cache.find(path, (width, height), family)
        if found is None:
            return None
        try:
            return kohya_cache.read_latent(found, dataset.plan.fit(row), mirrored, (width, height))
        except PictureError:
            return None

    return adopt


def _wait_for_others(board: Board, accelerator: Accelerator, control: Control) -> Iterator[ev.Event]:
    """Rank 0 goes on telling how far the others are, and hears a wish to stop."""
    board.add("ready", 1)
    throttle = Throttle()
    while accelerator.is_main_process and board.add("ready") < accelerator.num_processes:
        if board.add("stop", int(control.should_stop())):
            raise Stopped
        done, total = board.add("done"), board.add("total")
        if throttle.lets(done, total + 1):
            yield ev.Progress(phase="cache", done=done, total=total)
        time.sleep(0.2)
