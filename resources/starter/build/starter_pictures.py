"""Draws the starter pictures: a small fine-tuning set in the ink stamp style, with tags and captions."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from parts import SEED
from PIL import Image
from render import ink_scene
from sources import HIGH_CONTRAST, LABELS, NPM_PACKAGES, Subject, read_icons, read_subjects
from world import held_out, joined

STYLE = "ink stamp"
TAGS_AT_MOST = 4
LAYOUT = (
    (104, 1, (256, 256), 2.0),
    (14, 1, (192, 192), 1.5),
    (12, 1, (320, 192), 2.0),
    (12, 1, (192, 320), 2.0),
    (22, 2, (320, 192), 2.0),
    (16, 2, (192, 320), 2.0),
)

ORIGIN = """# Where the starter pictures come from

The glyphs are Microsoft's Fluent Emoji (high contrast), MIT licence (see LICENSE), taken from the npm package
{package}.
Names and tags are those of the npm package {labels} (MIT).

Changed: each glyph is drawn in one dark ink on a paper tone, alone or beside a second one, in a notched frame;
the tags got the style's name in front; the captions were written by a rule.
"""

LICENSE = """MIT License

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def sentence(subjects: list[Subject]) -> str:
    """Describe a picture of the starter style in a sentence."""
    return f"an {STYLE} of {joined(subjects)}"


def tag_line(subjects: list[Subject], rng: random.Random) -> str:
    """List a picture's tags, the style first, then the subjects, then some of their tags."""
    tags = [STYLE, *(subject.label for subject in subjects)]
    more = [tag for subject in subjects for tag in rng.sample(subject.tags, min(2, len(subject.tags)))]
    return ", ".join([*tags, *dict.fromkeys(tag for tag in more if tag not in tags)][: 2 + TAGS_AT_MOST])


def file_name(subjects: list[Subject], size: tuple[int, int]) -> str:
    """Name a picture after its subjects and, when it shows a single one, its shape."""
    shape = "" if size[0] == size[1] or len(subjects) > 1 else "-wide" if size[0] > size[1] else "-tall"
    return "-and-".join(subject.slug for subject in subjects) + shape


def choose(subjects: list[Subject], rng: random.Random) -> Iterator[tuple[list[Subject], tuple[int, int], float]]:
    """Choose each picture's subjects, size and unit: no subject twice while there are others."""
    left: list[Subject] = []
    for count, glyphs, size, unit in LAYOUT:
        for _ in range(count):
            if len(left) < glyphs:
                left = rng.sample(subjects, len(subjects))
            yield [left.pop() for _ in range(glyphs)], size, unit


def draw_starter_pictures(sources: Path, starter: Path) -> int:
    """Write pictures, tags, captions, licence and the held-out prompts; return the number of pictures."""
    rng = random.Random(SEED)
    subjects, icons = read_subjects(sources), read_icons(sources, HIGH_CONTRAST)
    apart = held_out(subjects)
    folder = starter / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    number = 0
    for chosen, size, unit in choose([subject for subject in subjects if subject not in apart], rng):
        picture = ink_scene([icons[subject.slug] for subject in chosen], size, unit)
        stem = folder / file_name(chosen, size)
        palette = picture.quantize(64, dither=Image.Dither.NONE).convert("RGB")
        palette.save(stem.with_suffix(".png"), optimize=True)
        stem.with_suffix(".txt").write_text(tag_line(chosen, rng) + "\n", encoding="utf-8")
        stem.with_suffix(".caption").write_text(sentence(chosen) + "\n", encoding="utf-8")
        number += 1
    origin = ORIGIN.format(package=NPM_PACKAGES[HIGH_CONTRAST], labels=NPM_PACKAGES[LABELS])
    (folder / "ORIGIN.md").write_text(origin, encoding="utf-8")
    (folder / "LICENSE").write_text(LICENSE, encoding="utf-8")
    prompts = "".join(f"{sentence([subject])}\n" for subject in apart)
    (starter / "heldout.txt").write_text(prompts, encoding="utf-8")
    return number
