"""Tests of core/infotext.py: what A1111 writes and reads, in PNG and JPEG."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from core.grid import CellPlan
from core.infotext import parameters, quote, read_parameters, save_picture

CELL = CellPlan("", "a cat, (a hat:1.2)", "blurry", 42, 6.0, 28, "dpmpp_2m_karras", 512, 768)

#: How A1111 (modules/infotext_utils.py) finds the entries of the last line.
_A1111 = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def unquote(text: str) -> str:
    """A1111's own way back."""
    if not text or text[0] != '"' or text[-1] != '"':
        return text
    return str(json.loads(text))


def test_the_text_is_a1111s() -> None:
    text = parameters(CELL, {"Model hash": "", "Model": "my model"})
    assert text == (
        "a cat, (a hat:1.2)\nNegative prompt: blurry\n"
        "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6, Seed: 42, Size: 512x768, Model: my model"
    )


def test_without_a_negative_prompt_its_line_is_left_out() -> None:
    from dataclasses import replace

    assert parameters(replace(CELL, negative=""), {}).splitlines()[1].startswith("Steps: 28, ")


@pytest.mark.parametrize(
    "value", ["plain", "1, 2", "a: b", 'say "hi", you', "two\nlines", "back\\slash, x", "tab\t, ä"]
)
def test_a1111_reads_back_what_was_quoted(value: str) -> None:
    line = parameters(CELL, {"X Values": value, "Model": "m"}).splitlines()[-1]
    found = {key: unquote(text) for key, text in _A1111.findall(line)}
    assert found["X Values"] == value and found["Model"] == "m" and found["Seed"] == "42"


def test_plain_values_are_not_quoted() -> None:
    assert quote("DPM++ 2M") == "DPM++ 2M" and quote(7) == "7" and quote("a,b") == '"a,b"'


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("text", ["plain", "ä, 猫 🐈\nNegative prompt: x\nSteps: 1"])
def test_a_picture_carries_its_text(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_picture(path, Image.new("RGB", (16, 8), (200, 10, 10)), text)
    assert read_parameters(path) == text
    with Image.open(path) as image:
        assert image.size == (16, 8) and image.format == {".png": "PNG", ".jpg": "JPEG"}[suffix]
        red, green, _ = image.convert("RGB").getpixel((8, 4))  # type: ignore[misc]
        assert red > 190 and green < 30
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_png_keeps_the_chunk_that_a1111_looks_for(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", Image.new("RGB", (4, 4)), "hello")
    assert b"tEXtparameters\0hello" in (tmp_path / "a.png").read_bytes()


def test_a_picture_without_text(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    assert read_parameters(tmp_path / "a.png") == read_parameters(tmp_path / "a.jpg") == ""
