"""Tests of core/grid_picture.py: cells in their places, labels beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import presets
from core.grid import GridPlan, GridSettings, plan
from core.grid_picture import compose, font, wrap

COLOURS = {(x, y): (40 + 60 * x, 30 + 90 * y, 10) for x in range(3) for y in range(2)}


def grid(**values: str) -> GridPlan:
    flat = {"grid.base": "/m", "grid.width": 64, "grid.height": 48}
    return plan(presets.build({**flat, **{k.replace("__", "."): v for k, v in values.items()}}, "t", GridSettings), 1)


@pytest.fixture
def cells(tmp_path: Path) -> dict[tuple[int, int], Path]:
    """Pictures of one colour each, 3 columns by 2 rows."""
    paths = {}
    for (x, y), colour in COLOURS.items():
        paths[x, y] = tmp_path / f"{x}{y}.png"
        Image.new("RGB", (64, 48), colour).save(paths[x, y])
    return paths


def place_of(image: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """(left, top, pixels) of a colour in a picture."""
    found = np.argwhere((np.asarray(image) == colour).all(axis=2))
    return int(found[:, 1].min()), int(found[:, 0].min()), len(found)


def test_cells_stand_in_columns_and_rows_unchanged(cells: dict[tuple[int, int], Path]) -> None:
    image = compose(grid(x__type="seed", x__values="1-3", y__type="steps", y__values="10,20"), cells, 0)
    places = {key: place_of(image, colour) for key, colour in COLOURS.items()}
    assert all(count == 64 * 48 for _, _, count in places.values())
    assert [places[x, 0][0] - places[0, 0][0] for x in range(3)] == [0, 68, 136]
    assert places[0, 1][1] - places[0, 0][1] == 52
    left, top, _ = places[0, 0]
    pixels = np.asarray(image)
    assert pixels[:top, left:].min() < 100  # column labels are drawn above
    assert pixels[top:, : left - 4].min() < 100  # row labels to the left
    assert pixels[:top, : left - 4].min() > 200  # nothing in the corner


def test_without_axes_there_is_no_room_for_labels(cells: dict[tuple[int, int], Path]) -> None:
    image = compose(grid(), {(0, 0): cells[0, 0]}, 0)
    assert image.size == (64 + 8, 48 + 8)


def test_each_z_has_a_title(cells: dict[tuple[int, int], Path]) -> None:
    deep = grid(z__type="seed", z__values="1,2")
    flat = compose(grid(), {(0, 0): cells[0, 0]}, 0)
    one, two = (compose(deep, {(0, 0): cells[0, 0]}, z) for z in (0, 1))
    assert one.height > flat.height
    assert not np.array_equal(np.asarray(one), np.asarray(two))


def test_missing_cells_are_grey_even_when_all_are(cells: dict[tuple[int, int], Path]) -> None:
    layout = grid(x__type="seed", x__values="1-3")
    some = compose(layout, {(1, 0): cells[1, 0]}, 0)
    none = compose(layout, {}, 0)
    assert some.size == none.size
    assert place_of(some, COLOURS[1, 0])[2] == 64 * 48
    assert place_of(none, (238, 240, 243))[2] > 3 * 60 * 40


def test_wrapping_keeps_all_letters_within_the_width() -> None:
    face = font(14)
    text = "a rather long label with a pneumonoultramicroscopicsilicovolcanoconiosis in it"
    lines = wrap(text, face, 90)
    assert all(face.getlength(line) <= 90 for line in lines) and len(lines) > 4
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap("", face, 90) == [] and wrap("short", face, 90) == ["short"]
