"""The loss card's views on real run folders: what each shows, where the draws come from, and what is said without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from core import events as ev
from core.run_data import RunData
from core.timestep_losses import RECORD, Recorder, debiased, path_of
from core.timestep_views import Draws, DrawsReader
from gui import theme
from gui.plots.loss_card import LossCard
from gui.plots.plot_marks import with_zero
from gui.plots.timeline import Timeline
from gui.plots.timestep_plot import DrawsPlot, HistogramPlot
from gui.widgets.segments import Segments
from tests.gui.run_folders import a_step, evaluated, started

STEPS, IMAGES = 300, 4


@pytest.fixture(autouse=True)
def _theme(qapp) -> None:
    theme.apply(qapp, "light")


def draws(seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    made = np.empty(STEPS * IMAGES, RECORD)
    made["step"] = np.repeat(np.arange(1, STEPS + 1), IMAGES)
    made["timestep"] = chance.integers(0, 1000, len(made))
    made["loss"] = 0.7 * np.exp(-0.005 * made["timestep"] + 0.1 * chance.normal(size=len(made)))
    return made


def a_run(*more: ev.Event, total: int = STEPS) -> RunData:
    data = RunData()
    data.feed([started(total=total), *(a_step(n, 0.1 + (n % 5) / 100) for n in range(1, STEPS + 1)), *more])
    return data


def measured() -> list[ev.Event]:
    both = [(step, 0.2 + abs(step - 100) / 1000, 0.2 - step / 3000) for step in range(0, STEPS + 1, 50)]
    return [event for step, held, own in both for event in (evaluated(step, held), evaluated(step, own, "train"))]


Show = Callable[..., LossCard]


@pytest.fixture
def show(qtbot: QtBot) -> Show:
    """A card that shows a run, settled."""

    def made(data: RunData, path: Path | None = None, density: tuple[int, int] | None = None) -> LossCard:
        timeline = Timeline()
        card = LossCard(timeline)
        qtbot.addWidget(card)
        timeline.set_data(data)
        card.set_data(data, path, density)
        card.resize(1100, 400)
        card.show()
        card.refresh()
        qtbot.waitUntil(lambda: not card.source.busy)
        return card

    return made


def empty_words(card: LossCard) -> str:
    """The sentence in the place of the plot; "" where the plot is."""
    return card.empty.text() if card.empty.isVisible() else ""


def test_draws_bring_a_debiased_curve_that_takes_the_smoothed_ones_place(show: Show, tmp_path: Path) -> None:
    made = draws()
    Recorder(path_of(tmp_path), 0).append(made)
    card = show(a_run(*measured()), tmp_path)
    assert list(card.legend) == ["stable/validation", "stable/train", "debiased", "smooth", "loss"]
    assert not card.legend["smooth"].isChecked() and card.plot.is_hidden("smooth")
    assert card.legend["debiased"].isChecked()
    card.smoothing.setValue(0)
    assert card.source.draws is not None and card.source.draws.fit is not None
    steps, values = debiased(made, card.source.draws.fit)
    np.testing.assert_array_equal(card.plot._points["debiased"][0], steps)
    np.testing.assert_allclose(card.plot._points["debiased"][1], values)


def test_what_the_user_shows_stays_shown(show: Show, tmp_path: Path) -> None:
    Recorder(path_of(tmp_path), 0).append(draws())
    card = show(a_run(), tmp_path)
    card.legend["smooth"].click()
    card.views.choose("gap")
    card.views.choose("losses")
    assert card.legend["smooth"].isChecked() and not card.plot.is_hidden("smooth")


def test_without_draws_the_smoothed_curve_stands(show: Show, tmp_path: Path) -> None:
    card = show(a_run(*measured()), tmp_path)
    assert list(card.legend) == ["stable/validation", "stable/train", "smooth", "loss"]
    assert card.legend["smooth"].isChecked()


def test_weights_beside_an_average_have_curves_of_their_own(show: Show) -> None:
    raw = [
        ev.Evaluated(step=step, split=split, loss=0.3, buckets=[0.3], duration=1, weights="raw")
        for step in (0, 50)
        for split in ("train", "validation")
    ]
    card = show(a_run(*measured(), *raw))
    assert {"raw/train", "raw/validation"} < set(card.legend)
    assert card.plot.value_of("raw/validation") == 0.3
    assert "EMA" in card.legend["raw/validation"].toolTip()


def test_another_runs_curves_do_not_stay(show: Show) -> None:
    card = show(a_run(*measured()))
    card.set_data(a_run())
    card.refresh()
    assert np.isnan(card.plot.value_of("stable/train")) and np.isnan(card.plot.value_of("stable/validation"))


def test_the_gap_has_a_zero_line_in_its_range(show: Show) -> None:
    card = show(a_run(*measured()))
    card.log.setChecked(True)
    card.views.choose("gap")
    assert list(card.legend) == ["gap"]
    assert card.plot.value_of("gap") == pytest.approx(0.2 + 0.2 - (0.2 - STEPS / 3000))
    card.plot.refresh()
    assert card.legend["gap"].text_shown() == "+0.3000"
    low, high = card.plot.view.viewRange()[1]
    assert low < 0 < high and high > 0.3, "not logarithmic, for a gap may be negative"
    assert card.plot.marks._zero.isVisible() and card.log.isHidden()
    card.views.choose("losses")
    card.plot.refresh()
    assert not card.plot.marks._zero.isVisible() and card.plot.view.viewRange()[1][1] < 0


def test_a_range_with_zero() -> None:
    assert with_zero(-3, -1) == (-3, pytest.approx(0.18))
    assert with_zero(1, 2) == (pytest.approx(-0.12), 2)
    assert with_zero(-1, 2) == (-1, 2)


def test_dots_fit_and_means_stand_over_the_timestep(show: Show, tmp_path: Path) -> None:
    Recorder(path_of(tmp_path), 0).append(draws())
    card = show(a_run(*measured()), tmp_path)
    card.views.choose("draws")
    panel = card.panel("draws")
    plot = panel.plot
    assert isinstance(plot, DrawsPlot) and not empty_words(card)
    assert sum(len(dots.data) for dots in plot._dots) == STEPS * IMAGES
    old, new = plot._dots[0], plot._dots[-1]
    assert 0 < len(old.data) < STEPS and old.opts["brush"].color() != new.opts["brush"].color()
    assert plot.expected(500) == pytest.approx(0.7 * np.exp(-2.5), rel=0.1)
    assert panel.ages._words() == ("step 1", f"{STEPS}")  # type: ignore[attr-defined]
    assert [mean.age for mean in plot.means] == [0, 1]
    np.testing.assert_allclose(plot.means[1].losses, [0.2, 0.1, 0.05, 0.025])
    marks = plot._marks.getData()
    assert marks[0].tolist() == [125, 375, 625, 875] * 2 and marks[1][4] == pytest.approx(np.log10(0.2))
    plot.pointed.emit(500.0)
    assert panel.here.text().startswith("timestep 500: 0.05")
    assert card.axis.isHidden() and card.smoothing.isHidden()


def test_losses_without_a_logarithm_are_left_out(show: Show, tmp_path: Path) -> None:
    made = draws()
    made["loss"][:5] = (0, np.nan, np.inf, -1, 0)
    Recorder(path_of(tmp_path), 0).append(made)
    card = show(a_run(), tmp_path)
    card.views.choose("draws")
    plot = card.panel("draws").plot
    assert isinstance(plot, DrawsPlot)
    assert sum(len(dots.data) for dots in plot._dots) == len(made) - 5
    assert all(np.isfinite(plot.view.viewRange()[1]))


def test_the_histogram_counts_and_foretells(show: Show, tmp_path: Path) -> None:
    made = draws()
    Recorder(path_of(tmp_path), 0).append(made)
    card = show(a_run(), tmp_path, (0, 499))
    card.views.choose("histogram")
    plot = card.panel("histogram").plot
    assert isinstance(plot, HistogramPlot)
    np.testing.assert_array_equal(plot._bars.opts["height"], np.histogram(made["timestep"], 50, (0, 1000))[0])
    wanted = plot.wanted()[1]
    assert wanted[:25].tolist() == [len(made) / 25] * 25 and not wanted[25:].any()
    count = int(np.histogram(made["timestep"], 50, (0, 1000))[0][1])
    assert plot.words(39.5) == f"timesteps 20–39: {count}, expected 48"
    plot.show_bins(plot.bins, None)
    assert plot.words(39.5) == f"timesteps 20–39: {count}" and not plot._line.isVisible()


def test_draws_are_read_off_the_windows_thread(
    qtbot: QtBot, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    real = DrawsReader.look
    monkeypatch.setattr(DrawsReader, "look", lambda self: (threads.append(threading.current_thread()), real(self))[1])
    Recorder(path_of(tmp_path), 0).append(draws())
    card = show(a_run(), tmp_path)
    assert threads and threading.main_thread() not in threads
    many = len(threads)
    for _ in range(20):
        card.refresh()
    assert len(threads) == many, "not at every drawing"
    card.source._next = 0.0
    Recorder(path_of(tmp_path), STEPS).append(draws(1)[-8:])
    card.source.refresh()
    qtbot.waitUntil(lambda: card.source.draws.count == STEPS * IMAGES + 8)


def test_a_look_that_comes_too_late_is_dropped(
    qtbot: QtBot, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorder(path_of(tmp_path), 0).append(draws())
    go, done, real = threading.Event(), threading.Event(), DrawsReader.look

    def late(self: DrawsReader) -> Draws | None:
        if path_of(tmp_path) != self._follower.path:
            return real(self)
        go.wait(5)
        found = real(self)
        done.set()
        return found

    monkeypatch.setattr(DrawsReader, "look", late)
    timeline = Timeline()
    card = LossCard(timeline)
    qtbot.addWidget(card)
    card.set_data(a_run(), tmp_path)
    card.refresh()
    card.set_data(a_run(), tmp_path / "other")
    card.refresh()
    go.set()
    assert done.wait(5)
    qtbot.wait(50)
    assert card.source.draws is None


def test_a_run_that_is_left_brings_no_draws(qtbot: QtBot, show: Show, tmp_path: Path) -> None:
    Recorder(path_of(tmp_path), 0).append(draws())
    card = show(a_run(), tmp_path)
    card.set_data(a_run(), tmp_path / "other")
    card.refresh()
    qtbot.waitUntil(lambda: not card.source.busy)
    assert card.source.draws is None and "debiased" not in card.legend
    card.views.choose("draws")
    assert "did not keep" in empty_words(card)


def test_the_legend_takes_as_many_lines_as_it_needs(qtbot: QtBot, show: Show) -> None:
    raw = ev.Evaluated(step=0, split="train", loss=0.3, buckets=[0.3], duration=1, weights="raw")
    card = show(a_run(*measured(), raw))
    card.resize(1100, 400)
    qtbot.waitUntil(lambda: card.legend_row.height() == 24)
    card.resize(840, 400)
    qtbot.waitUntil(lambda: card.legend_row.height() > 40)
    for entry in card.legend.values():
        assert card.legend_row.rect().contains(entry.geometry()), entry.series.label


def test_what_is_missing_is_said_in_each_view(qtbot: QtBot, show: Show, tmp_path: Path) -> None:
    card = show(a_run(), tmp_path)
    said = set()
    for name in ("buckets", "gap", "draws"):
        card.views.choose(name)
        said.add(empty_words(card))
    assert "" not in said and len(said) == 3
    card.views.choose("losses")
    assert not empty_words(card)
    fresh = RunData()
    card.set_data(fresh, tmp_path)
    card.views.choose("draws")
    qtbot.waitUntil(lambda: not card.source.busy)
    card.refresh()
    assert "first steps" in empty_words(card)


def test_another_trainers_run_has_the_same_views(show: Show, tmp_path: Path) -> None:
    made, data = draws()[::IMAGES], RunData()
    for tag in ("loss", "timestep"):
        data.feed([ev.Points(tag=tag, steps=made["step"].tolist(), values=made[tag].tolist())])
    card = show(data, tmp_path)
    assert "debiased" in card.legend
    card.views.choose("draws")
    assert card.source.draws is not None and card.source.draws.count == STEPS and not empty_words(card)
    alone = RunData()
    alone.feed([ev.Points(tag="loss", steps=[1, 2], values=[0.1, 0.2])])
    card.set_data(alone, tmp_path / "other")
    card.views.choose("draws")
    assert "other trainer" in empty_words(card) or "Reading" in empty_words(card)


def test_a_debiased_curve_of_another_program_is_shown(show: Show) -> None:
    data = RunData()
    data.feed([ev.Points(tag=tag, steps=[1, 2, 3], values=[0.1, 0.2, 0.3]) for tag in ("loss", "loss/debiased")])
    card = show(data)
    assert card.legend["debiased"].isChecked() and card.plot._points["debiased"][0].tolist() == [1, 2, 3]


def test_exactly_one_segment_is_pressed(qtbot: QtBot) -> None:
    made = Segments([("a", "A", "of A"), ("b", "B", "of B")])
    qtbot.addWidget(made)
    told: list[str] = []
    made.chosen.connect(told.append)
    made.buttons["b"].click()
    made.buttons["b"].click()
    assert made.current == "b" and told == ["b"] and made.buttons["b"].toolTip() == "of B"
    made.choose("a")
    assert told == ["b", "a"] and not made.buttons["b"].isChecked()
