"""The plots: extremes survive decimation, smoothing equals its loop, marks tell the truth, None keeps its count."""

from __future__ import annotations

import gc
import math
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.run_data import RunData
from gui import theme
from gui.plots.axis import log_tick_text, tick_text
from gui.plots.curve_plot import CurvePlot, Series
from gui.plots.decimate import Blocks, decimate, decimate_columns, inner_range, thin
from gui.plots.loss_card import LossCard, window_of
from gui.plots.loss_views import bucket_series
from gui.plots.marks import minimum, usable_range
from gui.plots.smoothing import SmoothCurve, Smoother, weight_of
from gui.plots.spark import Spark, SparkLine
from gui.plots.timeline import Timeline, nearest
from tests.gui.run_folders import a_step, evaluated, sensors, started

VALUES = hnp.arrays(
    np.float64,
    st.integers(1, 3000),
    elements=st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))),
)


@pytest.fixture(autouse=True)
def _theme(qapp):
    theme.apply(qapp, "light")


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@settings(max_examples=120, deadline=None)
@given(VALUES, st.integers(1, 60), st.booleans())
def test_decimation_keeps_every_columns_extremes(values: np.ndarray, pixels: int, blocks: bool) -> None:
    steps = np.arange(len(values), dtype=np.float64)
    edges = np.linspace(0, len(values) - 1, pixels + 1)
    x, y = decimate_columns(steps, values, edges, Blocks() if blocks else None)
    assert len(x) == len(y) <= max(2 * (pixels + 4), 2 * pixels)
    assert (np.diff(x) >= 0).all()
    if np.isfinite(values).any():
        assert np.nanmin(y) == np.nanmin(values) and np.nanmax(y) == np.nanmax(values)
    if blocks:
        return  # a block may stand in the neighbouring column
    for low, high in pairwise(edges.tolist()):
        inside, drawn = values[(steps >= low) & (steps < high)], y[(x >= low) & (x < high)]
        if np.isfinite(inside).any():
            assert np.nanmin(drawn) == np.nanmin(inside) and np.nanmax(drawn) == np.nanmax(inside)


def test_decimation_of_a_part_keeps_a_neighbour_on_either_side() -> None:
    steps = np.arange(100_000, dtype=np.float64)
    x, _ = decimate(steps, np.sin(steps), 40_000.5, 60_000.5, 500)
    assert x[0] == 40_000 and x[-1] == 60_001
    x, y = decimate(steps, steps, 10.2, 13.8, 500)
    assert list(x) == list(y) == [10, 11, 12, 13, 14]


def test_a_gap_of_nan_stays_a_gap() -> None:
    values = np.ones(10_000)
    values[4000:6000] = np.nan
    x, y = decimate(np.arange(10_000.0), values, 0, 10_000, 100)
    assert np.isnan(y[(x > 4100) & (x < 5900)]).all()
    assert np.isfinite(y[(x < 3900) | (x > 6100)]).all()


def test_blocks_follow_a_curve_that_grows_and_one_that_was_cut() -> None:
    steps, values = np.arange(100_000.0), np.random.default_rng(1).normal(size=100_000)
    edges, blocks = np.linspace(0, 100_000, 51), Blocks()
    for end in (20_000, 20_100, 90_000, 100_000):
        grown = decimate_columns(steps[:end], values[:end], edges, blocks, 0)
        assert grown[1].max() == values[:end].max() and grown[1].min() == values[:end].min()
    values[:] = 0.5
    cut = decimate_columns(steps, values, edges, blocks, 1)
    assert (cut[1] == 0.5).all()


def test_thin_leaves_one_point_where_two_would_be_drawn_as_one() -> None:
    x, y = thin(np.repeat(np.arange(4.0), 2), np.array([0, 0.1, 0, 5, 1, 1, np.nan, np.nan]), 0.5)
    assert list(x) == [0, 1, 1, 2, 3, 3] and list(y[:4]) == [0, 0, 5, 1]


def test_inner_range_leaves_out_spikes() -> None:
    values = np.concatenate((np.linspace(0, 1, 99), [1e6]))
    assert inner_range(values, 0.02) == (pytest.approx(2 / 98), pytest.approx(97 / 98))
    assert inner_range(values, 0) == (0, 1e6)
    assert inner_range(np.array([3.0]), 0.02) == (3, 3)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 900), elements=st.one_of(st.floats(0, 10), st.just(float("nan")))),
    st.sampled_from([0.0, 0.02, 0.5, 0.9, 0.99, 0.9999]),
    st.integers(1, 400),
)
def test_smoothing_equals_the_loop(values: np.ndarray, weight: float, piece: int) -> None:
    smoother = Smoother(weight)
    for first in range(0, len(values), piece):
        smoother.extend(values[first : first + piece])
    mean, count, wanted = 0.0, 0, []
    for value in values:
        if math.isnan(value):
            wanted.append(value)
            continue
        mean, count = weight * mean + (1 - weight) * value, count + 1
        wanted.append(mean / (1 - weight**count))
    np.testing.assert_allclose(smoother.values, wanted, rtol=1e-9, atol=1e-12)


def test_smoothing_refuses_a_weight_that_never_forgets() -> None:
    with pytest.raises(ValueError):
        Smoother(1.0)
    assert weight_of(1) == 0 and weight_of(100) == pytest.approx(0.99)


def test_minimum_and_usable_range() -> None:
    steps = np.arange(6.0) * 100
    values = np.array([0.20, 0.15, 0.10, 0.12, 0.16, 0.24])
    assert minimum(steps, values) == (200, 0.10)
    assert usable_range(steps, values) == (200, pytest.approx(450))
    assert usable_range(steps[:5], values[:5]) == (200, 400), "never back: to the end"
    assert usable_range(steps[:4], values[:4]) is None, "one later point is no proof"
    assert usable_range(steps, values[::-1]) is None or values[::-1][0] > 0.1
    assert usable_range(steps, np.linspace(0.1, 0.2, 6)) is None, "it never fell"
    assert minimum(steps, np.full(6, np.nan)) is None
    assert minimum(steps, np.array([np.nan, 3, 2, np.nan, 5, 6])) == (200, 2)


def test_ticks_are_written_for_people() -> None:
    assert tick_text(12_000, 2000) == "12,000"
    assert tick_text(0.125, 0.005) == "0.125"
    assert tick_text(0, 1) == "0"
    assert tick_text(2e-6, 1e-6) == "2e-6"
    assert log_tick_text(-1) == "0.1" and log_tick_text(-6) == "1e-6"
    assert log_tick_text(2.30103) == "200" and log_tick_text(4) == "10,000" and log_tick_text(6) == "1e6"


def _data(steps: int = 200) -> RunData:
    data = RunData()
    data.feed([started(), *(a_step(n, 0.1 + n / 1000) for n in range(1, steps + 1)), sensors(steps)])
    return data


def test_timeline_maps_steps_to_units_and_back() -> None:
    timeline = Timeline()
    timeline.set_data(_data())
    steps = np.array([0.0, 10.0, 150.0])
    for axis, factor in (("step", 1), ("images", 4), ("epoch", 1 / 50), ("hours", 2 / 3600)):
        timeline.set_axis(axis)
        np.testing.assert_allclose(timeline.forward(steps), steps * factor)
        np.testing.assert_allclose(timeline.inverse(timeline.forward(steps)), steps, atol=1e-9)
    assert set(timeline.available()) == {"step", "images", "epoch", "hours", "kwh"}
    assert timeline.words(150) == "step 150 · 5 min 00 s"


def test_timeline_follows_until_the_user_looks_elsewhere() -> None:
    timeline, data = Timeline(), _data()
    timeline.set_data(data)
    data.feed([a_step(400)])
    timeline.advance()
    assert timeline.high > 400
    timeline.set_range(50, 100)
    data.feed([a_step(800)])
    timeline.advance()
    assert (timeline.low, timeline.high) == (50, 100) and not timeline.following
    timeline.reset()
    assert timeline.high > 800 and timeline.following


def test_nearest() -> None:
    steps = np.array([1.0, 5.0, 9.0])
    assert [nearest(steps, step) for step in (0, 2.9, 3.1, 99)] == [0, 0, 1, 2]
    assert nearest(np.empty(0), 3) is None


def test_plot_reads_out_marks_and_zooms(qtbot) -> None:
    timeline = Timeline()
    plot = CurvePlot(timeline)
    qtbot.addWidget(plot)
    plot.resize(600, 300)
    plot.set_series([Series("a", "A", lambda t: t.curves[0]), Series("b", "B", lambda t: t.dim, noisy=True)])
    data = _data()
    timeline.set_data(data)
    loss = data.curve("loss")
    plot.set_points("a", loss.steps, loss.values)
    plot.set_points("b", loss.steps, loss.values * 9)
    plot.set_marks((50, 0.15), (50, 120))
    plot.show()
    plot.refresh()
    assert plot.points_drawn("a") == 200
    timeline.set_cursor(42)
    assert plot.value_of("a") == pytest.approx(0.142)
    timeline.set_cursor(None)
    assert plot.value_of("a") == pytest.approx(0.3)
    low, high = plot.view.viewRange()[1]
    assert low < 0.101 and 0.3 < high < 0.6, "the noisy curve does not stretch the axis"
    plot.set_points("a", loss.steps, loss.values - 0.1)
    plot.refresh()
    assert plot.view.viewRange()[1][0] == 0, "no room below zero, where no loss can be"
    plot.set_points("a", loss.steps, loss.values - 0.2)
    plot.refresh()
    assert plot.view.viewRange()[1][0] < -0.099, "values below zero keep their room"
    plot.set_points("a", loss.steps, loss.values)
    plot.set_log(True)
    plot.refresh()
    assert plot.view.viewRange()[1][1] < 0, "exponents of ten"
    timeline.set_range(20, 40)
    plot.refresh()
    assert 20 <= plot.points_drawn("a") <= 24
    plot.set_visible("a", False)
    plot.refresh()
    assert plot.points_drawn("a") == 0
    theme.apply(_app(), "dark")
    assert plot._lines["a"].opts["pen"].color().name() == theme.DARK.curves[0]


def _app():
    from PySide6.QtWidgets import QApplication

    return QApplication.instance()


def _card(qtbot, data: RunData) -> tuple[Timeline, LossCard, RunData]:
    """A loss card that shows data."""
    timeline = Timeline()
    card = LossCard(timeline)
    qtbot.addWidget(card)
    timeline.set_data(data)
    card.set_data(data)
    card.refresh()
    return timeline, card, data


def _smoothed(card: LossCard) -> np.ndarray:
    """The smoothed training loss as it is drawn."""
    return card.plot._points["smooth"][1]


def test_loss_card_smooths_what_comes_and_begins_anew_after_a_resume(qtbot) -> None:
    _, card, data = _card(qtbot, _data())

    def wanted() -> np.ndarray:
        smoother = Smoother(weight_of(window_of(card.smoothing.value())))
        smoother.extend(data.curve("loss").values)
        return smoother.values

    np.testing.assert_allclose(_smoothed(card), wanted())
    data.feed([a_step(201, 5.0)])
    card.refresh()
    np.testing.assert_allclose(_smoothed(card), wanted())
    data.feed([started(step=100), a_step(101, 7.0), *(a_step(n) for n in range(102, 300))])
    card.refresh()
    np.testing.assert_allclose(_smoothed(card), wanted())
    card.smoothing.setValue(10)
    np.testing.assert_allclose(_smoothed(card), wanted())


def test_a_long_curve_is_smoothed_in_pieces(qtbot) -> None:
    data = RunData()
    values = np.random.default_rng(0).normal(size=3 * SmoothCurve.PIECE + 7)
    data.curve("loss").extend(np.arange(1.0, len(values) + 1), values)
    data.last_step = len(values)
    _, card, _ = _card(qtbot, data)
    assert len(_smoothed(card)) == SmoothCurve.PIECE
    qtbot.waitUntil(lambda: len(_smoothed(card)) == len(values))
    smoother = Smoother(weight_of(window_of(card.smoothing.value())))
    smoother.extend(values)
    np.testing.assert_allclose(_smoothed(card), smoother.values)


def test_loss_card_shows_the_parts_by_timestep_against_their_first(qtbot) -> None:
    data = _data()
    data.feed([evaluated(0, 0.2), evaluated(100, 0.1), evaluated(200, 0.15)])
    _, card, _ = _card(qtbot, data)
    card.views.choose("buckets")
    assert list(card.legend) == [f"stable/validation/{n}" for n in range(4)]
    assert card.plot.value_of("stable/validation/0") == pytest.approx(75)
    assert card.legend["stable/validation/1"].series.label == "timesteps 250–499"
    card.views.choose("losses")
    assert list(card.legend) == ["stable/validation", "stable/train", "smooth", "loss"]
    colors = {bucket_series("train", n, 4).color(theme.LIGHT) for n in range(4)}
    assert len(colors) == 4


def test_spark_says_value_unit_and_what_is_missing(qtbot) -> None:
    timeline, data = Timeline(), _data()
    timeline.set_data(data)
    spark = Spark(timeline, "Speed", lambda value: f"{value:.1f} images/s")
    qtbot.addWidget(spark)
    assert spark.value_words() == "–"
    spark.set_lines([], "not measured")
    assert spark.value_words() == "not measured"
    curve = data.curve("speed")
    spark.set_lines([SparkLine(curve.steps, curve.values)])
    assert spark.value_words() == "2.0 images/s"
    spark.resize(200, 76)
    spark.show()
    timeline.set_cursor(12)
    spark.repaint()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal from 3.12 on")
def test_repaints_do_not_eat_none(qtbot) -> None:
    """PySide6 6.12.0 on Python 3.11 loses a reference to None at most void calls; the plots die of it."""
    timeline, card, _ = _card(qtbot, _data())
    card.show()
    gc.collect()  # what earlier tests left holds references too, and must not be freed while they are counted
    gc.disable()
    try:
        before = sys.getrefcount(None)
        for step in range(60):
            timeline.set_cursor(step)
            card.plot.refresh()
            card.plot.viewport().repaint()
        assert sys.getrefcount(None) > before - 60
    finally:
        gc.enable()
