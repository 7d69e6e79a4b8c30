"""The dataset of a training: its plan, and what is text (paths, captions), fetched from the index when asked for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.buckets import Fit, Size
from core.data.caption_files import Captions
from core.data.decode import Decoded, decode
from core.data.index import Index
from core.data.plan import Plan
from core.settings import Settings
from core.settings.data import DataSettings
from core.settings.folder_rules import FolderRules


@dataclass(frozen=True, slots=True)
class Item:
    """One picture with all that training knows of it.

    Attributes:
        captions: What stands in its caption files.
        data: The settings page with what its folder's rule changes.
        size: (width, height) of the picture as it is, before any resizing.
    """

    row: int
    path: str
    content_hash: str
    captions: Captions
    data: DataSettings
    size: Size
    fit: Fit


class Dataset:
    """A plan with its index. Any thread may ask: each opens the index for itself, and all share the plan's memory."""

    def __init__(self, plan: Plan, index: Path, settings: Settings, rules: Sequence[FolderRules]) -> None:
        """
        Args:
            index: The index file that the plan was made of.
            rules: As of_directories() gives them; the plan's `rule` counts in them.
        """
        self.plan = plan
        self.rules = list(rules)
        self._index = index
        self.settings = settings
        self._pages = [with_rule(settings.data, rule) for rule in rules]
        self._own = threading.local()

    def _reader(self) -> Index:
        """This thread's connection to the index."""
        reader = getattr(self._own, "index", None)
        if reader is None:
            reader = self._own.index = Index(self._index)
        return reader

    def __len__(self) -> int:
        return len(self.plan)

    def paths(self, rows: NDArray[np.integer]) -> list[str]:
        """The path of each row; "" for one that has left the index meanwhile."""
        found = {picture.id: picture.path for picture in self._reader().by_ids(self.plan.ids[rows].tolist())}
        return [found.get(number, "") for number in self.plan.ids[rows].tolist()]

    def captions(self, rows: NDArray[np.integer]) -> list[Captions]:
        """What stands in the caption files of each row now: one that was edited meanwhile is read again."""
        return self._reader().present_captions(self.plan.ids[rows].tolist())

    def page(self, row: int) -> DataSettings:
        """The settings page of a picture: its folder's rule is in it already."""
        return self._pages[int(self.plan.rule[row])]

    def rule(self, row: int) -> FolderRules:
        """The rule of a picture's folder."""
        return self.rules[int(self.plan.rule[row])]

    def mirrored(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(rows,): which pictures are also kept mirrored."""
        return np.asarray(np.array([page.flip for page in self._pages], dtype=bool)[self.plan.rule[rows]])

    def sides(self, row: int) -> tuple[bool, ...]:
        """Whether a picture's latent is kept as it is and mirrored: (False,) or (False, True)."""
        return (False, True) if self.page(row).flip else (False,)

    def pixel_rule(self, row: int) -> int:
        """A number for what decides a picture's pixels besides its content and crop: the ground under transparency."""
        return int(self.pixel_rules(np.array([row]))[0])

    def pixel_rules(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """pixel_rule() of many rows."""
        ground = ("white", "black", "grey", "ignore").index(self.settings.data.transparency)
        return np.where(self.plan.alpha[rows], ground, 0).astype(np.int64)

    def decode(self, row: int, path: str, fit: Fit | None = None) -> Decoded:
        """The pixels and mask of a picture, cut to its bucket (or to another fit)."""
        return decode(path, fit or self.plan.fit(row), self.settings.data.transparency, self.rule(row).mask)

    def items(self, rows: NDArray[np.integer]) -> list[Item]:
        """Some pictures, whole; for few of them."""
        plan = self.plan
        found = zip(rows.tolist(), self.paths(rows), self.captions(rows), strict=True)
        return [
            Item(
                row,
                path,
                plan.content_hash(row),
                captions,
                self.page(row),
                (int(plan.sizes[row, 0]), int(plan.sizes[row, 1])),
                plan.fit(row),
            )
            for row, path, captions in found
        ]


def with_rule(page: DataSettings, rule: FolderRules) -> DataSettings:
    """The page with what a folder's rule says otherwise."""
    changes: dict[str, object] = {}
    if rule.trigger:
        changes["trigger"] = rule.trigger
    if rule.captions != "page":
        changes["captions"] = rule.captions
    if rule.flip != "page":
        changes["flip"] = rule.flip == "yes"
    return page.model_copy(update=changes)
