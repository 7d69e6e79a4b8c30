"""Vision-language models that follow an instruction (Qwen2-VL, LLaVA and their kin), in transformers' layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from core.captioners import _transformers
from core.captioners._words import Shot, Words
from core.errors import UserError
from core.schema import Section, opt

LABEL = "Vision-language model"
HELP = "Does what your instruction says, in your style and language. Qwen2-VL, LLaVA and the like; wants a GPU."
ORDER = 30
WRITES = "natural"

#: What an instruction may hold in braces.
_PLACE = re.compile(r"\{(tags|caption|file|folder)\}")


class _Own(Section):
    """What only vision-language models have."""

    prompt: str = opt(
        "Caption this picture in one or two\nplain sentences. Name the subject,\nwhat it does, the setting, the light\n"
        "and the style. Do not begin with\n'The image'.",
        label="Instruction",
        help="What the model is asked of each picture. {tags}, {caption}, {file} and {folder} stand for the picture's "
        "present tags and sentence, its file name without ending and its folder's name.",
        editor="text",
        aliases=("prompt", "question"),
    )
    system: str = opt(
        "",
        label="Role",
        help="Said before the instruction, as the system's message. Not every model heeds or knows one.",
        editor="text",
        level="advanced",
        aliases=("system_prompt",),
    )


class Options(_transformers.GenerationOptions, _Own):
    """Options of vision-language models, their own first."""


def recognises(folder: Path) -> bool:
    """Whether a folder holds a model that takes pictures and holds conversations."""
    return bool(_transformers.read_config(folder).get("model_type")) and _transformers.has_chat_template(folder)


def load(folder: Path, options: Options, device: str) -> Instructed:
    """Open the model; UserError where that fails."""
    if not _transformers.has_chat_template(folder):
        raise UserError(
            f"{folder} has no chat template, so it cannot be given an instruction. Choose the captioner "
            "'image_to_text' for it, or another model."
        )
    return Instructed(_transformers.open_writer(folder, options, device), options)


def asked(prompt: str, shot: Shot) -> str:
    """The instruction for one picture; braces that are none of ours stay as they are."""
    path = Path(shot.path)
    facts = {
        "tags": shot.tags.split("\n")[0],
        "caption": shot.natural.split("\n")[0],
        "file": path.stem,
        "folder": path.parent.name,
    }
    return _PLACE.sub(lambda found: facts[found[1]] or "none", prompt)


class Instructed:
    """A model that is ready to run."""

    def __init__(self, writer: _transformers.Writer, options: Options) -> None:
        self._writer = writer
        self._options = options
        self.notes = writer.notes

    def prepare(self, image: Image.Image) -> Image.Image:
        """The picture, not larger than needed."""
        return _transformers.shrunk(image)

    def caption(self, shots: Sequence[Shot]) -> list[Words]:
        """What the model answers for each picture."""
        template = getattr(self._writer.processor, "chat_template", None)
        speaker = self._writer.processor if template else self._writer.tokenizer
        texts = [
            speaker.apply_chat_template(self._messages(shot), add_generation_prompt=True, tokenize=False)
            for shot in shots
        ]
        return [*self._writer.write([shot.pixels for shot in shots], texts)]

    def _messages(self, shot: Shot) -> list[dict[str, Any]]:
        parts = [{"type": "image"}, {"type": "text", "text": asked(self._options.prompt, shot)}]
        question = {"role": "user", "content": parts}
        system = self._options.system.strip()
        return [{"role": "system", "content": [{"type": "text", "text": system}]}, question] if system else [question]
