"""Florence-2: a small model that is asked by task (a caption, a detailed one, a more detailed one)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image

from core.captioners import _transformers
from core.captioners._words import Shot, Words
from core.schema import Section, opt

LABEL = "Florence-2"
HELP = "Short or long descriptions in plain English; small and quick. A folder converted for transformers."
ORDER = 20
WRITES = "natural"


class _Own(Section):
    """What only Florence-2 has."""

    task: Literal["caption", "detailed caption", "more detailed caption"] = opt(
        "more detailed caption",
        label="How detailed",
        help="A sentence, two or three, or a paragraph. A paragraph can be longer than what SD 1.5 reads.",
    )


class Options(_transformers.GenerationOptions, _Own):
    """Options of Florence-2, its own first."""


def recognises(folder: Path) -> bool:
    """Whether a folder holds a Florence-2."""
    return _transformers.read_config(folder).get("model_type") == "florence2"


def load(folder: Path, options: Options, device: str) -> Florence2:
    """Open the model; UserError where that fails."""
    return Florence2(_transformers.open_writer(folder, options, device), options.task)


class Florence2:
    """A model that is ready to run."""

    def __init__(self, writer: _transformers.Writer, task: str) -> None:
        self._writer = writer
        self._task = f"<{task.upper().replace(' ', '_')}>"
        self.notes = writer.notes

    def prepare(self, image: Image.Image) -> Image.Image:
        """The picture, not larger than needed."""
        return _transformers.shrunk(image)

    def caption(self, shots: Sequence[Shot]) -> list[Words]:
        """A description of each picture."""
        return [*self._writer.write([shot.pixels for shot in shots], [self._task] * len(shots))]
