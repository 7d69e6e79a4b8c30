"""Source: reads a picture's or caption's file, or the member of an archive, by its path ("/data/0001.tar/123.jpg")."""

# Plain strings and os functions: at millions of files, Path objects cost more time than the disk.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import stat
import threading
from typing import TYPE_CHECKING, BinaryIO

from core.data.archives import SUFFIX, Member, find, open_list, problem_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Archives held open at once by a process.
_OPEN = 64

_SEPARATORS = "/" if os.sep == "/" else "/" + os.sep


def read_bytes(path: str) -> bytes:
    """The bytes of a file, or of a member of an archive. Raises OSError as open() does; safe in any thread."""
    place = split(path)
    if place is None:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    archive = _opened(place[0], *_stamp(place[0]), os.getpid())
    member = archive.member(place[1], path)
    data = archive.read(member.offset, member.size)
    if len(data) < member.size:
        raise OSError(errno.EIO, "the archive ends too early", path)
    return data


def open_file(path: str) -> BinaryIO:
    """A file, or a member of an archive, for reading in any order; of a member nothing is copied. OSError as open()."""
    place = split(path)
    if place is None:
        return open(path, "rb")
    archive = _opened(place[0], *_stamp(place[0]), os.getpid())
    return io.BufferedReader(_Part(archive, archive.member(place[1], path)))


def changed_ns(path: str) -> int:
    """When a file was changed last, in nanoseconds; of a member of an archive, when the archive was."""
    place = split(path)
    return os.stat(path if place is None else place[0]).st_mtime_ns


def split(path: str) -> tuple[str, str] | None:
    """(archive, member's name) of a path into an archive; None for any other. A folder named ".tar" is a folder."""
    lower, start = path.lower(), 0
    while (place := lower.find(SUFFIX, start)) >= 0:
        start = place + len(SUFFIX)
        if path[start : start + 1] in tuple(_SEPARATORS):
            with contextlib.suppress(OSError, ValueError):
                if stat.S_ISREG(os.stat(path[:start]).st_mode):
                    name = path[start + 1 :]
                    return path[:start], name if os.sep == "/" else name.replace(os.sep, "/")
    return None


def _stamp(archive: str) -> tuple[int, int]:
    status = os.stat(archive)
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=_OPEN)
def _opened(archive: str, length: int, changed: int, process: int) -> _Archive:
    """The open archive; another one after a change of the file, and in a forked process."""
    return _Archive(archive)


class _Archive:
    """An open tar file with the list of its members; closed when nobody holds it any more."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._list = open_list(path)
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if hasattr(self, "_list"):
            self._list.close()
        if hasattr(self, "_file"):
            os.close(self._file)

    def member(self, name: str, path: str) -> Member:
        """The member of this name; an OSError that says what is wrong with it, for the whole path."""
        with self._lock:
            found = find(self._list, name)
            problem = "" if found else problem_of(self._list)
        if found is None:
            if problem:
                raise OSError(errno.EIO, problem, path)
            raise FileNotFoundError(errno.ENOENT, "There is no such file in the archive", path)
        if found.reason:
            raise OSError(errno.EIO, found.reason, path)
        return found

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, fewer only at the end of the file."""
        parts = []
        while size > 0 and (part := self._read_some(offset, size)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file, size, offset)
        with self._lock:  # Windows
            os.lseek(self._file, offset, os.SEEK_SET)
            return os.read(self._file, size)


class _Part(io.RawIOBase):
    """A member of an archive as a file of its own."""

    def __init__(self, archive: _Archive, member: Member) -> None:
        self._archive = archive
        self._member = member
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._member.size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the start of a file")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        size = min(len(view), max(0, self._member.size - self._place))
        data = self._archive.read(self._member.offset + self._place, size)
        view[: len(data)] = data
        self._place += len(data)
        return len(data)
