"""Models that only describe pictures (BLIP, GIT, ViT with GPT-2 and their kin), in transformers' layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from core.captioners import _transformers
from core.captioners._words import Shot, Words
from core.schema import Section, opt

LABEL = "Describer (BLIP, GIT)"
HELP = "One short sentence a picture, from a model that can do nothing else. A folder in transformers' layout."
ORDER = 40
WRITES = "natural"


class _Own(Section):
    """What only describers have."""

    beginning: str = opt(
        "",
        label="Beginning",
        help="The model goes on from these words, for instance 'a painting of'. Not every model can; empty leaves it "
        "free.",
        aliases=("prompt", "caption_prefix"),
    )


class Options(_transformers.GenerationOptions, _Own):
    """Options of describers, their own first."""


def recognises(folder: Path) -> bool:
    """Whether a folder holds any model of transformers; the last one that is asked."""
    return bool(_transformers.read_config(folder).get("model_type"))


def load(folder: Path, options: Options, device: str) -> Describer:
    """Open the model; UserError where that fails."""
    return Describer(_transformers.open_writer(folder, options, device), options.beginning.strip())


class Describer:
    """A model that is ready to run."""

    def __init__(self, writer: _transformers.Writer, beginning: str) -> None:
        self._writer = writer
        self._beginning = beginning
        self.notes = writer.notes

    def prepare(self, image: Image.Image) -> Image.Image:
        """The picture, not larger than needed."""
        return _transformers.shrunk(image)

    def caption(self, shots: Sequence[Shot]) -> list[Words]:
        """A sentence for each picture, with its beginning."""
        texts = [self._beginning] * len(shots) if self._beginning else None
        said = self._writer.write([shot.pixels for shot in shots], texts)
        return [self._begun(text) for text in said]

    def _begun(self, text: str) -> str:
        """The text with its beginning, which some models repeat and some do not."""
        if not self._beginning or text.casefold().startswith(self._beginning.casefold()):
            return text
        return f"{self._beginning} {text}"
