"""Export: copies pictures of an index into one tar file with a JSON index beside it (hfutils' layout)."""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import xxhash

from core import atomic
from core.data import source
from core.data.archive_index import write_index_of
from core.data.archives import Member, index_file
from core.data.export_folder import EXAMPLES, ExportResult
from core.data.index import Picture
from core.data.subset import Names, files_of
from core.errors import UserError, disk_sentence


def export_tar(
    pictures: Iterator[Picture],
    names: Names,
    target: Path,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ExportResult:
    """Copy pictures with their captions into a new tar file, and write its index.

    It is written under a hidden name beside the target. An export that was killed goes on there: what stands in that
    file and is what would be written is kept, from the first difference on it is written anew. Of two pictures that
    would get the same name the first is copied.

    Args:
        progress: Called with the pictures done; may raise to stop.

    Raises:
        UserError: the target exists and may not be overwritten; the disk is full or cannot be written.
    """
    index = Path(index_file(str(target)))
    part = target.with_name(f".{target.name}.export")
    if not overwrite:
        for path in (target, index):
            if path.exists() and (path == target or not part.exists()):
                raise UserError(f"{path} exists already. Choose another name, or say --overwrite.")
    result = ExportResult()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if part.exists() else "w+b") as file:
            _Writer(file, names, result).write(pictures, progress)
        atomic.flush(part)
        write_index_of(part, _members(part), index)
        part.replace(target)
        atomic.flush(target.parent)
    except OSError as error:
        raise UserError(disk_sentence(error) or f"{target} cannot be written ({error}).") from error
    return result


class _Writer:
    """Writes pictures behind each other into a tar file, as far as they do not stand there yet."""

    def __init__(self, file: BinaryIO, names: Names, result: ExportResult) -> None:
        self._file = file
        self._names = names
        self._result = result
        self._used: set[int] = set()

    def write(self, pictures: Iterator[Picture], progress: Callable[[int], None] | None) -> None:
        """Write all pictures, and the end of the tar file."""
        kept = _Kept(self._file)
        tar: tarfile.TarFile | None = None
        for done, picture in enumerate(pictures, start=1):
            files = self._files(picture)
            if files and (tar is not None or not kept.has(files)):
                if tar is None:
                    self._file.seek(kept.end)
                    self._file.truncate()
                    tar = tarfile.TarFile(fileobj=self._file, mode="w")
                for name, content, changed in files:
                    info = tarfile.TarInfo(name)
                    info.size, info.mtime = len(content), changed
                    tar.addfile(info, io.BytesIO(content))
                tar.members = []  # type: ignore[attr-defined]  # the library would keep them all
                self._result.written += len(files)
            self._result.pictures += bool(files)
            self._result.captions += max(0, len(files) - 1)
            if progress is not None:
                progress(done)
        self._file.seek(kept.end if tar is None else tar.offset)
        self._file.truncate()
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))

    def _files(self, picture: Picture) -> list[tuple[str, bytes, int]]:
        """(name, content, time of change) of the picture and its captions; none where it cannot be copied."""
        name = self._names.of(picture.path)
        try:
            content = source.read_bytes(picture.path)
            changed = source.changed_ns(picture.path) // 1_000_000_000
        except OSError as error:
            self._result.broken.append((picture.path, f"it cannot be read ({error.strerror or error})"))
            return []
        if not self._is_free(name):
            self._result.others += 1
            self._result.examples += [picture.path] * (len(self._result.examples) < EXAMPLES)
            return []
        texts = [(text, data, changed) for text, data in files_of(picture, name) if self._is_free(text)]
        return [(name, content, changed), *texts]

    def _is_free(self, name: str) -> bool:
        """Whether nothing of this name was written; it is taken then. a.jpg and a.png share their captions."""
        key = xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))
        free = key not in self._used
        self._used.add(key)
        return free


class _Kept:
    """What an earlier export wrote, compared member by member; `end` is where the first difference lies."""

    def __init__(self, file: BinaryIO) -> None:
        self.end = 0
        self._file = file
        self._length = file.seek(0, io.SEEK_END)
        self._infos = self._read()

    def _read(self) -> Iterator[tarfile.TarInfo]:
        self._file.seek(0)
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                while (info := tar.next()) is not None and info.offset_data + info.size <= self._length:
                    tar.members = []  # type: ignore[attr-defined]  # the library would keep them all
                    yield info
        except (tarfile.TarError, OSError):
            return

    def has(self, files: list[tuple[str, bytes, int]]) -> bool:
        """Whether these files come next."""
        end = self.end
        for (name, content, changed), info in itertools.zip_longest(files, itertools.islice(self._infos, len(files))):
            if info is None or (info.name, info.size, info.mtime) != (name, len(content), changed):
                return False
            self._file.seek(info.offset_data)
            if self._file.read(info.size) != content:
                return False
            end = info.offset_data + info.size + -info.size % tarfile.BLOCKSIZE
        self.end = end
        return True


def _members(path: Path) -> Iterator[Member]:
    """The members of the file just written."""
    with tarfile.open(path, "r:") as tar:
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # the library would keep them all
            yield Member(info.name, info.offset_data, info.size)
