"""Reading: what is read of picture and caption files for the index, as jobs that any process can do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import xxhash

from core.data import archives, caption_files, source
from core.data.headers import Header, Part, examine, examine_part
from core.data.reasons import PictureError, reason_of

#: Threads that read at once where the disk lets us wait.
_THREADS = 4

_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

#: The reason for a file that ends the process that reads it.
CRASHED = "reading it crashes the decoder"


class Job(Protocol):
    """Files to read. It and its answer travel between processes as data (msgpack): dataclasses of plain fields.

    Attributes:
        ANSWER: The type of the answer.
    """

    ANSWER: ClassVar[Any]

    def __len__(self) -> int:
        """How many files these are."""

    def run(self, patient: bool) -> Any:
        """The answer. `patient`: with several threads, as the disk lets us wait."""

    def halves(self) -> tuple[Self, Self]:
        """The job as two, to find the file that crashes."""

    def joined(self, first: Any, second: Any) -> Any:
        """The answer from those of the halves."""

    def crashed(self) -> Any:
        """The answer for a single file that crashes."""


class Want(NamedTuple):
    """A file to read: its name, whether its head is wanted, and the endings of the captions that are."""

    name: str
    picture: bool
    captions: tuple[str, ...]


class Read(NamedTuple):
    """What was read of a file; what was not wanted is left at its default."""

    width: int = 0
    height: int = 0
    signature: bytes = b""
    alpha: bool = False
    reason: str = ""
    tags: str = ""
    natural: str = ""
    problem: str = ""


@dataclass(slots=True)
class Answer:
    """The answers to a HeadJob, in its order, and how often each tag stands in the captions that were read."""

    reads: list[Read]
    tags: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class HeadJob:
    """Heads and captions of pictures in one folder."""

    ANSWER: ClassVar[Any] = Answer

    folder: str
    wants: list[Want]

    def __len__(self) -> int:
        return len(self.wants)

    def run(self, patient: bool) -> Answer:
        """See Job; never raises for what is wrong with a file."""
        if not patient:
            return self._run()
        share = -(-len(self.wants) // _THREADS)
        starts = range(0, len(self.wants), share)
        with ThreadPoolExecutor(_THREADS) as pool:
            parts = list(pool.map(HeadJob._run, [self._part(start, start + share) for start in starts]))
        answer = Answer([])
        for part in parts:
            answer = self.joined(answer, part)
        return answer

    def _run(self) -> Answer:
        answer = Answer([])
        with contextlib.closing(_Archive(self.folder) if self._is_archive() else _Folder(self.folder)) as place:
            for name, picture, captions in self.wants:
                head = _head(place, name) if picture else (0, 0, b"", False, "")
                text = ("", "", "")
                if captions and not head[4]:
                    text = _captions(place, name[: name.rfind(".")], captions)
                    if text[0]:
                        answer.tags.update(caption_files.distinct_tags(text[0]))
                answer.reads.append(Read(*head, *text))
        return answer

    def _is_archive(self) -> bool:
        return archives.is_archive(self.folder) and not os.path.isdir(self.folder)  # noqa: PTH112

    def _part(self, start: int, stop: int) -> HeadJob:
        return HeadJob(self.folder, self.wants[start:stop])

    def halves(self) -> tuple[HeadJob, HeadJob]:
        """See Job."""
        middle = len(self.wants) // 2
        return self._part(0, middle), self._part(middle, len(self.wants))

    def joined(self, first: Answer, second: Answer) -> Answer:
        """See Job."""
        first.tags.update(second.tags)
        return Answer(first.reads + second.reads, first.tags)

    def crashed(self) -> Answer:
        """See Job."""
        return Answer([Read(reason=CRASHED)])


#: Content hash (xxh3_128 of all bytes), perceptual hash (None with a reason), why it cannot be used ("" when it can).
Look = tuple[bytes, int | None, str]


@dataclass(frozen=True, slots=True)
class LookJob:
    """Looks at pictures by their paths; the answer is a list of (content hash, perceptual hash, reason)."""

    ANSWER: ClassVar[Any] = list[Look]

    paths: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    def run(self, patient: bool) -> list[Look]:
        """See Job; never raises for what is wrong with a file."""
        if not patient:
            return [_look(path) for path in self.paths]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(_look, self.paths))

    def halves(self) -> tuple[LookJob, LookJob]:
        """See Job."""
        middle = len(self.paths) // 2
        return LookJob(self.paths[:middle]), LookJob(self.paths[middle:])

    def joined(self, first: list[Look], second: list[Look]) -> list[Look]:
        """See Job."""
        return first + second

    def crashed(self) -> list[Look]:
        """See Job."""
        return [(b"", None, CRASHED)]


def _look(path: str) -> Look:
    """What is learned of one picture; the hash is of the very bytes that are decoded."""
    from core.data.phash import SIDE, phash64
    from core.data.pictures import load_small

    try:
        data = source.read_bytes(path)
        return xxhash.xxh3_128_digest(data), phash64(load_small(data, 2 * SIDE)), ""
    except (PictureError, OSError, ValueError) as error:
        return b"", None, reason_of(error)


class _Folder:
    """The files of a folder."""

    def __init__(self, path: str) -> None:
        self._front = os.path.join(path, "")  # noqa: PTH118

    def examine(self, name: str) -> Header:
        """The header of a picture; OSError or PictureError."""
        return examine(self._front + name)

    def caption(self, name: str) -> bytes:
        """The bytes of a caption file, not many more than a caption may have; OSError."""
        descriptor = os.open(self._front + name, _OPEN)
        try:
            return os.read(descriptor, caption_files.MAX_BYTES + 1)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Nothing is kept open."""


class _Archive:
    """The members of an archive; what is wrong with it as a whole is found at the first of them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        self._opened: tuple[int, sqlite3.Connection] | None = None

    def _part(self, name: str) -> Part:
        if self._opened is None:
            descriptor = os.open(self._path, _OPEN)
            self._stack.callback(os.close, descriptor)
            self._opened = descriptor, self._stack.enter_context(contextlib.closing(archives.open_list(self._path)))
        member = archives.find(self._opened[1], name)
        if member is None:
            raise FileNotFoundError
        if member.reason:
            raise PictureError(member.reason)
        return Part(self._opened[0], member.offset, member.size)

    def examine(self, name: str) -> Header:
        """See _Folder."""
        return examine_part(self._part(name))

    def caption(self, name: str) -> bytes:
        """See _Folder."""
        return self._part(name).read(0, caption_files.MAX_BYTES + 1)

    def close(self) -> None:
        """Close the archive."""
        self._stack.close()


def _head(place: _Folder | _Archive, name: str) -> tuple[int, int, bytes, bool, str]:
    try:
        header = place.examine(name)
    except (PictureError, OSError) as error:
        return 0, 0, b"", False, reason_of(error)
    return header.width, header.height, header.signature, header.alpha, ""


def _captions(place: _Folder | _Archive, stem: str, suffixes: Iterable[str]) -> tuple[str, str, str]:
    """(tags, natural, problem) of the caption files of a picture."""
    texts = {caption_files.TAGS_SUFFIX: "", caption_files.NATURAL_SUFFIX: ""}
    problems = []
    for suffix in suffixes:
        name = os.path.basename(stem) + suffix  # noqa: PTH119
        try:
            data = place.caption(stem + suffix)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, PictureError) as error:
            problems.append(caption_files.unreadable(name, error))
            continue
        texts[suffix.lower()], problem = caption_files.decode(data, name)
        if problem:
            problems.append(problem)
    return texts[caption_files.TAGS_SUFFIX], texts[caption_files.NATURAL_SUFFIX], " ".join(problems)
