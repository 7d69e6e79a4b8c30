"""The "parameters" text that A1111 writes into pictures and reads from them, and pictures saved with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from core import atomic, registry
from core.grid import CellPlan

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286


def quote(value: object) -> str:
    """A value as A1111 quotes it: as a JSON text when it holds a comma, colon, quote or line end."""
    text = str(value)
    if not any(mark in text for mark in ',:"\n'):
        return text
    return json.dumps(text, ensure_ascii=False)


def parameters(cell: CellPlan, facts: Mapping[str, Any]) -> str:
    """Prompt, negative prompt and one line of settings; `facts` (Model, Model hash, Script ...) end the line."""
    lines = [cell.prompt]
    if cell.negative:
        lines.append(f"Negative prompt: {cell.negative}")
    entries: dict[str, Any] = {
        "Steps": cell.steps,
        "Sampler": registry.label("samplers", cell.sampler),
        "CFG scale": f"{cell.cfg:g}",
        "Seed": cell.seed,
        "Size": f"{cell.width}x{cell.height}",
        **facts,
    }
    lines.append(", ".join(f"{key}: {quote(value)}" for key, value in entries.items() if value != ""))
    return "\n".join(lines)


def save_picture(path: Path, image: Image.Image, text: str) -> None:
    """Write a PNG (text chunk "parameters") or JPEG (EXIF UserComment) all or nothing."""
    with atomic.replacing(path) as temporary:
        if path.suffix.lower() == ".png":
            chunk = PngImagePlugin.PngInfo()
            chunk.add_text("parameters", text)
            image.save(temporary, "png", pnginfo=chunk)
        else:
            exif = Image.Exif()
            exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
            image.save(temporary, "jpeg", quality=92, subsampling=0, exif=exif)


def read_parameters(path: Path) -> str:
    """The parameters text of a picture, "" when it has none."""
    with Image.open(path) as image:
        if text := image.info.get("parameters"):
            return str(text)
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    return comment[8:].decode("utf-16-be", "replace") if comment[:8] == b"UNICODE\0" else ""
