"""What becomes of every picture: its rule, its part, its duplicates, its bucket and how often it is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data import duplicates, rules
from core.data.buckets import Fits, plan_fits
from core.data.columns import Columns
from core.data.split import Split, limited, split
from core.data.uses import Uses, rates_of, uses_per_epoch
from core.settings import Settings
from core.settings.folder_rules import FolderRules


@dataclass(frozen=True, slots=True)
class Assignment:
    """The settings applied to the pictures (N) of an index.

    Attributes:
        rules: The defaults, then the rules of data.folder_rules.
        rule: int32 (N,), number of the one that holds.
        roles: int8 (N,), as core.data.rules.roles() gives them; too small pictures are LEFT_OUT.
        exact, same: int32 (N,), groups of equal files, and of duplicates of any kind.
        parts: The split.
        fits: The buckets of all pictures, those that are left out among them.
        uses: How often an epoch uses the pictures in training, by bucket and rule.
    """

    rules: list[FolderRules]
    rule: NDArray[np.int32]
    roles: NDArray[np.int8]
    exact: NDArray[np.int32]
    same: NDArray[np.int32]
    parts: Split
    fits: Fits
    uses: Uses


def batch_of(settings: Settings) -> int:
    """Pictures in a global micro-batch."""
    return settings.training.batch_size * settings.hardware.processes


def assign(columns: Columns, settings: Settings) -> Assignment:
    """Apply the settings; some seconds for ten million pictures.

    Raises UserError when the settings leave no bucket, or a rule or a signature is wrong.
    """
    every, of_directory = rules.of_directories(columns.directories, settings)
    rule = of_directory[columns.directory]
    roles = rules.roles(rule, every, columns.signature, settings.validation)
    if settings.data.smallest:
        roles[np.minimum(columns.sizes[:, 0], columns.sizes[:, 1]) < settings.data.smallest] = rules.LEFT_OUT
    exact = duplicates.exact_groups(columns.signature)
    same = duplicates.groups(columns, settings.data.near_duplicates, exact)
    parts = split(columns.signature, same, roles, settings.validation)
    parts = limited(parts, columns.signature, settings.data.pictures, settings.validation.seed)
    fits = plan_fits(columns, settings, rates_of(rule, parts.train, every))
    uses = uses_per_epoch(rule[parts.train], fits.bucket[parts.train], every, batch_of(settings))
    return Assignment(every, rule, roles, exact, same, parts, fits, uses)
