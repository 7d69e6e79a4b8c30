"""The report on a dataset: what will be trained on, cropped, enlarged or left out, before anything starts."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.buckets import Fits, fit_many
from core.data.captions import split_tags
from core.data.index import Picture
from core.data.order import batches_in
from core.data.split import split
from core.settings import Settings

#: How many of the most cropped pictures and of the tags are named.
_WORST = 10
_TOP_TAGS = 100


@dataclass(slots=True)
class Report:
    """What the dataset page and `main.py index --json` show.

    Attributes:
        images: Usable pictures.
        captioned: Usable pictures with a caption of either kind.
        broken: {"path", "reason"} of the files that cannot be used.
        buckets: {"width", "height", "count"} of the buckets that are not empty, sorted.
        mean_ar_error: Mean of |bucket's width/height - picture's|, kohya's "mean ar error".
        steps_per_epoch: Changes of the weights in an epoch of the training part.
        cropped_share: Mean share of a picture's pixels that is cut off, 0 to 1.
        most_cropped: {"path", "share"} of the pictures that lose most, worst first.
        upscaled: Pictures that are enlarged.
        caption_problems: {"path", "problem"}.
        without_caption: Usable pictures without any caption.
        tags: The most frequent tags and in how many pictures they stand, most frequent first.
        validation, train: Pictures held out and trained on.
    """

    images: int
    captioned: int
    broken: list[dict[str, str]]
    buckets: list[dict[str, int]]
    mean_ar_error: float
    steps_per_epoch: int
    cropped_share: float
    most_cropped: list[dict[str, Any]]
    upscaled: int
    caption_problems: list[dict[str, str]]
    without_caption: int
    tags: dict[str, int]
    validation: int
    train: int

    def to_json(self) -> dict[str, Any]:
        """The report as json.dumps() takes it, with the keys of the attributes."""
        return asdict(self)


def make_report(pictures: Iterable[Picture], broken: Iterable[Picture], settings: Settings) -> Report:
    """Work out the report of the usable pictures and the broken ones; reads no file.

    While content hashes are missing the split is estimated: its size is right, but which pictures it holds
    out, and so the number of short batches, may differ a little.
    """
    pictures = list(pictures)
    sizes = np.array([(picture.width, picture.height) for picture in pictures], dtype=np.int64).reshape(-1, 2)
    fits = fit_many(sizes, settings.data)
    cropped = fits.cropped_share()
    captioned = sum(bool(picture.tags or picture.natural) for picture in pictures)
    hashes = [picture.content_hash for picture in pictures]
    if not all(hashes):
        hashes = [picture.path for picture in pictures]
    parts = split(hashes, settings.validation)
    worst = heapq.nlargest(_WORST, np.flatnonzero(cropped > 0).tolist(), key=lambda place: cropped[place])
    problems = [p for p in pictures if p.caption_problem]
    return Report(
        images=len(pictures),
        captioned=captioned,
        broken=[{"path": picture.path, "reason": picture.reason} for picture in broken],
        buckets=_counts(fits),
        mean_ar_error=_mean(fits.ar_error),
        steps_per_epoch=steps_per_epoch(fits.bucket[parts.train], settings),
        cropped_share=_mean(cropped),
        most_cropped=[{"path": pictures[place].path, "share": float(cropped[place])} for place in worst],
        upscaled=int((fits.resized > sizes).any(axis=1).sum()),
        caption_problems=[{"path": p.path, "problem": p.caption_problem} for p in problems],
        without_caption=len(pictures) - captioned,
        tags=count_tags(picture.tags for picture in pictures),
        validation=len(parts.validation),
        train=len(parts.train),
    )


def steps_per_epoch(buckets: NDArray[np.int32], settings: Settings) -> int:
    """Changes of the weights in an epoch over pictures of these bucket numbers; 0 without pictures."""
    if not len(buckets):
        return 0
    batch = settings.training.batch_size * settings.hardware.processes
    return -(-batches_in(np.bincount(buckets), batch) // settings.training.accumulation)


def count_tags(texts: Iterable[str], top: int = _TOP_TAGS) -> dict[str, int]:
    """The `top` most frequent tags: in how many of the texts each stands, equals in order of the alphabet."""
    counter: Counter[str] = Counter()
    for text in texts:
        counter.update({tag for line in text.splitlines() for tag in split_tags(line)})
    best = heapq.nsmallest(top, counter.items(), key=lambda item: (-item[1], item[0]))
    return dict(best)


def _counts(fits: Fits) -> list[dict[str, int]]:
    counts = np.bincount(fits.bucket, minlength=len(fits.buckets)).tolist()
    pairs = zip(fits.buckets, counts, strict=True)
    return [{"width": width, "height": height, "count": count} for (width, height), count in pairs if count]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
