"""Turns a file of kohya's into a preset and a list of what became of every flag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import atomic, checks, presets
from core.errors import UserError
from core.kohya import files, length, loss, memory, model, network, optimizer, pictures, plain, rates
from core.kohya.job import Default, Job, Row

#: Each answers its own flags; later ones look at what earlier ones put into the draft.
_CHAPTERS = (model, network, rates, pictures, length, optimizer, loss, memory, plain)


@dataclass(frozen=True, slots=True)
class Import:
    """What came of a file.

    Attributes:
        values: {"page.field": value} of the preset, complete as far as the flags and sd-scripts' defaults say it.
        rows: Every flag, in its order.
        defaults: Values that stand in the preset although no flag says them.
        notes: Sentences about the file as a whole.
        problems: What keeps the preset from being trained as it is ("model.base: ... does not exist").
    """

    name: str
    values: dict[str, Any]
    rows: list[Row]
    defaults: list[Default]
    notes: list[str]
    problems: list[str]


def convert(path: Path) -> Import:
    """Read a file and translate it; nothing is written. UserError when it holds no training that Burnish can do."""
    job = Job(files.read(path))
    for chapter in _CHAPTERS:
        chapter.settle(job)
    settings = presets.build(job.draft.values, str(path))
    problems = [f"{one.key}: {one.text}" for one in checks.problems(settings) if one.severity == "error"]
    name = str(job.draft.values.get("output.name") or path.stem)
    return Import(name, job.draft.values, job.rows(), job.defaults, list(dict.fromkeys(job.notes)), problems)


def write(found: Import, source: Path, target: Path) -> None:
    """Write the preset, all or nothing, after it was read back and built from its own text.

    UserError where it would overwrite its source or cannot be written.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target} is the file that is imported; give the preset another name with -o.")
    head = {"name": found.name, "description": f"Imported from {source.name} of sd-scripts."}
    pages = dict.fromkeys(entry.page for entry in presets.entries().values())
    ordered = {key: found.values[key] for page in pages for key in found.values if key.split(".")[0] == page}
    text = presets.to_toml(ordered, head)
    presets.build(presets.full_values(presets.parse(text, str(target))), str(target))
    try:
        atomic.write_text(target, text)
    except OSError as error:
        raise UserError(f"{target}: the preset cannot be written ({error.strerror or error}).") from None
