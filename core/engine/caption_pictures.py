"""The pictures of a captioning job: found by folder, index or choice, read and decoded ahead of the model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from core import paths
from core.caption_job import Chosen
from core.data import source
from core.data.caption_files import MAX_BYTES, NATURAL_SUFFIX, TAGS_SUFFIX, decode, unreadable
from core.data.columns import HAS_NATURAL, HAS_TAGS
from core.data.pictures import PictureError, load_bytes
from core.data.reasons import reason_of
from core.data.walk import check_folders, directories, pictures, printable
from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index

Kind = Literal["tags", "natural"]
SUFFIXES: dict[Kind, str] = {"tags": TAGS_SUFFIX, "natural": NATURAL_SUFFIX}

IN_ARCHIVE = "it lies in an archive, beside which no caption can be written; unpack it first"

#: Ids that are looked up in the index at a time.
_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Target:
    """A picture to be captioned; `id` is its number in the index, -1 without one."""

    path: str
    id: int = -1
    reason: str = ""


@dataclass(slots=True)
class Beside:
    """A caption file beside a picture.

    Attributes:
        path: The file, which need not exist.
        text: Its captions, one a line.
        problem: Why it is no text that could be read, as a sentence; such a file is never written over.
    """

    path: Path
    text: str = ""
    problem: str = ""


@dataclass(slots=True)
class Read:
    """A picture that was read.

    Attributes:
        beside: Its two caption files.
        content: xxh3_128 of the file's bytes in hex, "" where they were not read.
        pixels: What the captioner's prepare() made of it; None where there is nothing to caption.
        reason: Why it cannot be captioned, "" when it can.
        kept: Its captions stay as they are, so that it need not be looked at.
    """

    target: Target
    beside: dict[Kind, Beside] = field(default_factory=dict)
    content: str = ""
    pixels: Any = None
    reason: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """The pictures of a job.

    Attributes:
        total: How many there are in all.
        kept: How many of them are left out, since the index says that they have a caption.
        each: The others.
    """

    total: int
    kept: int
    each: Iterator[Target]


def find(chosen: Chosen, index: Index | None, without: Kind | None = None) -> Targets:
    """The chosen pictures; an index is asked in the thread in which it was opened. UserError for bad folders.

    With `without`, pictures that have this kind of caption by the index' last look are passed over unseen: of
    12 million pictures, most of which are done, an hour of looking at files is saved.
    """
    if index is not None:
        return _of_index(index, chosen, without)
    if chosen.paths:
        return Targets(len(chosen.paths), 0, (Target(path) for path in chosen.paths))
    folders = check_folders([paths.resolve(folder) for folder in chosen.folders])
    total = sum(max(one.pictures, bool(one.reason)) for one in directories(folders))
    return Targets(total, 0, _of_folders(folders))


def _of_index(index: Index, chosen: Chosen, without: Kind | None) -> Targets:
    columns = index.columns()
    ids = columns.ids[columns.by_name] if chosen.ids is None else np.asarray(chosen.ids, np.int64)
    total = len(ids)
    if without is not None and total:
        flag = HAS_TAGS if without == "tags" else HAS_NATURAL
        rows = np.searchsorted(columns.ids, ids).clip(max=max(0, len(columns.ids) - 1))
        done = (columns.ids[rows] == ids) & ((columns.flags[rows] & flag) != 0) if len(columns.ids) else ids < 0
        ids = ids[~done]
    return Targets(total, total - len(ids), _by_ids(index, ids))


def _by_ids(index: Index, ids: NDArray[np.int64]) -> Iterator[Target]:
    for start in range(0, len(ids), _CHUNK):
        for picture in index.by_ids(ids[start : start + _CHUNK]):
            yield Target(picture.path, picture.id)


def _of_folders(folders: list[str]) -> Iterator[Target]:
    for directory in directories(folders):
        if directory.reason:
            yield Target(printable(directory.path), reason=directory.reason)
        for part in pictures(directory, _CHUNK):
            for found in part:
                yield Target(str(Path(directory.path, found.name)), reason=found.reason)


def read_beside(picture: Path, kind: Kind) -> Beside:
    """The caption file of a kind beside a picture, and what it says; never raises."""
    path = picture.with_suffix(SUFFIXES[kind])
    for name in (path, path.with_suffix(path.suffix.upper())):
        try:
            with name.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            return Beside(name, problem=unreadable(name.name, error))
        text, problem = decode(data, name.name)
        return Beside(name, text, "" if text else problem)
    return Beside(path)


class Reader:
    """Reads pictures in threads, a bounded number ahead, and gives them in their order.

    `wanted` says of a picture's caption files and a function that gives its content hash whether it is to be captioned;
    what is not wanted is never decoded, and mostly not even read.
    """

    def __init__(
        self,
        prepare: Callable[[Any], Any],
        wanted: Callable[[dict[Kind, Beside], Callable[[], str]], bool],
        threads: int,
        ahead: int,
    ) -> None:
        self._prepare = prepare
        self._wanted = wanted
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="reading")

    def close(self) -> None:
        """End the threads; pictures that nobody waits for any more are not read."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, targets: Iterator[Target]) -> Iterator[Read]:
        """Every target in order; a broken one has a reason."""
        waiting: deque[Future[Read]] = deque()
        for target in targets:
            waiting.append(self._pool.submit(self._read, target))
            if len(waiting) >= self._ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(self, target: Target) -> Read:
        """In a thread."""
        if target.reason:
            return Read(target, reason=target.reason)
        try:
            return self._decode(target)
        except PictureError as error:
            return Read(target, reason=str(error))
        except (OSError, ValueError, UserError) as error:
            return Read(target, reason=reason_of(error) if isinstance(error, OSError) else str(error))

    def _decode(self, target: Target) -> Read:
        picture = Path(target.path)
        if source.split(target.path) is not None:
            return Read(target, reason=IN_ARCHIVE)
        found = Read(target, {kind: read_beside(picture, kind) for kind in SUFFIXES})
        data = b""

        def content() -> str:
            nonlocal data
            data = data or source.read_bytes(os.fspath(picture))
            found.content = found.content or xxhash.xxh3_128_hexdigest(data)
            return found.content

        if not self._wanted(found.beside, content):
            found.kept = True
            return found
        content()
        found.pixels = self._prepare(load_bytes(data))
        return found
