"""Tests of core/captioners/wd14.py with a real ONNX model, whose output shows every number that went in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.captioners import wd14
from core.captioners._words import Shot
from core.errors import UserError
from tests.fixtures import tiny_captioners as tiny

_RED, _GREEN, _BLUE, _WHITE, _BLACK = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0))


def square(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (20, 20), colour)


def tags(tagger: wd14.Tagger, *images: Image.Image) -> list[object]:
    return [*tagger.caption([Shot(tagger.prepare(image)) for image in images])]


def open_tagger(folder: Path, **options: object) -> wd14.Tagger:
    return wd14.load(folder, wd14.Options(**options), "cpu")


def reference_input(image: Image.Image, side: int) -> np.ndarray:
    """What the authors' demonstration feeds: white square, bicubic, float32 of 0 ... 255, blue first."""
    edge = max(image.size)
    canvas = np.full((edge, edge, 3), 255, np.uint8)
    left, top = (edge - image.width) // 2, (edge - image.height) // 2
    canvas[top : top + image.height, left : left + image.width] = np.asarray(image)
    resized = Image.fromarray(canvas)
    if edge != side:
        resized = resized.resize((side, side), Image.Resampling.BICUBIC)
    return np.stack([np.asarray(resized, np.float32)[..., channel] for channel in (2, 1, 0)], axis=-1)


@pytest.mark.parametrize("size", [(16, 16), (37, 21), (21, 40), (300, 7), (9, 10)])
def test_pixels_are_those_of_the_authors_demonstration(tmp_path: Path, size: tuple[int, int]) -> None:
    tagger = open_tagger(tiny.tagger(tmp_path))
    noise = np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    assert tagger.side == 16
    np.testing.assert_array_equal(tagger.prepare(image).astype(np.float32), reference_input(image, 16))


def test_a_very_long_picture_is_made_smaller_first(tmp_path: Path) -> None:
    """A square of 60,000 pixels a side would be 10 GB."""
    pixels = open_tagger(tiny.tagger(tmp_path)).prepare(Image.new("RGB", (60_000, 4), "black"))
    assert pixels.shape == (16, 16, 3)


def test_tags_by_colour_and_the_surest_first(tmp_path: Path) -> None:
    tagger = open_tagger(tiny.tagger(tmp_path))
    assert tags(tagger, square(_GREEN), square(_BLUE), square(_BLACK)) == [["green theme"], ["blue theme"], []]
    # logits of red: theme 6, face 4, hero 2 (a character: 0.88, above its threshold)
    assert tags(tagger, square(_RED)) == [["some hero (game)", "red theme", "^_^"]]


def test_thresholds_by_category(tmp_path: Path) -> None:
    folder = tiny.tagger(tmp_path)
    assert tags(open_tagger(folder, character_threshold=0.9), square(_RED)) == [["red theme", "^_^"]]
    assert tags(open_tagger(folder, threshold=0.99), square(_RED)) == [["some hero (game)", "red theme"]]
    assert tags(open_tagger(folder, threshold=0.001), square(_BLACK)) == [["red theme", "green theme", "blue theme"]]


def test_characters_rating_and_underscores(tmp_path: Path) -> None:
    folder = tiny.tagger(tmp_path)
    assert tags(open_tagger(folder, characters="by score"), square(_RED)) == [["red theme", "^_^", "some hero (game)"]]
    assert tags(open_tagger(folder, characters="none"), square(_RED)) == [["red theme", "^_^"]]
    assert tags(open_tagger(folder, underscores=True), square(_RED)) == [["some_hero_(game)", "red_theme", "^_^"]]
    rated = tags(open_tagger(folder, rating=True, characters="none"), square(_WHITE), square(_GREEN))
    assert rated == [["red theme", "green theme", "blue theme", "^_^", "explicit"], ["green theme", "general"]]


@pytest.mark.parametrize(
    "shape", [{"layout": "nchw"}, {"batch": 1}, {"batch": 4}, {"sigmoid": False}, {"layout": "nchw", "batch": 2}]
)
def test_every_shape_of_model_says_the_same(tmp_path: Path, shape: dict[str, object]) -> None:
    images = [square(colour) for colour in (_RED, _GREEN, _BLUE, _WHITE, _BLACK)]
    one, two = tiny.tagger(tmp_path / "plain"), tiny.tagger(tmp_path / "other", **shape)  # type: ignore[arg-type]
    for threshold in (0.35, 0.001):
        plain, other = open_tagger(one, threshold=threshold), open_tagger(two, threshold=threshold)
        assert tags(other, *images) == tags(plain, *images)
    assert other.side == 16 and "processor" in other.notes[0]


def test_which_folders_are_taggers(tmp_path: Path) -> None:
    folder = tiny.tagger(tmp_path / "tagger")
    assert wd14.recognises(folder) and not wd14.recognises(tmp_path)
    (folder / "model.onnx").rename(folder / "wd-v3.onnx")
    assert wd14.recognises(folder)
    shutil.copy(folder / "wd-v3.onnx", folder / "another.onnx")
    assert not wd14.recognises(folder)


def test_a_folder_of_two_models_is_told(tmp_path: Path) -> None:
    folder = tiny.tagger(tmp_path)
    rows = (folder / "selected_tags.csv").read_text().splitlines()
    (folder / "selected_tags.csv").write_text("\n".join(rows[:-2]))
    with pytest.raises(UserError, match=r"knows 7 tags, but selected_tags.csv beside it has 5"):
        open_tagger(folder)


def test_a_machine_without_onnxruntime_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.tagger(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert wd14.recognises(folder)
    with pytest.raises(UserError, match="Taggers need onnxruntime"):
        open_tagger(folder)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("selected_tags.csv", "name\ncat\n", "columns name and category"),
        ("selected_tags.csv", "name,category\ncat,general\n", "columns name and category"),
        ("model.onnx", "half a file", "cannot be opened as an ONNX model"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, name: str, content: str, says: str) -> None:
    folder = tiny.tagger(tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        open_tagger(folder)
    assert name in str(caught.value) and "\n" not in str(caught.value)
