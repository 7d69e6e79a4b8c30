"""Walk: finds the pictures and caption files below folders, and the stamps that tell whether they changed."""

# Plain strings and os functions: at millions of files, Path objects cost more time than the disk.
# ruff: noqa: PTH116, PTH118, PTH122

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data.captions import NATURAL_SUFFIX, TAGS_SUFFIX
from core.data.pictures import UNREADABLE
from core.errors import UserError

#: File names that are taken for pictures, in any case.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"})


@dataclass(frozen=True, slots=True)
class Found:
    """A picture file as the folder lists it.

    Attributes:
        path: Absolute path; bytes that are no UTF-8 are written as \\udcXX.
        stamp: Size in bytes and time of change of the picture; another stamp means another content.
        caption_stamp: The same of both caption files, "" for one that is missing.
        reason: Why it cannot be used at all, "" when nothing is known against it.
    """

    path: str
    stamp: str
    caption_stamp: str
    reason: str = ""


@dataclass(slots=True)
class _Listing:
    """One folder's content, names only; caption files by their name with the suffix in small letters."""

    pictures: list[str]
    captions: dict[str, str]
    folders: list[str]


def check_folders(folders: Sequence[Path]) -> list[str]:
    """The folders as absolute paths; a UserError for the first that is missing, no folder or not readable."""
    if not folders:
        raise UserError("No picture folder is chosen. Add a folder to data.folders.")
    for folder in folders:
        if not folder.exists():
            raise UserError(f"The picture folder {folder} does not exist. Check the path and that its disk is there.")
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Choose the folder that holds the pictures.")
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise UserError(
                f"The picture folder {folder} cannot be opened ({error.strerror}). Check its permissions."
            ) from None
    return [str(folder.absolute()) for folder in folders]


def count_pictures(folders: Sequence[str]) -> int:
    """How many files walk() will yield; reads the names only."""
    return sum(len(found.pictures) if isinstance(found, _Listing) else 1 for _, found in _listings(folders))


def walk(folders: Sequence[str]) -> Iterator[Found]:
    """Every picture file below the folders, each once, folder by folder in order of name.

    Hidden files and folders (a dot in front) are passed over. A folder inside that cannot be opened is
    yielded as a Found with a reason, so that its pictures are not missed in silence.
    """
    for folder, listing in _listings(folders):
        if isinstance(listing, _Listing):
            for name in listing.pictures:
                yield _found(folder, name, listing.captions)
        else:
            yield Found(_printable(folder), "", "", f"the folder cannot be opened ({listing})")


def _listings(folders: Sequence[str]) -> Iterator[tuple[str, _Listing | str]]:
    """(folder, its content or why it cannot be opened); links are followed, each folder comes once."""
    visited: set[tuple[int, int]] = set()
    waiting = sorted(folders, reverse=True)
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            listing = _list(folder)
        except OSError as error:
            yield folder, error.strerror or str(error)
            continue
        waiting += reversed(listing.folders)
        yield folder, listing


def _list(folder: str) -> _Listing:
    listing = _Listing([], {}, [])
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            stem, suffix = os.path.splitext(entry.name)
            suffix = suffix.lower()
            if suffix in (TAGS_SUFFIX, NATURAL_SUFFIX):
                listing.captions[stem + suffix] = entry.name
            elif entry.is_dir():
                listing.folders.append(entry.path)
            elif suffix in EXTENSIONS and (entry.is_file() or entry.is_symlink()):
                listing.pictures.append(entry.name)
    listing.pictures.sort()
    listing.folders.sort()
    return listing


def _found(folder: str, name: str, captions: dict[str, str]) -> Found:
    path = os.path.join(folder, name)
    stem = os.path.splitext(name)[0]
    try:
        path.encode("utf-8")
        stamp = _stamp(path)
    except UnicodeEncodeError:
        return Found(_printable(path), "", "", "its name is not valid UTF-8; rename the file")
    except FileNotFoundError:
        return Found(path, "", "", "it is a link to a file that is missing")
    except OSError as error:
        return Found(path, "", "", f"{UNREADABLE} ({error.strerror})")
    texts = [stem + suffix for suffix in (TAGS_SUFFIX, NATURAL_SUFFIX)]
    files = [captions.get(text) for text in texts]
    return Found(path, stamp, "|".join(_caption_stamp(folder, file) if file else "" for file in files))


def _stamp(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_size}:{status.st_mtime_ns}"


def _caption_stamp(folder: str, name: str) -> str:
    try:
        return _stamp(os.path.join(folder, name))
    except OSError:
        return "unreadable"


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
