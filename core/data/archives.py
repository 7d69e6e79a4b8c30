"""Archives: lists the pictures inside a tar file, by the JSON index beside it (hfutils' layout) or by its headers.

The list of an archive is kept in a small SQLite file in the cache folder, so that a member is found without reading
the list again, and no process holds it in memory: 100 million members cost a loader worker nothing.
"""

# Plain strings and os functions: at millions of files, Path objects cost more time than the disk.
# ruff: noqa: PTH116, PTH122

from __future__ import annotations

import contextlib
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from core import atomic, paths
from core.data.json_stream import JsonError, entries
from core.data.reasons import PictureError

SUFFIX = ".tar"

#: Raised when the tables change; the name of a list holds it.
_VERSION = 1

#: Seconds after which nobody is still writing a list.
_OLD = 24 * 3600.0

_TABLES = """
CREATE TABLE members (name TEXT PRIMARY KEY, place INTEGER, offset INTEGER, size INTEGER, reason TEXT) WITHOUT ROWID;
CREATE TABLE archive (problem TEXT);
"""

_OUTSIDE = "its name leads out of the archive"
_BEYOND = "it lies beyond the end of the archive: the tar file was not copied whole, or its index belongs to another"


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an archive.

    Attributes:
        name: Its path inside, with "/" between folders and without "./" in front.
        offset, size: Where its bytes lie in the tar file.
        reason: Why it cannot be read, "" when nothing is known against it.
    """

    name: str
    offset: int
    size: int
    reason: str = ""


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive that is read: ".tar" in any case. Compressed ones are not."""
    return name.lower().endswith(SUFFIX)


def index_file(archive: str) -> str:
    """Where the JSON index of an archive lies: beside it, ".json" in place of ".tar", as hfutils has it."""
    return os.path.splitext(archive)[0] + ".json"


def stamp(archive: str) -> str:
    """Size and time of change of the tar file and of its index; another stamp means other members.

    OSError when the tar file cannot be reached.
    """
    status = os.stat(archive)
    try:
        index = os.stat(index_file(archive))
    except OSError:
        return f"{status.st_size}:{status.st_mtime_ns}"
    return f"{status.st_size}:{status.st_mtime_ns}:{index.st_size}:{index.st_mtime_ns}"


def members(archive: str) -> Iterator[Member]:
    """The plain files inside an archive in the order in which they lie there, each name once (the last of several).

    Folders, links and hidden files are passed over. A member that cannot be read comes with its reason.

    Raises:
        PictureError: the archive or its index is damaged. The members that can be read have been given before.
        OSError: the tar file cannot be read, or the cache folder cannot be written.
    """
    with contextlib.closing(open_list(archive)) as database:
        for row in database.execute("SELECT name, offset, size, reason FROM members ORDER BY place"):
            yield Member(*row)
        problem = problem_of(database)
    if problem:
        raise PictureError(problem)


def find(database: sqlite3.Connection, name: str) -> Member | None:
    """The member of this name in a list that open_list() gave; None when there is none."""
    row = database.execute("SELECT name, offset, size, reason FROM members WHERE name = ?", [name]).fetchone()
    return Member(*row) if row else None


def problem_of(database: sqlite3.Connection) -> str:
    """What is wrong with the archive of a list as a whole, "" when nothing is."""
    return str(database.execute("SELECT problem FROM archive").fetchone()[0])


def open_list(archive: str) -> sqlite3.Connection:
    """The list of an archive's members, made anew when the archive or its index changed.

    The caller closes it; it may be used in any thread, by one at a time, and not across a fork. Raises OSError.
    """
    named = xxhash.xxh3_64_hexdigest(os.path.abspath(archive).encode("utf-8", "surrogateescape"))  # noqa: PTH100
    found = xxhash.xxh3_64_hexdigest(f"{_VERSION} {stamp(archive)}".encode())
    path = paths.cache_folder() / "archives" / f"{named}-{found}.sqlite"
    if path.exists():
        try:
            return _opened(path)
        except sqlite3.DatabaseError:  # damaged by the disk: it is made anew
            path.unlink(missing_ok=True)
    try:
        with atomic.replacing(path) as temporary:
            _write_list(archive, temporary)
        atomic.remove_leftovers(path.parent, older_than=_OLD)  # of processes that were killed
        for older in path.parent.glob(f"{named}-*.sqlite"):
            if older != path:
                with contextlib.suppress(OSError):  # in use elsewhere, on Windows
                    older.unlink()
        return _opened(path)
    except sqlite3.Error as error:
        raise OSError(f"the list of its members cannot be kept in {path.parent} ({error})") from error


def _opened(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    database = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    try:
        problem_of(database)
    except (sqlite3.Error, TypeError):
        database.close()
        raise sqlite3.DatabaseError(f"{path} is damaged") from None
    return database


def _write_list(archive: str, path: Path) -> None:
    """Write the list of an archive's members to a new SQLite file, in the memory of a few pages of it."""
    problem = ""

    def rows() -> Iterator[tuple[str, int, int, int, str]]:
        nonlocal problem
        try:
            for place, member in enumerate(_read(archive)):
                yield member.name, place, member.offset, member.size, member.reason
        except PictureError as error:
            problem = str(error)

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -64000")
        database.executescript(_TABLES)
        database.execute("BEGIN")
        database.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", rows())
        database.execute("INSERT INTO archive VALUES (?)", [problem])
        database.execute("COMMIT")


def _read(archive: str) -> Iterator[Member]:
    """The members by the index beside the archive; by its headers where there is none."""
    length = os.stat(archive).st_size
    index = index_file(archive)
    for member in _from_index(index, length) if _is_index(index) else _from_headers(archive, length):
        if not any(part.startswith(".") and part != ".." for part in member.name.split("/")):
            yield member


def _is_index(path: str) -> bool:
    """Whether there is an index, whole or damaged; a JSON file without "files" (captions, say) is another thing."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            next(entries(file, inside="files"), None)
        return True
    except FileNotFoundError:
        return False
    except JsonError as error:
        return not error.absent


def _from_index(path: str, length: int) -> Iterator[Member]:
    """The members that the JSON index names; PictureError at the place where it is damaged."""
    name = os.path.basename(path)  # noqa: PTH119
    beside: dict[str, Any] = {}
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            for key, value in entries(file, inside="files", beside=beside):
                size = beside.get("filesize", length)
                if size != length:
                    raise PictureError(
                        f"its index {name} is of a tar file of {size} bytes, but this one has {length}; "
                        "delete the index or make it anew"
                    )
                place = value if isinstance(value, dict) else {}
                yield _checked(key, place.get("offset"), place.get("size"), length)
    except JsonError as error:
        raise PictureError(f"its index {name} is damaged ({error}); delete it or make it anew") from None


def _from_headers(archive: str, length: int) -> Iterator[Member]:
    """The plain members by the tar file's own headers, of which alone is read; PictureError where they are damaged."""
    count, last = 0, -1
    with open(archive, "rb") as file:  # noqa: PTH123
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    if tar.offset <= last:
                        raise tarfile.ReadError("a header leads back")
                    last, count = tar.offset, count + 1
                    tar.members = []  # type: ignore[attr-defined]  # the library would keep them all
                    if info.isreg() and not info.issparse():
                        yield _checked(info.name, info.offset_data, info.size, length)
                file.seek(tar.offset)
                end = file.read(tarfile.BLOCKSIZE)
                if not end or any(end):  # the library takes a damaged header for the end
                    raise tarfile.ReadError("its end is missing" if not end else "a header is damaged")
        except PictureError:
            raise
        except Exception as error:  # whatever the reader stumbles over is the file's fault
            text = str(error) or type(error).__name__
            after = (
                f"the archive is damaged after {count:,} members" if count else "not a tar archive, or a damaged one"
            )
            raise PictureError(f"{after} ({text})") from error


def _checked(name: str, offset: Any, size: Any, length: int) -> Member:
    """The member that an index or a header describes, with the reason against it, if there is one."""
    name = name.removeprefix("./")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        printable = name.encode("utf-8", "backslashreplace").decode()
        return Member(printable, 0, 0, "its name is not valid UTF-8")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return Member(name, 0, 0, _OUTSIDE)
    if "" in parts or "\0" in name:
        return Member(name.replace("\0", "\\0"), 0, 0, "its name is not that of a file")
    if type(offset) is not int or type(size) is not int or offset < 0 or size < 0:
        return Member(name, 0, 0, "the index does not say where in the archive it lies")
    if offset + size > length:
        return Member(name, 0, 0, _BEYOND)
    return Member(name, offset, size)
