"""Selection and layout of the grid of pictures: arithmetic only, held against plain sets and a plain picture of it."""

from __future__ import annotations

import random

import pytest

from gui.widgets.grid_layout import GAP, GridLayout
from gui.widgets.selection import Selection


def test_any_series_of_clicks_selects_what_a_set_would() -> None:
    chance = random.Random(0)
    for _ in range(60):
        found, wanted, anchor = Selection(), set(), -1
        for _ in range(40):
            place = chance.randrange(30)
            kind = chance.choice(("only", "toggle", "extend", "both"))
            if kind == "only":
                found.only(place)
                wanted, anchor = {place}, place
            elif kind == "toggle":
                found.toggle(place)
                wanted, anchor = wanted ^ {place}, place
            else:
                found.extend(place, add=kind == "both")
                anchor = place if anchor < 0 else anchor
                span = set(range(min(anchor, place), max(anchor, place) + 1))
                wanted = span | (wanted if kind == "both" else set())
            assert set(found) == wanted and len(found) == len(wanted)
            assert [place for place in range(-1, 32) if place in found] == sorted(wanted)
            assert found.current == place
            assert all(a[1] < b[0] for a, b in zip(found.ranges, found.ranges[1:], strict=False))


def test_all_of_twelve_million_is_one_range() -> None:
    selection = Selection()
    selection.all(12_400_000)
    assert len(selection) == 12_400_000 and len(selection.ranges) == 1 and 12_399_999 in selection
    selection.toggle(5)
    assert len(selection) == 12_399_999 and 5 not in selection
    selection.clear()
    assert len(selection) == 0 and selection.current == -1


@pytest.mark.parametrize("count", [0, 1, 7, 1000, 12_400_000, 2_000_000_000])
@pytest.mark.parametrize(("width", "height"), [(800, 600), (100, 300), (2400, 90)])
def test_every_tile_can_be_scrolled_to_and_hit(count: int, width: int, height: int) -> None:
    layout = GridLayout(count, width, height)
    assert 0 <= layout.maximum < 2**31 - 2**24
    end = layout.visible(layout.maximum)
    if count:
        assert end[-1] == count - 1
        assert layout.top(count - 1, layout.maximum) + layout.edge <= height + layout.pitch // layout.parts or (
            layout.edge > height
        )
    for position in {0, count // 3, count - 1} if count else ():
        value = layout.reveal(position, layout.maximum // 2)
        assert 0 <= value <= max(layout.maximum, layout.value_for(position))
        assert position in layout.visible(value)
        x, y = layout.left(position) + 2, layout.top(position, value) + 2
        assert layout.at(x, y, value) == position
        assert layout.at(x, y - 2 - GAP // 2, value) in (-1, position - layout.columns)
        assert layout.at(x - 2 - GAP // 2, y, value) == -1


def test_a_tile_in_sight_is_not_moved() -> None:
    layout = GridLayout(1000, 800, 600)
    value = layout.value_for(500)
    inside = [position for position in layout.visible(value) if layout.top(position, value) + layout.edge <= 600]
    assert all(layout.reveal(position, value) == value for position in inside)
    below = inside[-1] + 1
    assert layout.reveal(below, value) > value
    assert layout.top(below, layout.reveal(below, value)) + layout.edge <= 600
