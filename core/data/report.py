"""The report on a dataset: what will be trained on, cropped, enlarged or left out, before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data import duplicates, rules
from core.data.applied import Applied
from core.data.around import in_all
from core.data.assignment import Assignment, batch_of
from core.data.columns import CAPTION_PROBLEM, HAS_NATURAL, HAS_TAGS, PHASH_KNOWN, Columns
from core.data.index import Index
from core.data.order import batches_in
from core.data.picture_filter import CROP
from core.data.tally import tally
from core.settings import Settings

Progress = Callable[[int, int], None]

#: How many of the most cropped pictures, the longest captions, the largest groups of duplicates and the tags are named.
_WORST = 10
_TOP_TAGS = 100

#: How many odd captions are named one by one.
_MOST_PROBLEMS = 1_000

#: Tells that captions were not counted; count_tokens() of core.data.learning does it.
NOT_COUNTED = "not counted yet"


@dataclass(slots=True)
class Report:
    """What the dataset page and `main.py index --json` show. Shares are of one; paths are whole.

    Attributes:
        images: Usable pictures.
        captioned: Usable pictures with a caption of either kind.
        broken: {"path", "reason"} of the files that cannot be used.
        plan: How buckets are chosen: data.buckets.
        buckets: {"width", "height", "count", "uses"} of the buckets that are not empty, sorted; uses are those of an
            epoch.
        mean_ar_error: Mean of |bucket's width/height - picture's|, kohya's "mean ar error".
        uses_per_epoch, batches_per_epoch, short_batches: Pictures that an epoch shows, repeats counted; its global
            micro-batches; how many of them are not full.
        steps_per_epoch: Changes of the weights in an epoch of the training part.
        cropped_share: Mean share of a picture's pixels that is cut off.
        cropped: Pictures that lose more than a hundredth.
        most_cropped: {"path", "share"} of the pictures that lose most, worst first.
        upscaled: Pictures that are enlarged.
        caption_problems: {"path", "problem"}, at most a thousand; caption_problem_count counts all.
        without_caption: Usable pictures without any caption.
        truncated: Pictures whose longest caption has more tokens than token_limit with the words that are put around
            it, as far as they were counted; uncounted is how many were not, and tokens says so in words.
        longest: {"path", "tokens"} of the longest captions that are cut.
        duplicates: Pictures too many, byte for byte; near_duplicates: those that only look alike, as far as pictures
            were looked at: unseen is how many were not.
        duplicate_groups: {"paths"} of the largest groups, ten paths each at most, and their "count".
        tags: The most frequent tags and in how many pictures they stand, most frequent first.
        validation, train: Pictures held out and trained on.
        folders: {"path", "role", "pictures", "train", "validation", "uses"} of each rule of data.folder_rules; path ""
            is the rest.
        dropped: {"what", "count"} of all that has no part in the training, and why; empty when nothing is dropped.
    """

    images: int
    captioned: int
    broken: list[dict[str, str]]
    plan: str
    buckets: list[dict[str, int]]
    mean_ar_error: float
    uses_per_epoch: int
    batches_per_epoch: int
    short_batches: int
    steps_per_epoch: int
    cropped_share: float
    cropped: int
    most_cropped: list[dict[str, Any]]
    upscaled: int
    caption_problems: list[dict[str, str]]
    caption_problem_count: int
    without_caption: int
    token_limit: int
    tokens: str
    truncated: int
    uncounted: int
    longest: list[dict[str, Any]]
    duplicates: int
    near_duplicates: int
    unseen: int
    duplicate_groups: list[dict[str, Any]]
    tags: dict[str, int]
    validation: int
    train: int
    folders: list[dict[str, Any]]
    dropped: list[dict[str, Any]]

    def batches_of(self, batch: int) -> int:
        """Global micro-batches of an epoch if they had so many pictures; what the buckets hold does not change."""
        return batches_in(np.array([bucket["uses"] for bucket in self.buckets], dtype=np.int64), batch)

    def to_json(self) -> dict[str, Any]:
        """The report as json.dumps() takes it, with the keys of the attributes."""
        return asdict(self)


def make_report(
    index: Index, settings: Settings, progress: Progress | None = None, applied: Applied | None = None
) -> Report:
    """Work out the report of a scanned index; reads no picture, and never holds all of them as objects.

    Args:
        progress: Called with (done, total) between the parts of the work; may raise to stop.
        applied: Shares the work with who else applies the settings to these pictures.

    Raises:
        UserError: the settings leave no bucket, a rule or a signature is wrong, or the tokenizer is damaged.
    """
    applied = applied or Applied()
    columns = index.columns()
    given = applied.assignment(columns, settings, "report")
    _tell(progress, 1)
    crops = _crops(columns, given)
    _tell(progress, 2)
    broken = index.broken()
    values = {
        **_bucket_values(given, settings),
        **_caption_values(index, columns, applied.around(given, settings), settings),
        **_duplicate_values(index, columns, given),
    }
    _tell(progress, 3)
    return Report(
        images=len(columns),
        broken=[{"path": picture.path, "reason": picture.reason} for picture in broken],
        plan=settings.data.buckets,
        mean_ar_error=crops.ar_error,
        cropped_share=crops.share,
        cropped=crops.cropped,
        most_cropped=_named(index, columns, crops.worst, "share", crops.worst_shares.tolist()),
        upscaled=crops.enlarged,
        tags=index.tag_counts(_TOP_TAGS),
        validation=len(given.parts.validation),
        train=len(given.parts.train),
        folders=_folders(given),
        dropped=_dropped(columns, given, settings, len(broken)),
        **values,
    )


def _tell(progress: Progress | None, done: int) -> None:
    if progress is not None:
        progress(done, 3)


@dataclass(slots=True)
class _Crops:
    """Means and counts over the pictures that are not left out."""

    pictures: int = 0
    ar_error: float = 0.0
    share: float = 0.0
    cropped: int = 0
    enlarged: int = 0
    worst: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    worst_shares: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def _crops(columns: Columns, given: Assignment) -> _Crops:
    """Look at the pictures a piece at a time."""
    found = _Crops()
    for rows, fits in given.fits.chunks():
        used = np.flatnonzero(given.roles[rows] != rules.LEFT_OUT)
        part = fits if len(used) == len(fits) else fits.part(used)
        chosen, resized = part.chosen, part.resized
        share = 1.0 - chosen[:, 0] * chosen[:, 1] / (resized[:, 0] * resized[:, 1])
        found.pictures += len(used)
        found.ar_error += float(part.ar_error.sum())
        found.share += float(share.sum())
        found.cropped += int((share > CROP).sum())
        found.enlarged += int((resized > part.sizes).any(axis=1).sum())
        places = np.concatenate([found.worst, rows.start + used])
        shares = np.concatenate([found.worst_shares, share])
        best = np.argsort(-shares, kind="stable")[:_WORST] if len(shares) < 1000 else _highest(shares)
        best = best[shares[best] > 0]
        found.worst, found.worst_shares = places[best], shares[best]
    found.ar_error /= max(1, found.pictures)
    found.share /= max(1, found.pictures)
    return found


def _highest(values: NDArray[Any]) -> NDArray[np.int64]:
    """Places of the _WORST highest values, highest first, equals in order of place."""
    border = np.partition(values, -_WORST)[-_WORST]
    places = np.flatnonzero(values >= border)
    return np.asarray(places[np.argsort(-values[places], kind="stable")][:_WORST])


def _bucket_values(given: Assignment, settings: Settings) -> dict[str, Any]:
    """The buckets and what an epoch makes of them."""
    sizes = given.fits.buckets
    counts = tally(given.fits.bucket[given.roles != rules.LEFT_OUT], len(sizes))
    uses = given.uses.of_buckets(len(sizes))
    batch = batch_of(settings)
    batches = batches_in(uses, batch)
    listed = zip(sizes, counts.tolist(), uses.tolist(), strict=True)
    return {
        "buckets": [
            {"width": width, "height": height, "count": count, "uses": used}
            for (width, height), count, used in listed
            if count
        ],
        "uses_per_epoch": int(uses.sum()),
        "batches_per_epoch": batches,
        "short_batches": int((uses % batch > 0).sum()),
        "steps_per_epoch": -(-batches // settings.training.accumulation),
    }


def _caption_values(
    index: Index, columns: Columns, around: NDArray[np.int32] | None, settings: Settings
) -> dict[str, Any]:
    """Captions: there or not, odd, too long with the tokens `around` them."""
    has = (columns.flags & (HAS_TAGS | HAS_NATURAL)) > 0
    captioned = int(has.sum())
    limit = int(settings.data.max_tokens)
    tokens = in_all(columns.tokens, around)
    uncounted = int((has & (tokens < 0)).sum())
    long = np.flatnonzero(tokens > limit)
    longest = long[np.argsort(-tokens[long], kind="stable")][:_WORST]
    counted = "counted" if around is None else "counted with the words around them"
    odd = np.flatnonzero(columns.flags & CAPTION_PROBLEM)
    named = sorted(index.by_ids(columns.ids[odd[:_MOST_PROBLEMS]]), key=lambda picture: picture.path)
    return {
        "captioned": captioned,
        "without_caption": len(columns) - captioned,
        "caption_problems": [{"path": one.path, "problem": one.caption_problem} for one in named],
        "caption_problem_count": len(odd),
        "token_limit": limit,
        "tokens": f"{NOT_COUNTED}: {uncounted:,} of {captioned:,}" if uncounted else counted,
        "truncated": len(long),
        "uncounted": uncounted,
        "longest": _named(index, columns, longest, "tokens", tokens[longest].tolist()),
    }


def _duplicate_values(index: Index, columns: Columns, given: Assignment) -> dict[str, Any]:
    exact = duplicates.extra(given.exact)
    largest = duplicates.listed(given.same, _WORST)
    return {
        "duplicates": exact,
        "near_duplicates": duplicates.extra(given.same) - exact,
        "unseen": int(((columns.flags & PHASH_KNOWN) == 0).sum()),
        "duplicate_groups": [
            {"count": len(rows), "paths": [one.path for one in index.by_ids(columns.ids[rows[:_WORST]])]}
            for rows in largest
        ],
    }


def _named(
    index: Index, columns: Columns, rows: NDArray[np.int64], key: str, values: list[Any]
) -> list[dict[str, Any]]:
    """{"path", key} of some rows."""
    by_id = {picture.id: picture.path for picture in index.by_ids(columns.ids[rows])}
    pairs = zip(columns.ids[rows].tolist(), values, strict=True)
    return [{"path": by_id[number], key: value} for number, value in pairs if number in by_id]


def _folders(given: Assignment) -> list[dict[str, Any]]:
    """What each rule of a folder does; nothing where there are none."""
    if len(given.rules) == 1:
        return []
    count = len(given.rules)
    pictures, train, validation = (
        tally(rule, count).tolist()
        for rule in (given.rule, given.rule[given.parts.train], given.rule[given.parts.validation])
    )
    uses = np.bincount(given.uses.rule, weights=given.uses.uses, minlength=count).astype(np.int64).tolist()
    return [
        {
            "path": rule.path,
            "role": rule.role,
            "pictures": pictures[number],
            "train": train[number],
            "validation": validation[number],
            "uses": uses[number],
        }
        for number, rule in enumerate(given.rules)
    ]


def _dropped(columns: Columns, given: Assignment, settings: Settings, broken: int) -> list[dict[str, Any]]:
    """What has no part in the training, with its reason."""
    left_out = given.roles == rules.LEFT_OUT
    smallest = settings.data.smallest
    small = np.minimum(columns.sizes[:, 0], columns.sizes[:, 1]) < smallest
    found = [
        ("broken files", broken),
        (f"shorter side below {smallest} px (data.smallest)", int(small.sum())),
        ("in a folder with no repeats (data.folder_rules)", int((left_out & ~small).sum())),
        (
            "beyond the pictures that are to be used (data.pictures)",
            len(columns) - int(left_out.sum()) - len(given.parts.train) - len(given.parts.validation),
        ),
    ]
    return [{"what": what, "count": count} for what, count in found if count]
