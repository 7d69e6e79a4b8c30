"""Steps that bring presets and frozen settings of older versions to the present format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import UserError

#: The format that this version writes. Raise it with every step added below.
FORMAT = 3

Tables = dict[str, Any]


def _rename(tables: Tables, old: str, new: str) -> None:
    """Move the value of "page.field" `old` to `new` where the file has it."""
    old_page, old_field = old.split(".")
    new_page, new_field = new.split(".")
    if old_field in tables.get(old_page, {}):
        tables.setdefault(new_page, {})[new_field] = tables[old_page].pop(old_field)


def _from_1(tables: Tables) -> None:
    """Format 1 (the first prototype) called two options by kohya's names."""
    _rename(tables, "training.gradient_accumulation_steps", "training.accumulation")
    _rename(tables, "training.gradient_checkpointing", "training.activation_checkpointing")


def _from_2(tables: Tables) -> None:
    """Format 2 knew kohya's buckets only: what a run froze (it names all numbers of the buckets) keeps them."""
    data = tables.get("data", {})
    if {"bucket_step", "min_side", "max_side", "upscale"} <= data.keys():
        data.setdefault("buckets", "kohya")


#: STEPS[n] turns format n into format n + 1, in place.
STEPS: dict[int, Callable[[Tables], None]] = {1: _from_1, 2: _from_2}


def migrate(tables: Tables, source: str) -> Tables:
    """Bring a parsed file up to FORMAT, in place; its "format" key says where it begins (absent: the present one).

    Raises UserError when the file was written by a newer version of Burnish.
    """
    version = tables.get("format", FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"{source}: format = {version!r} is not a version; it should be {FORMAT}.")
    if version > FORMAT:
        raise UserError(
            f"{source} was written by a newer version of Burnish (format {version}, this one knows {FORMAT}). "
            "Update Burnish to open it."
        )
    for step in range(version, FORMAT):
        STEPS[step](tables)
    tables["format"] = FORMAT
    return tables
