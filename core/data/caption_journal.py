"""The journal of caption edits: old and new text of every file, so that an edit can be undone, even after a crash."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from core.data.caption_edit import Change, Progress
from core.errors import Stopped, UserError

State = Literal["applied", "undone", "unfinished"]

_FORMAT = 1
#: Files that are noted, then written, at once: what a crash leaves between noted and written.
_BATCH = 500
#: Edits that are kept; older ones can no longer be undone.
_KEPT = 50
_SENTENCES = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One edit in the journal.

    Attributes:
        words: What it did.
        files: How many files it changed; -1 where nobody counted (a crash).
        state: "unfinished" is one that was cut off, by a crash or the power; undo and redo both mend it.
    """

    path: Path
    words: str
    time: float
    files: int
    state: State


@dataclass(slots=True)
class Outcome:
    """What became of the files of an edit. `kept` are sentences about files that were left as they are."""

    files: int = 0
    left: int = 0
    stopped: bool = False
    kept: list[str] = field(default_factory=list)


#: Told after files have been written: the changes of a batch.
Tell = Callable[[Sequence[Change]], None]


class Journal:
    """The edits of the captions below some folders. One process uses it at a time.

    A file per edit: a line that says what, a line per file (old and new bytes), at the end a line that says how far
    it came. Lines are on the disk before the files they tell of are touched; caption files are replaced whole.
    """

    def __init__(self, folder: Path, roots: Sequence[str] = ()) -> None:
        """`folder` holds the journal; `roots` are the picture folders, edits of others are not listed."""
        self.folder = folder
        self.roots = sorted(roots)

    def entries(self) -> list[Entry]:
        """The edits that can be undone or done again, oldest first."""
        found = []
        for path in sorted(self.folder.glob("*.jsonl")):
            entry = self._entry(path)
            if entry is not None:
                found.append(entry)
        return found

    def undoable(self) -> Entry | None:
        """The newest edit that is in force."""
        return next((entry for entry in reversed(self.entries()) if entry.state != "undone"), None)

    def redoable(self) -> Entry | None:
        """The oldest edit after those in force."""
        undone = list(itertools.takewhile(lambda entry: entry.state == "undone", reversed(self.entries())))
        return undone[-1] if undone else None

    def apply(self, words: str, changes: Iterable[Change], tell: Tell | None = None) -> Outcome:
        """Note and write the changes; gives what was done.

        A Stopped that `changes` raises ends it early; what was done till then can be undone, as after any error.
        UserError: a disk that is full or may not be written.
        """
        self._forget_undone()
        outcome = Outcome()
        with _told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:6]}.jsonl"
            with path.open("w", encoding="ascii", newline="\n") as file:
                _append(file, [{"format": _FORMAT, "words": words, "time": time.time(), "roots": self.roots}])
                try:
                    self._apply(file, changes, tell, outcome)
                except Stopped:
                    outcome.stopped = True
                finally:
                    _settle()
                    _append(file, [{"state": "applied", "files": outcome.files}])
            if not outcome.files:
                path.unlink(missing_ok=True)
            self._forget_old()
        return outcome

    def _apply(self, file: IO[str], changes: Iterable[Change], tell: Tell | None, outcome: Outcome) -> None:
        for batch in _batches(iter(changes)):
            _append(file, [_line(change) for change in batch])
            done = [change for change in batch if _turned(change, "applied", outcome)]
            outcome.files += len(done)
            if tell is not None:
                tell(done)

    def undo(self, entry: Entry, tell: Tell | None = None, progress: Progress | None = None) -> Outcome:
        """Give the files their old texts. A file that somebody changed since is left as it is, and told."""
        return self._turn(entry, "undone", tell, progress)

    def redo(self, entry: Entry, tell: Tell | None = None, progress: Progress | None = None) -> Outcome:
        """Give the files the new texts again; likewise."""
        return self._turn(entry, "applied", tell, progress)

    def _turn(self, entry: Entry, state: State, tell: Tell | None, progress: Progress | None) -> Outcome:
        outcome = Outcome()
        seen = 0
        torn = entry.state == "unfinished"
        with _told(self.folder), entry.path.open("a", encoding="ascii", newline="\n") as file:
            file.write("\n")  # ends a line that a crash may have cut off; empty lines are skipped
            _append(file, [{"state": "unfinished", "files": entry.files}])
            try:
                for batch in _batches(_changes(entry.path)):
                    done = [change for change in batch if _turned(change, state, outcome, torn)]
                    seen, outcome.files = seen + len(batch), outcome.files + len(done)
                    if tell is not None:
                        tell(done)
                    if progress is not None:
                        progress(seen, max(entry.files, seen))
            except Stopped:
                outcome.stopped = True
                return outcome
            _settle()
            _append(file, [{"state": state, "files": entry.files}])
        return outcome

    def _entry(self, path: Path) -> Entry | None:
        """What a journal file tells of itself; None for one of other folders, or no journal."""
        try:
            with path.open("rb") as file:
                head = json.loads(file.readline())
                last = _last_line(file)
        except (OSError, ValueError):
            return None
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            return None
        if self.roots and not set(self.roots) & set(head.get("roots", [])):
            return None
        state = last.get("state", "unfinished")
        return Entry(path, str(head["words"]), float(head["time"]), int(last.get("files", -1)), state)

    def _forget_undone(self) -> None:
        """A new edit makes those that were undone unreachable."""
        for entry in reversed(self.entries()):
            if entry.state != "undone":
                return
            entry.path.unlink(missing_ok=True)

    def _forget_old(self) -> None:
        for entry in self.entries()[:-_KEPT]:
            entry.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise UserError(
            f"{where} cannot be written ({error.strerror or error}). What was changed until then can be undone."
        ) from error


def _append(file: IO[str], lines: Iterable[dict[str, Any]]) -> None:
    """Lines that are on the disk when this returns."""
    file.writelines(json.dumps(line) + "\n" for line in lines)
    file.flush()
    os.fsync(file.fileno())


def _last_line(file: IO[bytes]) -> dict[str, Any]:
    """The state that stands at the end; {} when the file ends in the middle of an edit."""
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(max(0, size - 200))
    lines = file.read().split(b"\n")
    if lines[-1]:
        return {}
    try:
        found = json.loads(lines[-2])
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "state" in found else {}


def _line(change: Change) -> dict[str, Any]:
    return {
        "id": change.number,
        "picture": change.picture,
        "file": change.file,
        "old": _shown(change.old),
        "new": _shown(change.new),
    }


def _shown(data: bytes | None) -> Any:
    """Bytes as JSON: text where they are UTF-8, else {"base64": ...}; null for no file."""
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _bytes(shown: Any) -> bytes | None:
    if isinstance(shown, dict):
        return base64.b64decode(shown["base64"])
    return None if shown is None else str(shown).encode("utf-8")


def _changes(path: Path) -> Iterator[Change]:
    """The files of an edit; a line that was cut off is none, since its file was not touched yet."""
    with path.open("rb") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and "file" in found:
                old, new = _bytes(found["old"]), _bytes(found["new"])
                yield Change(int(found["id"]), found["picture"], found["file"], old, new, "", "")


def _batches(changes: Iterator[Change]) -> Iterator[list[Change]]:
    """Lists of at most _BATCH; a Stopped on the way comes after what was found before it."""
    while True:
        batch: list[Change] = []
        try:
            for change in itertools.islice(changes, _BATCH):
                batch.append(change)
        except Stopped:
            if batch:
                yield batch
            raise
        if not batch:
            return
        yield batch


def _turned(change: Change, state: State, outcome: Outcome, torn: bool = False) -> bool:
    """Write the wanted side of a change, where the file still is the other side. `torn`: an empty file counts as
    that too, for the power may have taken its bytes while it was written."""
    wanted, other = (change.old, change.new) if state == "undone" else (change.new, change.old)
    try:
        now: bytes | None = Path(change.file).read_bytes()
    except FileNotFoundError:
        now = None
    except OSError as error:
        _keep(outcome, f"{change.file} cannot be read ({error.strerror or error}).")
        return False
    if now == wanted:
        return False
    if now != other and not (torn and now == b""):
        _keep(outcome, f"{change.file} was changed by someone else since; it stays as it is.")
        return False
    return _write(change.file, wanted, outcome)


def _write(file: str, data: bytes | None, outcome: Outcome) -> bool:
    """Replace a file whole, or take it away; False, and a sentence, where it may not be written.

    It is not flushed one by one, which would take minutes for thousands: the journal on the disk knows both texts
    until _settle() has run.
    """
    path = Path(file)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if data is None:
            path.unlink(missing_ok=True)
            return True
        temporary.write_bytes(data)
        if path.exists():
            shutil.copymode(path, temporary)
        if os.name == "nt":
            with temporary.open("rb+") as opened:
                os.fsync(opened.fileno())
        os.replace(temporary, path)
    except PermissionError as error:
        temporary.unlink(missing_ok=True)
        _keep(outcome, f"{file} cannot be written ({error.strerror or error}).")
        return False
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return True


def _settle() -> None:
    """Everything written so far is on the disk (where the system has no such call, each file was flushed)."""
    if hasattr(os, "sync"):
        os.sync()


def _keep(outcome: Outcome, sentence: str) -> None:
    outcome.left += 1
    if len(outcome.kept) < _SENTENCES:
        outcome.kept.append(sentence)
