"""Captions: tokens counted and texts composed, in captions a second of one core."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np

from core.data.captions import Captions, compose
from core.data.tokens import CaptionTokenizer, tokenizer_folder
from core.settings.data import DataSettings
from tests.benchmarks.common import Figure

_COUNT = 40_000


def run() -> dict[str, Figure]:
    """Rates by the processor's time, so that a busy machine counts less."""
    texts = _texts()
    tokenizer = CaptionTokenizer(tokenizer_folder())
    figures = {
        "tokens counted, words new": _rate(lambda: tokenizer.count(texts), len(texts), 20_000),
        "tokens counted, words known": _rate(lambda: tokenizer.count(texts), len(texts), 20_000),
    }
    data = DataSettings(captions="tags", shuffle_tags=True)
    ruled = DataSettings(
        captions="tags",
        shuffle_tags=True,
        tag_dropout=0.1,
        tag_rules=["rating:*", "old -> new"],
        underscores_to_spaces=True,
    )
    for name, page in (("composed, shuffled", data), ("composed, with rules", ruled)):
        figures[name] = _rate(lambda page=page: _compose(texts[:4000], page), 4000, 5_000)
    return figures


def _compose(texts: list[str], data: DataSettings) -> None:
    source = np.random.default_rng(0)
    for text in texts:
        compose(Captions(text, ""), data, source)


def _rate(work: Callable[[], object], count: int, goal: int) -> Figure:
    began = time.process_time()
    work()
    rate = count / (time.process_time() - began)
    return Figure(rate, "captions/s", f">= {goal:,}", rate >= goal)


def _texts() -> list[str]:
    """Lists of 5 to 45 tags out of 60,000, as a booru has them, the usual ones far more often."""
    source = random.Random(0)
    syllables = ["ka", "ri", "mo", "ten", "sha", "blu", "red", "ing", "er", "lo", "na", "py"]
    words = ["".join(source.choices(syllables, k=source.randint(1, 4))) for _ in range(20_000)]
    tags = ["_".join(source.choices(words, k=source.choice([1, 1, 2, 3]))) for _ in range(60_000)]
    weights = [1 / (place + 10) for place in range(len(tags))]
    lengths = [source.randint(5, 45) for _ in range(_COUNT)]
    drawn = source.choices(tags, weights, k=sum(lengths))
    ends = np.cumsum(lengths).tolist()
    return [", ".join(drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
