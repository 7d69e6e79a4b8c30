"""Makes the plan of a training from the index: roles, splits, buckets, crops and uses, for all pictures at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data import rules
from core.data.assignment import Assignment, assign, batch_of
from core.data.buckets import Fits
from core.data.columns import HAS_ALPHA, Columns
from core.data.dataset import Dataset
from core.data.index import Index
from core.data.order import Group
from core.data.plan import Plan, name_of, open_plan, save_plan
from core.data.uses import Uses
from core.errors import UserError
from core.settings import Settings


def open_dataset(settings: Settings, index: Index, plans: Path) -> Dataset:
    """The dataset of a scanned index; its plan is taken from `plans` when it was made before, else made and kept.

    Raises UserError when no usable picture is left, or nothing to train on.
    """
    columns = index.columns()
    if not len(columns):
        raise UserError(nothing_left(index, settings))
    every, _ = rules.of_directories(columns.directories, settings)
    folder = plans / plan_name(settings, index)
    plan = open_plan(folder)
    if plan is None:
        plan = save_plan(make_plan(settings, columns), folder)
    return Dataset(plan, index.store.path, settings, every)


def plan_name(settings: Settings, index: Index) -> str:
    """Of the plan of these settings and the index as it is now."""
    pages = settings.data.model_dump(mode="json"), settings.validation.model_dump(mode="json")
    return name_of(str(index.store.path), index.store.generation(), batch_of(settings), *pages)


def make_plan(settings: Settings, columns: Columns) -> Plan:
    """The plan of some pictures. UserError when there is nothing to train on."""
    given = assign(columns, settings)
    if not len(given.parts.train):
        raise UserError(
            "No picture is left to train on: data.folder_rules, data.smallest or validation.chosen leave them all out. "
            "Change one of them."
        )
    return _arranged(columns, given, settings)


def _arranged(columns: Columns, given: Assignment, settings: Settings) -> Plan:
    """The arrays in the plan's order: trained pictures by bucket, rule and content, then those only measured.

    By content and not by name or place, so that the same pictures are trained in the same order on every machine.
    """
    rule, parts, bucket = given.rule, given.parts, given.fits.bucket
    train = parts.train[np.argsort(columns.signature[parts.train, 0], kind="stable")]
    code = bucket[train].astype(np.int64) * len(given.rules) + rule[train]
    train = train[np.argsort(code.astype(np.uint16) if code.max() < 2**16 else code, kind="stable")]
    measured = parts.validation[: settings.validation.max_pictures]
    apart = np.concatenate([train, measured])
    place = np.full(len(columns), -1, dtype=np.int64)
    place[apart] = np.arange(len(apart))
    resized, corner = _crops(given.fits, apart)
    return Plan(
        ids=columns.ids[apart],
        sizes=columns.sizes[apart],
        resized=resized,
        corner=corner,
        bucket=bucket[apart].astype(np.int32),
        rule=rule[apart],
        content=columns.content[apart],
        alpha=(columns.flags[apart] & HAS_ALPHA) > 0,
        buckets=given.fits.buckets,
        groups=_groups(given.uses),
        trained=len(train),
        validation=place[measured],
        probe=place[parts.probe],
        skipped=len(columns) - len(apart),
    )


def _crops(fits: Fits, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(size after resizing, left and top of the crop) of some rows, int32 (rows, 2) each; a piece at a time."""
    resized = np.empty((len(rows), 2), dtype=np.int32)
    corner = np.empty((len(rows), 2), dtype=np.int32)
    for piece, part in fits.part(rows).chunks():
        resized[piece], corner[piece] = part.resized, part.crop[:, :2]
    return resized, corner


def _groups(uses: Uses) -> list[Group]:
    """The groups as they stand side by side in the sorted training pictures."""
    starts = np.cumsum(uses.pictures) - uses.pictures
    columns = (uses.bucket, starts, uses.pictures, uses.uses)
    return [Group(*numbers) for numbers in zip(*(column.tolist() for column in columns), strict=True)]


def nothing_left(index: Index, settings: Settings) -> str:
    """The sentence for a dataset without a usable picture, with the first reason as an example."""
    where = ", ".join(settings.data.folders) or "the picture folders"
    broken = next(index.pictures(broken=True), None)
    if broken is None:
        return f"There is no picture in {where}. Check data.folders and scan them again."
    return (
        f"None of the pictures in {where} can be used, for instance {broken.path}: {broken.reason}. Repair or replace "
        "the files."
    )
