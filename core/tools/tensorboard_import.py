"""Event folders of other trainers as read-only runs: names of their curves turned into ours, and a run folder each."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core import __version__, atomic, paths
from core import events as ev
from core.errors import UserError
from core.runs import RUN_FORMAT, Run, slug
from core.tools.tfevents import Scalars, event_folders, read_folder

#: Our curve <- what others call it; of several the first that is there is taken, the rest keep their names.
#: kohya: loss/current, lr/unet ...; OneTrainer: loss/train_step, loss/validation_step/...; diffusers: train_loss, lr;
#: the notes "demystifying sd finetuning": loss/train, test/test (stable, trained pictures), test/val (held-out).
_NAMES: Mapping[str, tuple[str, ...]] = {
    "loss": (
        "loss/train",
        "loss/current",
        "loss/train_step",
        "train_loss",
        "train/loss",
        "step_loss",
        "loss/average",
        "smooth_loss/train_step",
    ),
    "stable/validation": (
        "test/val",
        "loss/validation/step_average",
        "loss/validation_step/total_average",
        "loss/validation/epoch_average",
        "loss/val",
        "val_loss",
        "val/loss",
        "validation/loss",
        "eval/loss",
        "loss/validation/step_current",
    ),
    "stable/train": ("test/test",),
    "grad_norm": ("train/grad_norm", "gradient_norm"),
    "epoch": ("train/epoch",),
    "rate/unet": ("lr/unet", "lr", "learning_rate", "train/learning_rate", "lr/unet_lora"),
    "rate/text_encoder": (
        "lr/text_encoder",
        "lr/textencoder",
        "lr/text_encoder1",
        "lr/text_encoder_1",
        "lr/textencoder 1",
    ),
    "rate/text_encoder_2": ("lr/text_encoder2", "lr/text_encoder_2", "lr/textencoder 2"),
}
#: OneTrainer measures each concept; where there is only one, it writes no average.
_BY_CONCEPT = "loss/validation_step/"
#: Points in a line of events.jsonl: lines stay below a reader's block.
_POINTS_A_LINE = 8192


def renamed(tags: list[str]) -> dict[str, str]:
    """{their tag: ours}, in the order of `tags`; a name that nobody knows stays as it is."""
    found: dict[str, str] = {}
    for ours, theirs in _NAMES.items():
        wanted = next((tag for tag in (ours, *theirs) if tag in tags), None)
        if wanted is not None:
            found[wanted] = ours
    concepts = [tag for tag in tags if tag.startswith(_BY_CONCEPT)]
    if "stable/validation" not in found.values() and len(concepts) == 1:
        found[concepts[0]] = "stable/validation"
    return {tag: found.get(tag, tag) for tag in tags}


def import_folder(root: Path) -> tuple[list[Run], list[Path]]:
    """(a run for each folder of event files at and below `root`, folders that hold no scalar).

    Importing again writes the same runs anew. UserError when there is nothing to import or a file cannot be read or
    written.
    """
    root = root.expanduser().absolute()
    made, empty = [], []
    for folder in event_folders(root):
        scalars = read_folder(folder)
        if not scalars:
            empty.append(folder)
            continue
        name = root.name if folder == root else folder.relative_to(root).as_posix()
        made.append(_write_run(folder, name, scalars))
    if not made:
        what = "event files, but no scalars in them" if empty else "no event files of TensorBoard (*tfevents*)"
        raise UserError(f"{root} holds {what}. Give the folder that your trainer logged to, or one above it.")
    return made, empty


def _write_run(folder: Path, name: str, scalars: dict[str, Scalars]) -> Run:
    """The run folder of an event folder; its place is derived from the source, so there is never a second one."""
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    path = _present(mark) or paths.runs_folder() / f"imported-{slug(name)}-{mark}"
    run = Run(path)
    ours = renamed(list(scalars))
    began = min(float(points.times[0]) for points in scalars.values())
    facts = _facts(run, mark, name) | {
        "source": str(folder),
        "tags": {mine: theirs for theirs, mine in ours.items() if mine != theirs},
        "began": began,
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(run.events_path) as temporary, temporary.open("wb") as file:
            for event in _events({ours[tag]: points for tag, points in scalars.items()}, began):
                file.write(ev.encode(event))
        atomic.write_text(path / "run.json", json.dumps(facts, indent=1))
    except OSError as error:
        raise UserError(f"{path}: the imported run cannot be written ({error.strerror or error}).") from None
    return run


def _present(mark: str) -> Path | None:
    """The run folder of an earlier import, which may have had another name."""
    folder = paths.runs_folder()
    pattern = re.compile(rf"imported-.*-{mark}")
    known = (path for path in folder.iterdir() if pattern.fullmatch(path.name)) if folder.is_dir() else iter(())
    return next(known, None)


def _facts(run: Run, mark: str, name: str) -> dict[str, Any]:
    """run.json of an import; the time of the first import stays."""
    created = time.time()
    if (run.path / "run.json").exists():
        created = float(run.facts()["created"])
    return {
        "format": RUN_FORMAT,
        "id": mark,
        "name": name,
        "kind": "imported",
        "created": created,
        "version": __version__,
        "preset": "",
    }


def _events(curves: dict[str, Scalars], began: float) -> Iterator[ev.Event]:
    """Curves in lines of some thousands of points, the clock of the longest one as "seconds", and an end."""
    longest = max(curves.values(), key=lambda points: len(points.steps))
    last = 0.0
    for tag, points in curves.items():
        yield from _lines(tag, points.steps, points.values, float(points.times[-1]))
        last = max(last, float(points.steps[-1]))
    if "seconds" not in curves:
        clock = np.round(np.maximum.accumulate(longest.times - longest.times[0]), 3)
        yield from _lines("seconds", longest.steps, clock, float(longest.times[-1]))
    end = max(float(points.times[-1]) for points in curves.values())
    yield ev.Ended(time=max(end, began), state="finished", step=int(last))


def _lines(tag: str, steps: Any, values: Any, when: float) -> Iterator[ev.Event]:
    numbers = steps.astype(np.int64)
    for at in range(0, len(numbers), _POINTS_A_LINE):
        stretch = slice(at, at + _POINTS_A_LINE)
        yield ev.Points(time=when, tag=tag, steps=numbers[stretch].tolist(), values=values[stretch].tolist())
