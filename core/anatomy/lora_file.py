"""What the header of a LoRA's file tells, without torch: whether a training can go on from it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core.anatomy.headers import PICKLES, Header, read_header
from core.errors import UserError

DOWN, DORA = ".lora_down.weight", ".dora_scale"
#: Beginnings of the names of layers of text encoders: SD 1.5's, SDXL's two.
_TEXT = ("lora_te_", "lora_te1_", "lora_te2_")


def rank_of(header: Header) -> int:
    """The largest rank of its layers, 0 for a file that is no LoRA."""
    return max((shape[0] for name, shape in header.shapes.items() if name.endswith(DOWN) and shape), default=0)


def objection(path: Path, rank: int, dora: bool, text: bool) -> str:
    """What keeps a LoRA of this rank from going on from a file: a sentence, or "".

    Args:
        dora: Whether directions and sizes are learnt apart.
        text: Whether text encoders are trained too.
    """
    if path.suffix.lower() in PICKLES:
        return f"{path.name} is an old pickle; save it as .safetensors first."
    try:
        facts = path.stat()
        header = _header(path, facts.st_mtime_ns, facts.st_size)
    except OSError:
        return f"{path} does not exist; check the path or leave it empty."
    except UserError as error:
        return str(error)
    found = rank_of(header)
    if not found:
        return f"{path.name} is no LoRA's file (it has no layer with lora_down.weight)."
    if found > rank:
        return f"{path.name} has rank {found}; set lora.rank to {found} or more."
    if dora != any(name.endswith(DORA) for name in header.shapes):
        return f"{path.name} is {'no' if dora else 'a'} DoRA; switch lora.dora {'off' if dora else 'on'}."
    if not text and any(name.startswith(_TEXT) for name in header.shapes):
        return f"{path.name} changes the text encoder as well; give training.text_encoder_learning_rate a rate."
    return ""


@lru_cache(maxsize=4)
def _header(path: Path, _changed: int, _size: int) -> Header:
    return read_header(path)
