"""What a person writes about a run: a note, bookmarked steps, the run's colour; a small file in the run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import xxhash

from core import atomic
from core.errors import UserError

#: Format that is written, and the newest that is read.
_FORMAT = 1
#: Characters of a note or of a bookmark's words; more is cut.
_LONGEST = 4000


class Bookmark(msgspec.Struct, frozen=True):
    """A step that someone wants to find again, with a few words."""

    step: int
    text: str = ""


class Notes(msgspec.Struct, frozen=True):
    """All of a run's notes.json.

    Attributes:
        note: Free text.
        bookmarks: By step, one at each.
        color: Number of the run's colour, the same wherever it is drawn; -1: it has none yet.
    """

    format: int = _FORMAT
    note: str = ""
    bookmarks: list[Bookmark] = []
    color: int = -1

    @property
    def first_line(self) -> str:
        """The first line of the note, for lists."""
        return self.note.strip().split("\n", 1)[0]

    def with_bookmark(self, step: int, text: str = "") -> Notes:
        """The same with a bookmark at a step; one that is there already gets the new words."""
        others = [mark for mark in self.bookmarks if mark.step != step]
        marks = sorted([*others, Bookmark(step, text[:_LONGEST])], key=lambda mark: mark.step)
        return msgspec.structs.replace(self, bookmarks=marks)

    def without_bookmark(self, step: int) -> Notes:
        """The same without the bookmark at a step."""
        return msgspec.structs.replace(self, bookmarks=[mark for mark in self.bookmarks if mark.step != step])


def notes_path(run_path: Path) -> Path:
    """Where a run's notes are kept."""
    return run_path / "notes.json"


def read(run_path: Path) -> Notes:
    """The notes of a run folder; empty ones when there are none, or the file cannot be understood."""
    try:
        found = msgspec.json.decode(notes_path(run_path).read_bytes(), type=Notes)
    except (OSError, msgspec.MsgspecError):
        return Notes()
    return found if found.format <= _FORMAT else Notes()


def write(run_path: Path, notes: Notes) -> None:
    """Replace the notes of a run folder. UserError when they cannot be written, or a newer version wrote them."""
    path = notes_path(run_path)
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        present = msgspec.json.decode(path.read_bytes(), type=Notes)
        if present.format > _FORMAT:
            raise UserError(f"{path} was written by a newer version of Burnish. Update Burnish to change it.")
    kept = msgspec.structs.replace(notes, note=notes.note[:_LONGEST])
    try:
        atomic.write_text(path, msgspec.json.format(msgspec.json.encode(kept), indent=1).decode())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}), so the note is not kept.") from None


def color_of(run_path: Path, taken: Iterable[int], many: int) -> int:
    """The number of a run's colour, 0 to `many` - 1: the one it has, else that which the fewest of `taken` have.

    The choice is written into the run folder, so that the run has it in every page and after a restart. In a folder
    that cannot be written it follows from the path.
    """
    notes = read(run_path)
    if notes.color >= 0:
        return notes.color
    used = [number % many for number in taken]
    chosen = min(range(many), key=lambda number: (used.count(number), number))
    try:
        write(run_path, msgspec.structs.replace(notes, color=chosen))
    except UserError:
        return int(xxhash.xxh3_64_intdigest(str(run_path).encode()) % many)
    return chosen
