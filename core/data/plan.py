"""The plan of a training: who is trained on, in which bucket and crop, in which order, as arrays on the disk.

It is worked out once by one process, written beside the index, and mapped into memory by all: twelve million pictures
cost a process nothing of its own, and a run that is resumed finds its plan ready. Whatever could change it (the
pictures, the settings it hangs on) is in its name.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from core import atomic
from core.data.buckets import Fit, Size
from core.data.order import Group
from core.errors import UserError

#: Raised when the arrays change their meaning.
_VERSION = 1
#: Plans of other settings and older pictures that are kept beside the newest.
_KEPT = 8

_COLUMNS = ("ids", "sizes", "resized", "corner", "bucket", "rule", "content", "alpha")


@dataclass(frozen=True)
class Plan:
    """Pictures as columns: first the trained ones, side by side by bucket and rule, then those that are only measured.

    Attributes:
        ids: int64 (N,), of the index.
        sizes, resized: int32 (N, 2), width and height of the picture, and after resizing.
        corner: int32 (N, 2), left and top of the crop in the resized picture.
        bucket: int32 (N,), number in `buckets`.
        rule: int32 (N,), number of the folder rule that holds.
        content: uint64 (N, 2), hash of the file's bytes, zeros while it is not known.
        alpha: bool (N,), whether the header tells of transparency.
        buckets: (width, height) of each bucket.
        groups: How the trained rows are used.
        trained: The first so many rows are trained on.
        validation, probe: Rows of the held-out pictures, and of as many trained ones, for the stable loss.
        skipped: Usable pictures that have no part, for instance by a rule with no repeats.
    """

    ids: NDArray[np.int64]
    sizes: NDArray[np.int32]
    resized: NDArray[np.int32]
    corner: NDArray[np.int32]
    bucket: NDArray[np.int32]
    rule: NDArray[np.int32]
    content: NDArray[np.uint64]
    alpha: NDArray[np.bool_]
    buckets: list[Size]
    groups: list[Group]
    trained: int
    validation: NDArray[np.int64]
    probe: NDArray[np.int64]
    skipped: int

    def __len__(self) -> int:
        return len(self.ids)

    def fit(self, row: int) -> Fit:
        """How one picture gets into its bucket."""
        width, height = self.buckets[int(self.bucket[row])]
        left, top = self.corner[row].tolist()
        across, down = self.sizes[row].tolist()
        resized = self.resized[row].tolist()
        error = abs(width / height - across / down)
        return Fit((width, height), (resized[0], resized[1]), (left, top, left + width, top + height), error)

    def bucket_sides(self, rows: NDArray[np.integer] | slice = slice(None)) -> NDArray[np.int64]:
        """(N, 2) width and height of the buckets of some rows."""
        table = np.array(self.buckets, dtype=np.int64).reshape(-1, 2)
        return np.asarray(table[self.bucket[rows]])

    def content_hash(self, row: int) -> str:
        """The hash of a picture's bytes, 32 hex digits."""
        return np.ascontiguousarray(self.content[row]).tobytes().hex()

    def fingerprint(self) -> str:
        """Changes when the trained pictures, their buckets or how often they are used change."""
        digest = xxhash.xxh3_128(json.dumps([self.buckets, _told(self.groups)]).encode())
        for column in (self.content, self.corner):
            digest.update(np.ascontiguousarray(column[: self.trained]).data)
        return digest.hexdigest()


def _told(groups: Sequence[Group]) -> list[list[int]]:
    return [[group.bucket, group.start, group.count, group.uses] for group in groups]


def name_of(*parts: Any) -> str:
    """The name of the plan that hangs on these parts (anything that json.dumps() takes)."""
    return xxhash.xxh3_64_hexdigest(json.dumps([_VERSION, *parts], sort_keys=True).encode())


def open_plan(folder: Path) -> Plan | None:
    """The plan in a folder, mapped into memory; None when there is none or it is not whole."""
    try:
        told = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _COLUMNS}
        if any(len(column) != told["pictures"] for column in columns.values()):
            return None
        return Plan(
            **columns,
            buckets=[(int(width), int(height)) for width, height in told["buckets"]],
            groups=[Group(*group) for group in told["groups"]],
            trained=int(told["trained"]),
            validation=np.array(told["validation"], dtype=np.int64),
            probe=np.array(told["probe"], dtype=np.int64),
            skipped=int(told["skipped"]),
        )
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None


def save_plan(plan: Plan, folder: Path) -> Plan:
    """Write a plan all or nothing, drop old ones beside it, give it back mapped. UserError when the disk is full."""
    told = {
        "pictures": len(plan),
        "buckets": plan.buckets,
        "groups": _told(plan.groups),
        "trained": plan.trained,
        "validation": plan.validation.tolist(),
        "probe": plan.probe.tolist(),
        "skipped": plan.skipped,
    }
    try:
        with atomic.replacing_folder(folder) as temporary:
            for name in _COLUMNS:
                np.save(temporary / f"{name}.npy", getattr(plan, name))
            (temporary / "plan.json").write_text(json.dumps(told), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"The plan of the training cannot be written to {folder} ({error.strerror or error}). Free some space, or "
            "choose another hardware.cache_folder."
        ) from error
    _drop_old(folder)
    mapped = open_plan(folder)
    return plan if mapped is None else mapped


def _drop_old(folder: Path) -> None:
    """Remove all but the newest plans; on Windows one that a run has mapped stays."""
    found = [path for path in folder.parent.iterdir() if path.is_dir() and (path / "plan.json").exists()]
    for old in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
        if old != folder:
            with contextlib.suppress(OSError):
                shutil.rmtree(old)
