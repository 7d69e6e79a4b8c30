"""From folders to latents: index, hash, split, cache; yields progress and returns what the training needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash
from accelerate import Accelerator

from core import events as ev
from core import paths
from core.data.captions import first
from core.data.dataset import Dataset, Item, build_dataset
from core.data.index import Index, index_path
from core.engine.cache import Encoded, encode_missing
from core.engine.control import Control
from core.engine.distributed import Board, broadcast_flags, require_same
from core.engine.latent_store import LatentStore, entry_key
from core.engine.loader import sizes
from core.engine.models import Models
from core.engine.stable_loss import Probe
from core.errors import Stopped, UserError
from core.settings import Settings


@dataclass(frozen=True)
class Prepared:
    """The training's data.

    Attributes:
        train: Pictures that are trained on, in the order that Order numbers them.
        validation, probe: Held-out pictures, and as many of the trained ones, for the stable loss.
        fingerprint: Changes when the trained pictures, their order or their buckets change.
    """

    train: list[Item]
    validation: list[Item]
    probe: list[Item]
    store: LatentStore
    fingerprint: str

    def probes(self, items: list[Item], settings: Settings, scale: float) -> list[Probe]:
        """The pictures as the stable loss measures them: scaled latent, first caption."""
        return [
            Probe(
                self.store.get(entry_key(item.content_hash, item.fit)).float() * scale,
                first(item.captions, settings.data),
                item.content_hash,
                sizes(item),
            )
            for item in items
        ]


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


def cache_root(settings: Settings) -> Path:
    """The cache folder of the settings."""
    return paths.resolve(settings.hardware.cache_folder) if settings.hardware.cache_folder else paths.cache_folder()


def index_folders(settings: Settings, control: Control) -> Generator[ev.Event, None, tuple[Dataset, Index]]:
    """Scan the picture folders and build the dataset; events say what was broken and skipped.

    The index comes along, so that pictures that cannot be decoded can be marked in it.
    """
    folders = [paths.resolve(folder) for folder in settings.data.folders]
    index = Index(index_path([str(folder) for folder in folders], cache_root(settings)))
    yield ev.Progress(phase="index", done=0, total=1)
    index.scan(folders, _stopper(control))
    broken = index.broken()
    for picture in broken[:20]:
        yield ev.Message(level="warning", text=f"{picture.path} is skipped: {picture.reason}.")
    if len(broken) > 20:
        yield ev.Message(level="warning", text=f"{len(broken) - 20} more broken pictures are skipped.")
    dataset = build_dataset(settings, index, _stopper(control))
    yield ev.Progress(phase="index", done=1, total=1, text=f"{len(dataset.items)} pictures")
    return dataset, index


def _stopper(control: Control) -> Callable[[int, int], None]:
    """A progress callback that ends the work when the user asks for it."""

    def progress(done: int, total: int) -> None:
        if control.should_stop():
            raise Stopped

    return progress


def cache_latents(
    settings: Settings,
    models: Models,
    indexed: tuple[Dataset, Index],
    control: Control,
    accelerator: Accelerator,
    precision: str,
) -> Generator[ev.Event, None, LatentStore]:
    """Encode what the cache lacks, shared out over the processes; brings the VAE into memory.

    Broken pictures are told once and can be recognised by their latent missing in the store.
    """
    dataset, index = indexed
    models.load("vae")
    store = LatentStore(cache_root(settings) / "latents" / models.vae_fingerprint)
    accelerator.wait_for_everyone()  # opening a store clears away half-written shards: nobody may be writing one
    items = dataset.items[accelerator.process_index :: accelerator.num_processes]
    board = Board(accelerator, "cache")
    work = encode_missing(
        items,
        models,
        store,
        batch=settings.hardware.encode_batch,
        precision=precision,
        mirror=settings.data.flip,
        stop=lambda: bool(board.add("stop", int(control.should_stop()))),
    )
    with contextlib.suppress(Stopped):
        yield from _told(work, index, board)
        yield from _wait_for_others(board, accelerator, control)
    accelerator.wait_for_everyone()
    if broadcast_flags(accelerator, [board.add("stop") > 0])[0]:
        raise Stopped
    if accelerator.num_processes > 1:
        store.refresh()
    return store


def _told(work: Iterable[Encoded], index: Index, board: Board) -> Iterator[ev.Event]:
    """The events of this process's share of the encoding: its broken pictures, and the progress of all processes."""
    throttle = Throttle()
    done = 0
    for number, progress in enumerate(work):
        total = board.add("total", progress.total if number == 0 else 0)
        so_far = board.add("done", progress.done - done)
        done = progress.done
        for path, reason in progress.broken:
            index.mark_broken(path, reason)
            yield ev.Message(level="warning", text=f"{path} is skipped: {reason}.")
        if throttle.lets(so_far, total):
            yield ev.Progress(phase="cache", done=so_far, total=total)


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


def agree(data: Prepared, accelerator: Accelerator) -> None:
    """UserError when the processes found different pictures or latents."""
    require_same(
        accelerator,
        data.fingerprint,
        "The machines do not find the same pictures and latents: put data.folders and hardware.cache_folder on a disk "
        "that all of them see under the same path.",
    )


def gather(settings: Settings, dataset: Dataset, store: LatentStore) -> Prepared:
    """The dataset without the pictures that could not be encoded; UserError when none is left."""

    def usable(positions: object) -> list[Item]:
        chosen = [dataset.items[int(i)] for i in positions]  # type: ignore[attr-defined]
        return [item for item in chosen if _is_cached(item, store, settings.data.flip)]

    train = usable(dataset.split.train)
    if not train:
        raise UserError("None of the pictures can be used for training; the messages above say why.")
    digest = xxhash.xxh3_128()
    for item in train:
        digest.update(f"{item.content_hash}|{item.fit.bucket}\n".encode())
    validation, probe = usable(dataset.split.validation), usable(dataset.split.probe)
    return Prepared(train, validation, probe, store, digest.hexdigest())


def _is_cached(item: Item, store: LatentStore, mirror: bool) -> bool:
    plain = entry_key(item.content_hash, item.fit) in store
    return plain and (not mirror or entry_key(item.content_hash, item.fit, True) in store)
