"""Tests of core/data/token_jobs.py: the same numbers as in the program itself, from a process that comes and goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.data.token_jobs import TokenCounter, TokenJob
from core.data.tokens import CaptionTokenizer, tokenizer_folder
from core.errors import Stopped, UserError
from core.paths import ROOT
from tests.fixtures.processes import reader_processes

TEXTS = ["one two, three four", "", "a", "cat " * 90, "half \ud800 a pair, naïve 中文", "don't!!"]


@pytest.fixture
def counter():
    made = TokenCounter()
    yield made
    made.close()


@pytest.mark.parametrize("limit", [1, 3, 75])
def test_the_numbers_are_those_of_the_tokenizer(counter: TokenCounter, limit: int) -> None:
    ours = CaptionTokenizer(tokenizer_folder())
    found = counter.open(tokenizer_folder()).measure(TEXTS, limit)
    assert [tokens for tokens, _ in found] == ours.count(TEXTS).tolist()
    assert [text[:read] for text, (_, read) in zip(TEXTS, found, strict=True)] == [
        ours.cut(text, limit)[0] for text in TEXTS
    ]


def test_the_process_is_started_once_and_ends(counter: TokenCounter) -> None:
    far = counter.open(tokenizer_folder())
    assert far.measure([], 75) == [] and not reader_processes()
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(far.measure(["a cat"], 75))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[(2, 5)]] * 4 and len(reader_processes()) == 1
    reader_processes()[0].kill()
    assert far.measure(["two cats"], 75) == [(2, 8)]  # by another process
    counter.close()
    assert not reader_processes()
    with pytest.raises(Stopped):
        far.measure(["a cat"], 75)


def test_a_damaged_tokenizer_is_told(counter: TokenCounter, tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        counter.open(tmp_path).measure(["a cat"], 75)
    assert counter.open(tokenizer_folder()).measure(["a cat"], 75) == [(2, 5)]


def test_halves_of_a_job_are_the_whole() -> None:
    job = TokenJob(str(tokenizer_folder()), TEXTS[:3], 2)
    first, second = (half.run(False) for half in job.halves())
    assert job.joined(first, second) == job.run(False)
    assert (len(job), len(job.halves()[0]), len(job.halves()[1])) == (3, 1, 2)


def test_the_library_stays_out_of_the_program() -> None:
    """A window that loads it, or builds a tokenizer, stands still meanwhile."""
    code = (
        "import sys; from core.data.token_jobs import TokenCounter; from core.data.tokens import tokenizer_folder\n"
        "counter = TokenCounter(); assert counter.open(tokenizer_folder()).measure(['a cat'], 75) == [(2, 5)]\n"
        "counter.close(); print('tokenizers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ.copy(), timeout=120
    )
    assert done.stdout.split() == ["False"], done.stderr
