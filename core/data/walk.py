"""Walk: finds the pictures and caption files below folders, and the stamps that tell whether they changed."""

# Plain strings and os functions: at millions of files, Path objects cost more time than the disk.
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import xxhash

from core.data import archives
from core.data.caption_files import NATURAL_SUFFIX, TAGS_SUFFIX
from core.data.reasons import UNREADABLE, PictureError
from core.errors import UserError

#: File names that are taken for pictures, in any case.
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".avif", ".jxl", ".heic", ".heif", ".hif", ".tif", ".tiff", ".bmp", ".gif"}
)

_CAPTIONS = (TAGS_SUFFIX, NATURAL_SUFFIX)

#: A folder's descriptor spares the system looking its path up for every file; Windows has none.
_BY_DESCRIPTOR = os.stat in os.supports_dir_fd and os.scandir in os.supports_fd

#: Stamps are numbers of 63 bits, as SQLite keeps them in 8 bytes.
_MASK = (1 << 63) - 1
_FACTOR = 1_000_003

_NAME = itemgetter(0)


@dataclass(slots=True)
class Directory:
    """A folder, or an archive, that was looked at, names only.

    Attributes:
        path: Absolute path as the system has it; show printable(path).
        pictures: How many picture files lie directly in it; of an archive, also in its folders.
        suffixes: The endings of caption files in use there, as they are written, in order of precedence. So a folder of
            millions of files needs no list of its names: a caption is looked for under these.
        reason: Why it cannot be opened, "" when it can. A damaged archive has pictures all the same.
        archive: Whether it is an archive.
    """

    path: str
    pictures: int = 0
    suffixes: tuple[str, ...] = ()
    reason: str = ""
    archive: bool = False
    folders: list[str] = field(default_factory=list)


class Found(NamedTuple):
    """A picture file as the folder lists it.

    Attributes:
        name: Its name, printable.
        stamp: Made of size and time of change; another stamp means another content. None: not to be relied on.
        caption_stamp: The same of all its caption files together, 0 when there is none.
        captions: The endings of its caption files, one for each kind.
        reason: Why it cannot be used at all, "" when nothing is known against it.
    """

    name: str
    stamp: int | None
    caption_stamp: int
    captions: tuple[str, ...] = ()
    reason: str = ""


def check_folders(folders: Sequence[Path]) -> list[str]:
    """The folders as absolute paths; a UserError for the first that is missing, no folder or not readable."""
    if not folders:
        raise UserError("No picture folder is chosen. Add a folder to data.folders.")
    for folder in folders:
        if not folder.exists():
            raise UserError(f"The picture folder {folder} does not exist. Check the path and that its disk is there.")
        if not folder.is_dir():
            if folder.is_file() and archives.is_archive(folder.name):
                continue
            raise UserError(f"{folder} is not a folder. Choose the folder that holds the pictures.")
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise UserError(
                f"The picture folder {folder} cannot be opened ({error.strerror}). Check its permissions."
            ) from None
    return [str(folder.absolute()) for folder in folders]


def directories(folders: Sequence[str]) -> Iterator[Directory]:
    """Every folder and archive at and below `folders`, each once, in order of name; links are followed.

    Hidden files and folders (a dot in front) are passed over. A folder inside that cannot be opened is yielded with its
    reason, so that its pictures are not missed in silence.
    """
    visited: set[tuple[int, int]] = set()
    waiting = sorted(folders, reverse=True)
    while waiting:
        found = Directory(waiting.pop())
        try:
            status = os.stat(found.path)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            found.archive = not stat.S_ISDIR(status.st_mode)
            _look_inside(found) if found.archive else _look(found)
        except OSError as error:
            found.reason = cannot_open(error, found.archive)
        except PictureError as error:
            found.reason = str(error)
        waiting += sorted(found.folders, reverse=True)
        found.folders.clear()
        yield found


def _look(found: Directory) -> None:
    """Count the pictures of a folder, collect its folders and the endings of its captions."""
    pictures = 0
    suffixes = set()
    with os.scandir(found.path) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            suffix = _suffix(name)
            lowered = suffix.lower()
            if lowered in EXTENSIONS:
                if entry.is_dir():
                    found.folders.append(entry.path)
                else:
                    pictures += 1
            elif lowered in _CAPTIONS:
                suffixes.add(suffix)
            elif entry.is_dir() or (lowered == archives.SUFFIX and entry.is_file()):
                found.folders.append(entry.path)
    found.pictures = pictures
    found.suffixes = tuple(sorted(suffixes, key=_precedence))


def _look_inside(found: Directory) -> None:
    """The same for an archive; OSError or PictureError when it cannot be read, or not to its end."""
    suffixes = set()
    try:
        for member in archives.members(found.path):
            suffix = _suffix(member.name)
            if suffix.lower() in EXTENSIONS:
                found.pictures += 1
            elif suffix.lower() in _CAPTIONS:
                suffixes.add(suffix)
    finally:
        found.suffixes = tuple(sorted(suffixes, key=_precedence))


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _precedence(suffix: str) -> tuple[int, int, str]:
    """Tags before sentences, small letters before capitals."""
    lowered = suffix.lower()
    return _CAPTIONS.index(lowered), suffix != lowered, suffix


def pictures(directory: Directory, most: int) -> Iterator[list[Found]]:
    """The pictures of a folder in lists of up to `most`, each in order of name; the folder is read as a stream.

    Raises OSError when the folder cannot be opened any more.
    """
    found = _inside(directory) if directory.archive else _in_folder(directory)
    while batch := list(itertools.islice(found, most)):
        batch.sort(key=_NAME)
        yield batch


def _inside(archive: Directory) -> Iterator[Found]:
    """The pictures in an archive, as far as it can be read; all have its stamp."""
    if not _is_utf8(archive.path):
        return
    stamp = xxhash.xxh3_64_intdigest(archives.stamp(archive.path).encode()) & _MASK
    with contextlib.suppress(PictureError), contextlib.closing(archives.open_list(archive.path)) as members:
        for member in archives.members(archive.path):
            if _suffix(member.name).lower() not in EXTENSIONS:
                continue
            stem = member.name[: member.name.rfind(".")]
            present = [s for s in archive.suffixes if archives.find(members, stem + s) is not None]
            captions = tuple({suffix.lower(): suffix for suffix in reversed(present)}.values())
            yield Found(member.name, stamp, stamp if captions else 0, captions, member.reason)


def _in_folder(directory: Directory) -> Iterator[Found]:
    with contextlib.ExitStack() as stack:
        descriptor = None
        if _BY_DESCRIPTOR:
            descriptor = os.open(directory.path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        entries = stack.enter_context(os.scandir(directory.path if descriptor is None else descriptor))
        lister = _Lister(directory, descriptor)
        for entry in entries:
            name = entry.name
            if name[0] != "." and _suffix(name).lower() in EXTENSIONS and not entry.is_dir():
                found = lister.found(entry)
                if found is not None:
                    yield found


class _Lister:
    """Looks up the stamps of the files of one folder."""

    def __init__(self, directory: Directory, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._front = "" if descriptor is not None else os.path.join(directory.path, "")
        self._suffixes = [(suffix, _CAPTIONS.index(suffix.lower()) + 1) for suffix in directory.suffixes]
        self._valid = _is_utf8(directory.path)

    def found(self, entry: os.DirEntry[str]) -> Found | None:
        """What is known of a picture without opening it; None for what is no file (a pipe, a device)."""
        name = entry.name
        if not (self._valid and (name.isascii() or _is_utf8(name))):
            where = "name" if self._valid else "folder's name"
            return Found(printable(name), None, 0, (), f"its {where} is not valid UTF-8; rename it")
        try:
            status = entry.stat()
        except FileNotFoundError:
            return Found(name, None, 0, (), "it is a link to a file that is missing") if entry.is_symlink() else None
        except OSError as error:
            return Found(name, None, 0, (), f"{UNREADABLE} ({error.strerror})")
        if not stat.S_ISREG(status.st_mode):
            return None
        captions, caption_stamp = self.captions(name[: name.rfind(".")])
        return Found(name, _stamp(status), caption_stamp, captions)

    def captions(self, stem: str) -> tuple[tuple[str, ...], int]:
        """(endings of the caption files that are there, their stamp)."""
        captions: tuple[str, ...] = ()
        stamp = last = 0
        for suffix, kind in self._suffixes:
            if kind == last:
                continue
            try:
                one = _stamp(os.stat(f"{self._front}{stem}{suffix}", dir_fd=self._descriptor))
            except (FileNotFoundError, NotADirectoryError):  # the latter beside a picture in an archive
                continue
            except OSError:
                one = 1
            last = kind
            captions += (suffix,)
            stamp = (stamp * _FACTOR + one * 2 + kind) & _MASK
        return captions, stamp


def caption_stamp(path: str, suffixes: Sequence[str] = ()) -> int:
    """The caption_stamp that pictures() would give a picture file now.

    For those who write or follow captions. Only files with one of these endings are looked for; without any, those in
    usual letters, so that a caption "a.tXt" is missed and its picture's captions are read again by the next scan.
    """
    folder, name = os.path.split(path)
    usual = [s for suffix in _CAPTIONS for s in (suffix, suffix.upper(), f".{suffix[1:].capitalize()}")]
    lister = _Lister(Directory(folder, suffixes=tuple(sorted(suffixes or usual, key=_precedence))), None)
    return lister.captions(name[: name.rfind(".")])[1]


def _stamp(status: os.stat_result) -> int:
    return (status.st_mtime_ns * _FACTOR + status.st_size) & _MASK


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """A path as it can be kept and shown: bytes that are no UTF-8 are written as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def cannot_open(error: OSError, archive: bool = False) -> str:
    """The reason for a folder or an archive."""
    return f"the {'archive' if archive else 'folder'} cannot be opened ({error.strerror or error})"
