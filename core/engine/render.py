"""Draws a grid: one model in memory, weights swapped per checkpoint, cells drawn in batches and told as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from core import events as ev
from core.anatomy.source import CONFIG_KEY
from core.engine.checkpoint import file_hash
from core.engine.control import Control
from core.engine.device_trouble import device_trouble
from core.engine.lora_files import is_lora, merged
from core.engine.model_files import open_model
from core.engine.models import DTYPES, Models, pick_device, pick_precision
from core.engine.safe_files import read_header, read_tensors
from core.engine.sample import Drawing
from core.engine.text_states import TextStates
from core.errors import Stopped, UserError
from core.grid import CellPlan, GridPlan
from core.grid_job import read_plan
from core.grid_picture import compose
from core.infotext import parameters, save_picture
from core.paths import resolve
from core.runs import Run

State = dict[str, torch.Tensor]


_NO_ROOM = (
    "The memory did not suffice for the grid. Lower grid.batch, or draw smaller pictures, or end a training that uses "
    "the same GPU; then draw it again."
)


class Swapper:
    """Puts the weights of one checkpoint after the other into the same modules.

    The base model's weights stay in memory; a LoRA is added to them, a whole model replaces them.

    It also sets how many tokens of a prompt are read: as many as were in training, as the file says; else 75.

    Attributes:
        scheduler: The scheduler config of what is shown: a run may have taught its model another prediction.
        clip_skip: The layer of the text encoder that it was trained with, as its file says; 1 where nothing is said.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._parts = ("unet", *models.text_parts)
        self._base: dict[str, State] = {p: dict(getattr(models, p).state_dict()) for p in self._parts}
        self._present = ""
        self.scheduler: dict[str, Any] = models.source.configs["scheduler"]
        self.clip_skip = 1

    def show(self, checkpoint: str) -> bool:
        """Make the models those of a checkpoint ("" is the base); True when what a prompt gives changed."""
        if checkpoint == self._present:
            return False
        own = self._models.source.configs["scheduler"]
        weights, scheduler = self._weights(Path(checkpoint)) if checkpoint else ({}, own)
        changed_text = False
        for part in self._parts:
            state = {**self._base[part], **weights.get(part, {})}
            module = getattr(self._models, part)
            old = module.state_dict()
            if part != "unet":
                changed_text |= any(not torch.equal(state[name].to(old[name]), old[name]) for name in old)
            state = {name: tensor.to(old[name]) for name, tensor in state.items()}
            module.load_state_dict(state, assign=True)
            if part == "unet":
                module.to(memory_format=self._models.layout)
        clip_skip, tokens = (_clip_skip(Path(checkpoint)), _prompt_tokens(Path(checkpoint))) if checkpoint else (1, 75)
        changed_text |= (clip_skip, tokens) != (self.clip_skip, self._models.prompt_tokens)
        self._models.prompt_tokens = tokens
        self._present, self.scheduler, self.clip_skip = checkpoint, scheduler, clip_skip
        return changed_text

    def _weights(self, path: Path) -> tuple[dict[str, State], dict[str, Any]]:
        """Tensors of a checkpoint by part, under the modules' names, and its scheduler config.

        Raises UserError when it is gone or does not fit.
        """
        if not path.exists():
            raise UserError(f"The checkpoint {path} does not exist any more; its cells are left out.")
        if path.is_file():
            keys, metadata = read_header(path)
            if is_lora(keys):
                lora = read_tensors(path)
                weights = {
                    part: merged(getattr(self._models, part), self._base[part], lora, self._models.source, part)
                    for part in self._parts
                }
                # Ours say what they were trained with; others are for the base model as it is.
                ours = json.loads(metadata.get(CONFIG_KEY, "{}"))
                return weights, ours.get("scheduler", self._models.source.configs["scheduler"])
        source = open_model(path)
        shapes = {p: {name: tuple(t.shape) for name, t in self._base[p].items()} for p in self._parts}
        weights = {part: source.read(part, list(shapes[part]), shapes[part]) for part in self._parts}
        return weights, source.configs["scheduler"]


def _clip_skip(path: Path) -> int:
    """What a checkpoint's file says under kohya's name for it."""
    return _said(path, "ss_clip_skip") or 1


def _prompt_tokens(path: Path) -> int:
    """The same of the length of captions."""
    said = _said(path, "ss_max_token_length")
    return said if said in (150, 225) else 75


def _said(path: Path, name: str) -> int:
    """A whole number in the metadata of a checkpoint's file; 0 where there is none."""
    said = read_header(path)[1].get(name, "") if path.is_file() else ""
    return int(said) if said.isdecimal() else 0


class Renderer:
    """Draws the cells of a plan; what the pictures say of a checkpoint is looked up once."""

    def __init__(self, plan: GridPlan, control: Control, batch: int) -> None:
        self._plan = plan
        self._batch = batch
        source = open_model(resolve(plan.base))
        device = pick_device("auto")
        precision = pick_precision("auto", device)
        self._models = Models(source, device, frozen=DTYPES[precision])
        self._models.load("unet", *self._models.text_parts, "tokenizer", "vae")
        self._swapper = Swapper(self._models)
        self._texts = TextStates(self._models, precision)
        self._control = control
        self._precision = precision
        self._facts: dict[str, dict[str, Any]] = {}

    def render(self) -> Iterator[tuple[CellPlan, Image.Image] | UserError]:
        """Yield cells and pictures in the order in which they are made; a UserError for a checkpoint left out.

        Raises Stopped.
        """
        for checkpoint, group in groupby(self._plan_cells(), key=lambda cell: cell.checkpoint):
            cells = list(group)
            try:
                if self._swapper.show(checkpoint):
                    self._texts = TextStates(self._models, self._precision, self._swapper.clip_skip)
            except UserError as error:
                yield error
                continue
            drawing = Drawing(
                self._models,
                self._texts.get,
                self._precision,
                self._control.should_stop,
                scheduler=self._swapper.scheduler,
            )
            for index, image in drawing.draw(cells, self._batch):
                yield cells[index], image

    def _plan_cells(self) -> list[CellPlan]:
        """The cells, those of one checkpoint together."""
        order: dict[str, list[CellPlan]] = {}
        for cell in self._plan.cells():
            order.setdefault(cell.checkpoint, []).append(cell)
        return [cell for cells in order.values() for cell in cells]

    def facts(self, cell: CellPlan) -> dict[str, Any]:
        """Model and Model hash of a cell, as A1111 writes them."""
        path = Path(cell.checkpoint) if cell.checkpoint else resolve(self._plan.base)
        name = path.stem if path.is_file() else (path.name if path.name != "model" else f"{path.parent.name}")
        key = str(path)
        if key not in self._facts:
            facts: dict[str, Any] = {"Model hash": file_hash(path) if path.is_file() else "", "Model": name}
            clip_skip = _clip_skip(path)
            self._facts[key] = {**facts, "Clip skip": clip_skip} if clip_skip > 1 else facts
        return self._facts[key]


def render_job(job: Run, control: Control) -> Iterator[ev.Event]:
    """Draw a grid job: Cell events as the pictures are written, GridMade for each whole picture, then Ended."""
    with device_trouble(lambda: _NO_ROOM):
        yield from _render(job, control)


def _render(job: Run, control: Control) -> Iterator[ev.Event]:
    """The events of a grid job."""
    settings, plan = read_plan(job)
    total = len(plan)
    yield ev.Progress(phase="load", done=0, total=1)
    made: dict[tuple[int, int, int], Path] = {}
    suffix = settings.grid.format
    try:
        renderer = Renderer(plan, control, settings.grid.batch)
        yield ev.Progress(phase="grid", done=0, total=total)
        problem = None
        for drawn in renderer.render():
            if isinstance(drawn, UserError):
                problem = drawn
                yield ev.Message(level="warning", text=str(drawn))
                continue
            cell, image = drawn
            path = job.path / "cells" / f"{cell.z:03d}-{cell.y:03d}-{cell.x:03d}.{suffix}"
            text = parameters(cell, renderer.facts(cell))
            save_picture(path, image, text)
            made[cell.x, cell.y, cell.z] = path
            labels = [axis.labels[i] for axis, i in zip(plan.axes, (cell.x, cell.y, cell.z), strict=True)]
            relative = path.relative_to(job.path).as_posix()
            yield ev.Cell(
                index=len(made),
                total=total,
                path=relative,
                x=cell.x,
                y=cell.y,
                z=cell.z,
                seed=cell.seed,
                labels=labels,
                parameters=text,
            )
    except Stopped:
        yield from _whole_grids(job, plan, made, suffix)
        yield ev.Ended(state="stopped")
        return
    if problem is not None and not made:
        raise problem
    yield from _whole_grids(job, plan, made, suffix)
    yield ev.Ended(state="finished")


def _whole_grids(job: Run, plan: GridPlan, made: dict[tuple[int, int, int], Path], suffix: str) -> Iterator[ev.Event]:
    """Put the cells together, one picture for each value of z, named as A1111's users know it."""
    if not made:
        return
    shared = plan.shared
    stamp = time.strftime("%Y%m%d%H%M%S")
    for z in range(plan.size[2]):
        image = compose(plan, {(x, y): path for (x, y, at), path in made.items() if at == z}, z)
        name = (
            f"xyz_grid-{z:04}-{shared.seed}-{image.width}-{image.height}-{shared.cfg:g}-{shared.steps}-{stamp}.{suffix}"
        )
        save_picture(job.path / name, image, parameters(shared, _script_facts(plan)))
        yield ev.GridMade(path=name, z=z)


def _script_facts(plan: GridPlan) -> dict[str, Any]:
    """What A1111 adds to the parameters of a grid."""
    facts: dict[str, Any] = {"Script": "X/Y/Z plot"}
    for letter, axis in zip("XYZ", plan.axes, strict=True):
        if axis.name == "none":
            continue
        facts[f"{letter} Type"] = axis.component.LABEL
        facts[f"{letter} Values"] = ", ".join(json.dumps(text) if "," in text else text for text in axis.labels)
    if any(axis.name == "seed" for axis in plan.axes):
        axis = next(axis for axis in plan.axes if axis.name == "seed")
        letter = "XYZ"[plan.axes.index(axis)]
        facts[f"Fixed {letter} Values"] = ", ".join(axis.labels)
    return facts
