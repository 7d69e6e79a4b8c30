"""Writes the JSON index of a tar file, as hfutils does, so that members are found without reading its headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from core import atomic
from core.data.archives import Member, index_file, members
from core.data.reasons import PictureError
from core.errors import UserError

_BLOCK = 1 << 20


def write_index(archive: Path, overwrite: bool = False) -> Path:
    """Write the index of an archive beside it, all or nothing; gives its path.

    It holds the tar file's size, its hashes (as git and git LFS reckon them), and of every member where it lies, its
    size and its sha256. The whole tar file is read once.

    Raises:
        UserError: there is a file of that name already, or the archive is damaged.
        OSError: as reading and writing raise it.
    """
    path = Path(index_file(str(archive)))
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already. Say --overwrite to make it anew.")
    path.unlink(missing_ok=True)  # or it would be believed, and not the headers
    return write_index_of(archive, members(str(archive)), path)


def write_index_of(archive: Path, found: Iterator[Member], path: Path) -> Path:
    """The same with members that are known already, to any path; they come in the order of the archive."""
    length = archive.stat().st_size
    whole = _Hashes(length)
    try:
        with (
            atomic.replacing(path) as temporary,
            temporary.open("w", encoding="utf-8") as out,
            archive.open("rb") as file,
        ):
            out.write('{"files": {')
            first = True
            for member in found:
                if member.reason:
                    raise PictureError(f"{member.name}: {member.reason}")
                whole.skip_to(file, member.offset)
                values = {"offset": member.offset, "size": member.size, "sha256": whole.read(file, member.size)}
                out.write(f"{'' if first else ', '}{json.dumps(member.name)}: {json.dumps(values)}")
                first = False
            whole.skip_to(file, length)
            out.write(f'}}, "filesize": {length}, "hash": "{whole.git()}", "hash_lfs": "{whole.lfs()}"}}\n')
    except PictureError as error:
        raise UserError(f"No index of {archive} can be written: {error}.") from None
    return path


class _Hashes:
    """The hashes of a file that is read from front to back."""

    def __init__(self, length: int) -> None:
        self._git: Any = hashlib.sha1(f"blob {length}\0".encode(), usedforsecurity=False)
        self._lfs: Any = hashlib.sha256()

    def skip_to(self, file: BinaryIO, place: int) -> None:
        """Read on to a place."""
        if file.tell() > place:
            raise PictureError("its members overlap")
        self.read(file, place - file.tell())

    def read(self, file: BinaryIO, size: int) -> str:
        """Read so many bytes; their own sha256."""
        own = hashlib.sha256()
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            size -= len(block)
            for digest in (own, self._git, self._lfs):
                digest.update(block)
        return own.hexdigest()

    def git(self) -> str:
        return str(self._git.hexdigest())

    def lfs(self) -> str:
        return str(self._lfs.hexdigest())
