"""Tests of gui/widgets/verdict_card.py: the run's verdict in words, judged anew when there is news."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from core import events as ev
from core.run_data import RunData
from gui.widgets.verdict_card import VerdictCard


@pytest.fixture
def shown(qtbot: QtBot) -> VerdictCard:
    """The card."""
    made = VerdictCard()
    qtbot.addWidget(made)
    return made


def _measured(losses: list[float]) -> list[ev.Event]:
    return [
        ev.Evaluated(step=100 * number, split="validation", loss=loss, buckets=[loss], duration=0.1)
        for number, loss in enumerate(losses)
    ]


def test_it_is_not_there_without_measurements(shown: VerdictCard) -> None:
    shown.refresh(RunData())
    assert not shown.isVisibleTo(None)


def test_a_run_without_measurements_is_not_given_the_verdict_of_the_one_before(
    qtbot: QtBot, shown: VerdictCard
) -> None:
    measured = RunData()
    measured.feed(_measured([0.1, 0.09, 0.08]))
    shown.refresh(measured)
    shown.refresh(RunData())
    qtbot.wait(150)
    assert not shown.isVisibleTo(None)


def test_a_turned_curve_names_its_minimum_and_the_checkpoint(qtbot: QtBot, shown: VerdictCard) -> None:
    data = RunData()
    losses = [0.1 - 0.01 * min(n, 6) + 0.004 * max(0, n - 6) for n in range(16)]
    data.feed([*_measured(losses), ev.Checkpoint(step=600, path="checkpoints/a-step600.safetensors", bytes=1)])
    shown.refresh(data)
    qtbot.waitUntil(lambda: bool(shown.head.text()))
    words = f"{shown.head.text()}\n{shown.rest.text()}"
    assert "step 6" in shown.head.text() and "by heart" in words and "checkpoint" in words


def test_news_change_the_words_and_nothing_new_does_not(
    qtbot: QtBot, shown: VerdictCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import advisor

    judged: list[int] = []
    real = advisor.judge_run
    monkeypatch.setattr(advisor, "judge_run", lambda data, saved: judged.append(1) or real(data, saved))
    data = RunData()
    data.feed(_measured([0.1, 0.09]))
    shown.refresh(data)
    qtbot.waitUntil(lambda: len(judged) == 1 and bool(shown.head.text()))
    first = shown.head.text()
    shown.refresh(data)
    assert not shown._turn.isActive() and first
    data.feed(_measured([0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02])[2:])
    shown.refresh(data)
    qtbot.waitUntil(lambda: len(judged) == 2 and shown.head.text() != first)
    assert shown.head.text() != first


def test_trained_pictures_alone_have_no_verdict_and_it_says_so(qtbot: QtBot, shown: VerdictCard) -> None:
    data = RunData()
    data.feed([ev.Evaluated(step=step, split="train", loss=0.1, buckets=[0.1], duration=0.1) for step in (0, 100)])
    shown.refresh(data)
    qtbot.waitUntil(lambda: bool(shown.head.text()))
    assert shown.head.text().startswith("There is no verdict") and shown.isVisibleTo(None) and not shown.links


def test_the_checkpoints_it_names_can_be_asked_for(qtbot: QtBot, shown: VerdictCard) -> None:
    data = RunData()
    losses = [0.1 - 0.01 * min(n, 6) + 0.004 * max(0, n - 6) for n in range(16)]
    saved = [
        ev.Checkpoint(step=step, path=f"checkpoints/a-step{step}.safetensors", bytes=1) for step in (300, 600, 900)
    ]
    data.feed([*_measured(losses), *saved])
    shown.refresh(data)
    qtbot.waitUntil(lambda: bool(shown.links))
    assert [link.text() for link in shown.links] == ["Checkpoint 600", "Checkpoint 900"]
    with qtbot.waitSignal(shown.step_asked) as asked:
        shown.links[1].click()
    assert asked.args == [900]
