"""A captioning job: pictures in, words beside them out; resumable, and never unasked over words of people."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core import atomic, caption_job, paths, registry
from core import events as ev
from core.caption_job import CaptionSettings
from core.captioners._words import Captioner, Shot, Words, added, as_sentence, as_tags
from core.engine.caption_journal import KEPT, WRITTEN, DoneFile, OwnWords, Replaced, Unfinished
from core.engine.caption_pictures import Beside, Kind, Read, Reader, Target, find, read_beside
from core.engine.control import Control
from core.errors import UserError
from core.quantities import show_foretold
from core.runs import Run

if TYPE_CHECKING:
    from core.data.index import Index

_log = logging.getLogger("burnish")

#: Seconds between two Progress events, and between two pictures that are shown with their words.
_TELL_SECONDS, _SHOW_SECONDS = 0.25, 1.0
#: Pictures that are shown each time.
_SHOWN = 3
#: Broken pictures that are named; the others are only counted.
_MOST_NAMED = 200
#: Seconds back to which the rate looks.
_RATE_SECONDS = 60.0


def caption_events(job: Run, control: Control) -> Iterator[ev.Event]:
    """Do, or go on with, a job: Progress, Captioned for some of the pictures, CaptionTotals, then Ended.

    Raises UserError when the model, the folders or the journal cannot be used.
    """
    settings = caption_job.load(job.path / caption_job.SETTINGS_FILE)
    folder = caption_job.require_model(settings)
    module, options = registry.chosen("captioners", settings)
    yield ev.Progress(phase="load", done=0, total=1)
    captioner = module.load(folder, options, settings.caption.device)
    for note in captioner.notes:
        yield ev.Message(text=note)
    with contextlib.ExitStack() as stack:
        work = Work(job, settings, captioner, control, stack)
        yield from work.events()


@dataclass(slots=True)
class Tally:
    """What became of the pictures so far."""

    written: int = 0
    kept: int = 0
    broken: int = 0

    @property
    def done(self) -> int:
        """All of them."""
        return self.written + self.kept + self.broken


@dataclass(slots=True)
class Result:
    """The words of one picture: `text` is what its caption file will say, `said` the new words alone."""

    read: Read
    said: str
    text: str
    own: bool = False


@dataclass
class Rate:
    """Pictures per second over the last minute."""

    marks: deque[tuple[float, int]] = field(default_factory=deque)

    def words(self, done: int, total: int) -> str:
        """ "4.2 pictures/s, 3 min 20 s left"; "" while nothing is known."""
        now = time.monotonic()
        self.marks.append((now, done))
        while len(self.marks) > 2 and now - self.marks[0][0] > _RATE_SECONDS:
            self.marks.popleft()
        seconds, pictures = now - self.marks[0][0], done - self.marks[0][1]
        if seconds < 1 or not pictures:
            return ""
        rate = pictures / seconds
        return f"{rate:,.1f} pictures/s, {show_foretold((total - done) / rate)} left"


class Work:
    """One worker's part of a job."""

    def __init__(
        self, job: Run, settings: CaptionSettings, captioner: Captioner, control: Control, stack: contextlib.ExitStack
    ) -> None:
        page = settings.caption
        self._settings = settings
        self._captioner = captioner
        self._control = control
        self._kind: Kind = caption_job.target(settings)
        self._rule = page.existing
        self._batch = page.batch
        self._preview = settings.pictures.preview
        chosen = caption_job.chosen_of(job, settings)
        self._index = stack.enter_context(_open_index(chosen.index)) if chosen.index else None
        fresh = self._rule == "keep" and not self._preview
        found = find(chosen, self._index, self._kind if fresh else None)
        self._total, self._targets = found.total, found.each
        self._own = stack.enter_context(contextlib.closing(OwnWords()))
        self._done = stack.enter_context(contextlib.closing(DoneFile(job.path / "done.bin")))
        self._unfinished = Unfinished(job.path / "writing.txt")
        self._replaced = Replaced(job.path / "replaced.jsonl")
        self._writers = stack.enter_context(ThreadPoolExecutor(max_workers=page.threads, thread_name_prefix="writing"))
        ahead = 2 * page.batch + page.threads
        if self._preview:
            self._total, ahead = min(self._total, self._preview), min(ahead, self._preview)
        self._reader = stack.enter_context(
            contextlib.closing(Reader(captioner.prepare, self._wanted, page.threads, ahead))
        )
        self._tally = Tally(written=self._done.counts[WRITTEN], kept=self._done.counts[KEPT])
        # What earlier workers wrote is in the index too by now.
        self._tally.kept += max(0, found.kept - self._tally.written)
        self._rate = Rate()
        self._told = self._shown = 0.0
        self._named = 0
        self._succeeded = False

    # -- the whole -----------------------------------------------------------------------------------------------

    def events(self) -> Iterator[ev.Event]:
        """Everything that is not done yet, batch by batch."""
        state = "finished"
        yield self._progress()
        waiting: list[Read] = []
        for read in self._reader.read(self._missing()):
            yield from self._pass_by(read)
            if read.pixels is not None:
                waiting.append(read)
            if len(waiting) >= self._batch:
                yield from self._caption(waiting)
                waiting = []
            if self._control.should_stop():
                state = "stopped"
                break
            yield from self._tell()
        if waiting and state == "finished":
            yield from self._caption(waiting)
        tally = self._tally
        if state == "finished":
            self._total = tally.done  # pictures may have gone since they were counted
        yield self._progress()
        yield ev.CaptionTotals(written=tally.written, kept=tally.kept, broken=tally.broken, preview=bool(self._preview))
        yield ev.Ended(state=state)

    def _missing(self) -> Iterator[Target]:
        """The pictures that no earlier worker has done; the first few for a preview."""
        given = 0
        for target in self._targets:
            if self._preview:
                if given == self._preview:
                    return
                given += 1
            elif target.path in self._done:
                continue
            yield target

    def _wanted(self, beside: dict[Kind, Beside], content: Callable[[], str]) -> bool:
        """Whether a picture is to be captioned, by the rule for captions that are there; called in reading threads."""
        mine = beside[self._kind]
        if mine.problem:
            raise UserError(f"{mine.problem.rstrip('.')}, so it is left alone")
        if self._preview or not mine.text or self._rule in ("add", "replace"):
            return True
        return self._rule == "renew" and self._own.has(content(), self._kind, mine.text)

    # -- telling -------------------------------------------------------------------------------------------------

    def _progress(self) -> ev.Event:
        done = min(self._tally.done, self._total)
        self._told = time.monotonic()
        text = self._rate.words(done, self._total)
        return ev.Progress(phase="caption", done=done, total=self._total, text=text)

    def _tell(self) -> Iterator[ev.Event]:
        if time.monotonic() - self._told > _TELL_SECONDS:
            yield self._progress()

    def _pass_by(self, read: Read) -> Iterator[ev.Event]:
        """Count a picture that is not captioned, and say so of a broken one."""
        if read.kept:
            self._tally.kept += 1
            self._note([(read.target.path, KEPT)])
        elif read.pixels is None:
            yield from self._break(read, read.reason)

    def _break(self, read: Read, reason: str) -> Iterator[ev.Event]:
        self._tally.broken += 1
        self._named += 1
        if self._named <= _MOST_NAMED:
            yield ev.Message(text=f"{read.target.path}: {reason}.", level="warning")
        if self._preview:
            yield ev.Captioned(path=read.target.path, kind=self._kind, action="broken", words=reason)

    def _note(self, done: list[tuple[str, int]]) -> None:
        if not self._preview:
            self._done.add(done)

    # -- captioning ----------------------------------------------------------------------------------------------

    def _caption(self, reads: list[Read]) -> Iterator[ev.Event]:
        """Find the words of some pictures and write them."""
        results: list[Result] = []
        failed: list[tuple[Read, Exception]] = []
        for read, words in self._ask(reads):
            if isinstance(words, Exception):
                failed.append((read, words))
            else:
                results.append(self._result(read, words))
        if failed and not results and not self._succeeded:
            error = failed[0][1]
            _log.error("no picture could be captioned", exc_info=error)
            raise UserError(f"The model could not caption a single picture ({_short(error)}).") from error
        self._succeeded = True
        for read, error in failed:
            yield from self._break(read, f"the model failed on it ({_short(error)})")
        yield from self._show(results)
        if self._preview:
            self._tally.written += sum(bool(result.text) for result in results)
        else:
            self._write([result for result in results if result.text])
        silent = [(result.read.target.path, KEPT) for result in results if not result.text]
        self._tally.kept += len(silent)
        self._note(silent)

    def _ask(self, reads: list[Read]) -> Iterator[tuple[Read, Words | Exception]]:
        """The words of each picture, or what went wrong with it: a batch that fails is asked again in halves."""
        shots = [
            Shot(read.pixels, read.target.path, read.beside["tags"].text, read.beside["natural"].text) for read in reads
        ]
        try:
            answers = self._captioner.caption(shots)
        except UserError:
            raise
        except Exception as error:  # one odd picture must not cost the others, nor too large a batch the job
            if len(reads) == 1:
                yield reads[0], error
                return
            half = len(reads) // 2
            if _is_memory(error):
                self._batch = max(1, min(self._batch, half))
                _free_memory()
                _log.warning("not enough memory for %d pictures at once, going on with %d", len(reads), self._batch)
            yield from self._ask(reads[:half])
            yield from self._ask(reads[half:])
            return
        yield from zip(reads, answers, strict=True)

    def _result(self, read: Read, words: Words) -> Result:
        """What the caption file of a picture will say."""
        page = self._settings.caption
        tags = self._kind == "tags"
        said = as_tags(words, page.leave_out, page.most_tags) if tags else as_sentence(words)
        old = read.beside[self._kind].text
        adds = self._rule == "add" and bool(old)
        text = added(old, said, self._kind) if adds and said else said
        return Result(read, said, "" if text == old else text, own=not adds)

    def _show(self, results: list[Result]) -> Iterator[ev.Event]:
        """The words of all pictures of a preview, else of a few now and then."""
        now = time.monotonic()
        if not self._preview and now - self._shown < _SHOW_SECONDS:
            return
        self._shown = now
        for result in results if self._preview else results[-_SHOWN:]:
            read = result.read
            yield ev.Captioned(
                path=read.target.path,
                kind=self._kind,
                action=self._action(result),
                words=result.said,
                before=read.beside[self._kind].text,
            )

    def _action(self, result: Result) -> str:
        """What the job does, or in a preview would do, with a picture's caption file."""
        old = result.read.beside[self._kind].text
        if not result.said:
            return "nothing"
        if not old:
            return "new"
        if self._rule == "keep" or (self._rule == "renew" and not self._is_own(result.read, old)):
            return "kept"
        return {"add": "added", "renew": "replaced"}.get(self._rule, "replaced")

    def _is_own(self, read: Read, text: str) -> bool:
        return self._own.has(read.content, self._kind, text)

    # -- writing -------------------------------------------------------------------------------------------------

    def _write(self, results: list[Result]) -> None:
        """Write a batch. First what will be ours, then the files, then that it is done: a kill between any two of these
        costs at most that the batch is done again."""
        self._own.add((one.read.content, self._kind, one.text) for one in results if one.own)
        self._unfinished.note(one.read.beside[self._kind].path for one in results)
        wrote = list(self._writers.map(self._write_one, results))
        written = [one for one, done in zip(results, wrote, strict=True) if done]
        self._teach_index(written)
        became = [WRITTEN if done else KEPT for done in wrote]
        self._note([(one.read.target.path, what) for one, what in zip(results, became, strict=True)])
        self._tally.written += len(written)
        self._tally.kept += len(results) - len(written)

    def _teach_index(self, written: list[Result]) -> None:
        """The index knows the new captions without another scan, and the contents that were hashed on the way."""
        if self._index is None:
            return
        self._index.learned((one.read.target.id, one.read.content, None) for one in written)
        for one in written:
            texts = {kind: found.text for kind, found in one.read.beside.items()} | {self._kind: one.text}
            self._index.set_captions(one.read.target.id, texts["tags"], texts["natural"])

    def _write_one(self, result: Result) -> bool:
        """In a thread. False where somebody has changed the caption since it was read; OSError ends the job."""
        beside = result.read.beside[self._kind]
        now = read_beside(Path(result.read.target.path), self._kind)
        if now.text != beside.text or now.problem:
            return False
        if self._rule == "replace" and beside.text and not self._is_own(result.read, beside.text):
            self._replaced.keep(beside.path, beside.text)
        atomic.write_text(beside.path, result.text + "\n")
        return True


def _open_index(name: str) -> Index:
    from core.data.index import Index

    path = paths.resolve(name)
    if not path.is_file():
        raise UserError(f"The index {path} does not exist (any more). Look at the pictures again, then start anew.")
    return Index(path)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _is_memory(error: Exception) -> bool:
    """Whether a batch failed for want of memory, on the GPU or beside it."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in str(error).lower()


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
