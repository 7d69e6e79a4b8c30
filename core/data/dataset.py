"""The dataset: every usable picture with its captions and its fit into a bucket, and the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.data.buckets import Fit, Size, fit_many
from core.data.captions import Captions
from core.data.index import Index, Progress
from core.data.split import Split, split
from core.errors import UserError
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of the dataset.

    Attributes:
        size: (width, height) of the picture as it is, before any resizing.
        bucket: Its bucket's number in Dataset.buckets.
    """

    path: str
    content_hash: str
    captions: Captions
    size: Size
    fit: Fit
    bucket: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """What training needs to know of the pictures: `split` has positions in `items`, which go by path."""

    items: list[Item]
    buckets: list[Size]
    split: Split


def build_dataset(settings: Settings, index: Index, progress: Progress | None = None) -> Dataset:
    """The dataset of a scanned index; missing content hashes are read first (`progress` counts these).

    Raises UserError when no usable picture is left. Where there is one, there is always something to train
    on: split() holds out at most half.
    """
    index.hash_missing(progress)
    pictures = list(index.pictures())
    if not pictures:
        raise UserError(_nothing_left(index, settings))
    sizes = np.array([(picture.width, picture.height) for picture in pictures], dtype=np.int64)
    fits = fit_many(sizes, settings.data)
    items = [
        Item(
            picture.path,
            picture.content_hash,
            Captions(picture.tags, picture.natural, picture.caption_problem),
            (picture.width, picture.height),
            fit,
            bucket,
        )
        for picture, fit, bucket in zip(pictures, fits, fits.bucket.tolist(), strict=True)
    ]
    parts = split([item.content_hash for item in items], settings.validation)
    return Dataset(items, fits.buckets, parts)


def _nothing_left(index: Index, settings: Settings) -> str:
    """The sentence for a dataset without a usable picture, with the first reason as an example."""
    where = ", ".join(settings.data.folders) or "the picture folders"
    broken = index.broken()
    if not broken:
        return f"There is no picture in {where}. Check data.folders and scan them again."
    return (
        f"None of the {len(broken)} pictures in {where} can be used, for instance {broken[0].path}: "
        f"{broken[0].reason}. Repair or replace the files."
    )
