"""Grids as pure plans: the settings of a grid job, its axes' values, and the cells in the order that costs least."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from core import registry
from core.errors import UserError
from core.paths import resolve
from core.runs import Run, SavedModel
from core.schema import Section, opt


class GridPage(Section):
    """What all cells share unless an axis changes it."""

    title: ClassVar[str] = "Grid"

    run: str = opt("", label="Run", help="The run whose checkpoints are compared.", editor="folder")
    base: str = opt(
        "",
        label="Base model",
        help="The model that LoRA checkpoints lie on, and 'base' on the checkpoint axis. Empty: the run's own.",
        editor="path",
    )
    checkpoint: str = opt(
        "",
        label="Checkpoint",
        help="Drawn where no axis chooses one: a step of the run, a file, or 'base'. Empty: the run's last.",
        level="advanced",
    )
    prompt: str = opt("", label="Prompt", help="What to draw.", editor="text")
    negative: str = opt("", label="Negative prompt", help="What to steer away from.", editor="text")
    seed: int = opt(
        -1, label="Seed", help="The noise each picture begins with. -1 draws one at the start.", ge=-1, le=2**32 - 1
    )
    cfg: float = opt(7.0, label="CFG scale", help="How strongly the prompt pulls.", ge=1, le=50, usual=(2, 12))
    steps: int = opt(28, label="Steps", help="Denoising steps a picture.", unit="steps", ge=1, le=1000, usual=(10, 60))
    sampler: str = opt("ddim", label="Sampler", help="The rule that takes the noise away.", choices="samplers")
    width: int = opt(512, label="Width", help="Width of a picture.", unit="px", ge=32, le=4096)
    height: int = opt(512, label="Height", help="Height of a picture.", unit="px", ge=32, le=4096)
    batch: int = opt(
        16,
        label="Pictures at once",
        help="So many cells are drawn in one batch. More is faster until the memory is full.",
        unit="pictures",
        ge=1,
        le=256,
        level="advanced",
    )
    format: Literal["png", "jpg"] = opt(
        "png", label="File format", help="PNG keeps every bit; JPEG is much smaller.", level="advanced"
    )


def _axis_page(letter: str) -> type[Section]:
    """The settings of one axis."""

    class AxisPage(Section):
        """What changes along this axis."""

        title: ClassVar[str] = f"{letter.upper()} axis"

        type: str = opt("none", label=f"{letter.upper()} axis", help="What changes along this axis.", choices="axes")
        values: str = opt(
            "",
            label="Values",
            help="Separated by commas; ranges as 1-5, 1-5 (+2) or 1-10 [5]. Checkpoints: steps, files, 'base', "
            "'all' or 'last'. Prompts: one a line.",
            editor="text",
        )

    return AxisPage


AxisX, AxisY, AxisZ = _axis_page("x"), _axis_page("y"), _axis_page("z")


class GridSettings(BaseModel):
    """A grid job, as it stands in GRID.toml."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    grid: GridPage = Field(default_factory=GridPage)
    x: AxisX = Field(default_factory=AxisX)  # type: ignore[valid-type]
    y: AxisY = Field(default_factory=AxisY)  # type: ignore[valid-type]
    z: AxisZ = Field(default_factory=AxisZ)  # type: ignore[valid-type]


@dataclass(frozen=True, slots=True)
class CellPlan:
    """Everything that decides one picture.

    Attributes:
        checkpoint: File of the checkpoint; "" is the base model itself.
    """

    checkpoint: str
    prompt: str
    negative: str
    seed: int
    cfg: float
    steps: int
    sampler: str
    width: int
    height: int
    x: int = 0
    y: int = 0
    z: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis with its values: `component` is the file of core/axes."""

    name: str
    values: tuple[Any, ...]

    @property
    def component(self) -> Any:
        """The module that knows this kind of axis."""
        return registry.component("axes", self.name)

    @property
    def labels(self) -> list[str]:
        """How the values are written beside the grid."""
        return [str(self.component.show(value)) for value in self.values]


@dataclass(frozen=True, slots=True)
class AxisContext:
    """What an axis may look at to read its values."""

    checkpoints: tuple[SavedModel, ...]
    shared: CellPlan
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class GridPlan:
    """A grid ready to be drawn."""

    axes: tuple[Axis, Axis, Axis]
    shared: CellPlan
    base: str

    @property
    def size(self) -> tuple[int, int, int]:
        """Columns, rows, sub-grids."""
        x, y, z = (len(axis.values) for axis in self.axes)
        return x, y, z

    def __len__(self) -> int:
        x, y, z = self.size
        return x * y * z

    def cells(self) -> Iterator[CellPlan]:
        """All cells; the axis whose change costs most (checkpoint) is the outermost loop."""
        order = sorted(range(3), key=lambda i: -float(self.axes[i].component.COST))
        for first in range(len(self.axes[order[0]].values)):
            for second in range(len(self.axes[order[1]].values)):
                for third in range(len(self.axes[order[2]].values)):
                    place = [0, 0, 0]
                    for axis, index in zip(order, (first, second, third), strict=True):
                        place[axis] = index
                    yield self._cell(place)

    def _cell(self, place: list[int]) -> CellPlan:
        cell = self.shared
        for axis, index in zip(self.axes, place, strict=True):
            cell = axis.component.apply(cell, axis.values[index], self.shared)
        return replace(cell, x=place[0], y=place[1], z=place[2])


def plan(settings: GridSettings, fixed_seed: int, frozen: bool = False) -> GridPlan:
    """The plan of a grid; UserError names the axis and the value that cannot be read.

    `fixed_seed` stands for -1: random seeds are fixed before the first cell. A `frozen` plan was looked over when its
    job was made; files that have gone since are then the renderer's business.
    """
    page = settings.grid
    saved: tuple[SavedModel, ...] = ()
    base = page.base
    if page.run:
        run = Run(resolve(page.run))
        run.facts()
        saved = tuple(run.checkpoints())
        base = base or run.settings().model.base
    if not base:
        raise UserError("grid.base: a grid needs a run or a base model; set grid.run or grid.base.")
    shared = CellPlan(
        checkpoint="",
        prompt=page.prompt,
        negative=page.negative,
        seed=fixed_seed if page.seed < 0 else page.seed,
        cfg=page.cfg,
        steps=page.steps,
        sampler=page.sampler,
        width=page.width,
        height=page.height,
    )
    context = AxisContext(saved, shared, frozen)
    try:
        shared = replace(shared, checkpoint=_shared_checkpoint(page.checkpoint, context))
    except ValueError as error:
        raise UserError(f"grid.checkpoint: {error}.") from None
    context = replace(context, shared=shared)
    axes = tuple(read_axis(letter, getattr(settings, letter), context) for letter in "xyz")
    return GridPlan((axes[0], axes[1], axes[2]), shared, base)


def _shared_checkpoint(text: str, context: AxisContext) -> str:
    """The checkpoint of cells whose axes do not choose one; empty means the run's last."""
    if text:
        return find_checkpoint(text, context)
    return str(context.checkpoints[-1].path) if context.checkpoints else ""


def read_axis(letter: str, page: Any, context: AxisContext) -> Axis:
    """An axis from its settings; UserError says which axis and value are wrong."""
    component = registry.component("axes", page.type)
    try:
        values = tuple(component.parse(page.values, context))
    except ValueError as error:
        raise UserError(f"{letter}.values ({component.LABEL}): {error}.") from None
    if not values:
        raise UserError(f"{letter}.values ({component.LABEL}): give at least one value, or set the axis to none.")
    return Axis(page.type, values)


_RANGE = re.compile(
    r"^\s*(-?\d+(?:\.\d+)?)\s*-\s*(-?\d+(?:\.\d+)?)\s*(?:\(\s*([-+]\d+(?:\.\d+)?)\s*\)|\[\s*(\d+)\s*\])?\s*$"
)


def split_values(text: str) -> list[str]:
    """Comma-separated values with CSV quoting; a text of several lines has one value a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return lines
    if not lines:
        return []
    row = next(csv.reader(io.StringIO(lines[0]), skipinitialspace=True))
    return [value.strip() for value in row if value.strip()]


def numbers(text: str, whole: bool) -> list[float]:
    """Numbers and A1111's ranges: 1-5, 1-5 (+2), 1-10 [5] (so many, evenly spaced, both ends included).

    Raises ValueError for anything else. With `whole` the numbers are rounded down as A1111 does.
    """
    found: list[float] = []
    for part in split_values(text):
        match = _RANGE.match(part)
        if match is None:
            found.append(_number(part))
            continue
        low, high = float(match.group(1)), float(match.group(2))
        if match.group(4):
            found.extend(_spread(low, high, int(match.group(4))))
        else:
            found.extend(_stride(low, high, float(match.group(3) or (1 if high >= low else -1)), part))
    return [int(value) for value in found] if whole else found


def _number(part: str) -> float:
    """A finite number."""
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"'{part}' is neither a number nor a range like 1-5, 1-5 (+2) or 1-10 [5]")
    return value


def _spread(low: float, high: float, count: int) -> list[float]:
    """`count` values from low to high, both included."""
    if count <= 1:
        return [low] * count
    return [low + (high - low) * i / (count - 1) for i in range(count)]


def _stride(low: float, high: float, step: float, part: str) -> list[float]:
    """low, low + step ... up to and with high."""
    if step == 0 or (high - low) * step < 0:
        raise ValueError(f"the range '{part}' never ends")
    if abs((high - low) / step) > 10_000:
        raise ValueError(f"the range '{part}' has more than 10,000 values")
    count = int((high - low) / step + 1e-9) + 1
    return [round(low + step * i, 10) for i in range(count)]


def find_checkpoint(text: str, context: AxisContext) -> str:
    """A checkpoint by step, file name or path; "base" is the base model. ValueError when there is none."""
    if text.lower() == "base":
        return ""
    for saved in context.checkpoints:
        if text in (str(saved.step), saved.path.name, saved.path.stem, str(saved.path)):
            return str(saved.path)
    path = resolve(text)
    if path.exists() or context.frozen:
        return str(path)
    steps = ", ".join(str(saved.step) for saved in context.checkpoints) or "none"
    raise ValueError(f"there is no checkpoint '{text}' (steps of the run: {steps})")


def checkpoint_label(path: str) -> str:
    """ "base", "step 1,200" or the file's name."""
    if not path:
        return "base"
    match = re.search(r"-step(\d+)$", Path(path).stem)
    return f"step {int(match.group(1)):,}" if match else Path(path).stem
