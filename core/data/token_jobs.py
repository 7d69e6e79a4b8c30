"""Counts tokens in processes beside the program: whoever builds a tokenizer holds up all its threads meanwhile.

The library builds CLIP's vocabulary under Python's lock, and reading the files before that is plain Python: 0.2 s in
which a window draws nothing. Here both happen in a reader process (core/data/readers.py), which also keeps the counts
of words that it has seen.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from core.data.readers import Readers
from core.data.reading import CRASHED
from core.data.tokens import Measures, open_tokenizer
from core.errors import Stopped, UserError


@dataclass(slots=True)
class Lengths:
    """The answer to a TokenJob, text by text.

    Attributes:
        tokens: Without the beginning and the end.
        read: Letters that are read.
        problem: Why nothing could be counted, a sentence for the user; "" where it could.
    """

    tokens: list[int]
    read: list[int]
    problem: str = ""

    def known(self) -> Lengths:
        """Itself; UserError where nothing could be counted."""
        if self.problem:
            raise UserError(self.problem)
        return self


@dataclass(frozen=True, slots=True)
class TokenJob:
    """Texts to count by the tokenizer in a folder, and how much of each is read at `limit` tokens."""

    ANSWER: ClassVar[type[Lengths]] = Lengths

    folder: str
    texts: list[str]
    limit: int

    def __len__(self) -> int:
        return len(self.texts)

    def run(self, patient: bool) -> Lengths:
        """See core.data.reading.Job; the process keeps its tokenizer for the next job."""
        try:
            pairs = open_tokenizer(Path(self.folder)).measure(self.texts, self.limit)
        except UserError as error:
            return Lengths([], [], str(error))
        return Lengths([tokens for tokens, _ in pairs], [read for _, read in pairs])

    def halves(self) -> tuple[TokenJob, TokenJob]:
        """See Job."""
        middle = len(self.texts) // 2
        return self._of(self.texts[:middle]), self._of(self.texts[middle:])

    def _of(self, texts: list[str]) -> TokenJob:
        return TokenJob(self.folder, texts, self.limit)

    def joined(self, first: Lengths, second: Lengths) -> Lengths:
        """See Job."""
        return Lengths(first.tokens + second.tokens, first.read + second.read, first.problem or second.problem)

    def crashed(self) -> Lengths:
        """See Job."""
        return Lengths([], [], f"Tokens cannot be counted with the tokenizer in {self.folder}: {CRASHED}.")


def token_job(folder: Path, texts: Sequence[str], limit: int) -> TokenJob:
    """A TokenJob of texts that may hold what is no letter (half a surrogate pair) and could not travel."""
    return TokenJob(str(folder), [text.encode("utf-8", "replace").decode() for text in texts], limit)


class TokenCounter:
    """A process that counts, started when it is first asked; any thread may ask. Close it."""

    def __init__(self) -> None:
        self._readers = Readers(alone=0, processes=1)
        self._starting = threading.Lock()
        self._closed = False

    def open(self, folder: Path) -> Measures:
        """The tokenizer in a folder; UserError comes when it is used and cannot be read."""
        return _Far(self, folder)

    def ask(self, job: TokenJob) -> Lengths:
        """The answer to a job. UserError for a damaged tokenizer, Stopped once this is closed."""
        try:
            found = self._ask(job)
            if found.problem == job.crashed().problem:  # or the process was ended by the system while it had no job
                found = self._ask(job)
        except (OSError, EOFError, CancelledError):
            if self._closed:
                raise Stopped from None
            raise
        return found.known()

    def _ask(self, job: TokenJob) -> Lengths:
        with self._starting:
            if self._closed:
                raise Stopped
            answer = self._readers.submit(job)
        found: Lengths = answer.result()
        return found

    def close(self) -> None:
        """End the process; whoever waits for it gets Stopped."""
        with self._starting:
            self._closed = True
            self._readers.close()


@dataclass(frozen=True, slots=True)
class _Far:
    """Measures."""

    counter: TokenCounter
    folder: Path

    def measure(self, texts: Sequence[str], limit: int) -> list[tuple[int, int]]:
        """See Measures."""
        if not texts:
            return []
        found = self.counter.ask(token_job(self.folder, texts, limit))
        return list(zip(found.tokens, found.read, strict=True))
