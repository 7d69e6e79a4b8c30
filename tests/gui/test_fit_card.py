"""Tests of gui/widgets/fit_card.py: the estimate beside the form, worked out off the window's thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core import presets
from gui.widgets.fit_card import FitCard, estimate_rows, sentence


def made(**values: Any) -> Any:
    return presets.build({key.replace("__", "."): value for key, value in values.items()}, "test")


def test_it_shows_share_memory_verdict_and_savings(qtbot: QtBot) -> None:
    shown = FitCard()
    qtbot.addWidget(shown)
    shown.ask(made(model__family="sdxl", training__method="part", part__blocks=["mid", "up 0"]), None, None, None)
    qtbot.waitUntil(lambda: bool(shown.savings.text()), timeout=20_000)
    assert shown.facts.texts()["Trained weights"] == "63.1 %"
    assert "optimizer states" in shown.bar.toolTip() and "GiB" in shown.total.text()
    assert shown.chips["8"].text() == "8 ✕" and shown.chips["48"].text() == "48 ✓"
    assert "Optimizer adamw8bit: −9.0 GiB" in shown.savings.text()
    assert shown.facts.texts()["Time"] == "—"


def test_without_a_model_it_says_what_to_do(qtbot: QtBot) -> None:
    shown = FitCard()
    qtbot.addWidget(shown)
    shown.ask(made(), None, None, None)
    qtbot.waitUntil(lambda: bool(shown.note.text()), timeout=20_000)
    assert shown.note.text().startswith("model.base: choose the model") and not shown._details.isVisibleTo(shown)


def test_the_estimate_is_made_in_another_thread(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.estimate import report

    threads: list[int] = []
    real = report.estimate

    def watched(*arguments: Any, **more: Any) -> Any:
        threads.append(threading.get_ident())
        return real(*arguments, **more)

    monkeypatch.setattr(report, "estimate", watched)
    shown = FitCard()
    qtbot.addWidget(shown)
    shown.ask(made(model__family="sd15"), None, None, None)
    qtbot.waitUntil(lambda: bool(shown.total.text()), timeout=20_000)
    assert threads and threads[0] != threading.get_ident()


def test_the_latest_question_is_answered(qtbot: QtBot) -> None:
    shown = FitCard()
    qtbot.addWidget(shown)
    shown.ask(made(model__family="sdxl", training__method="full"), None, None, None)
    shown.ask(made(model__family="sd15", training__method="full"), None, None, None)
    qtbot.waitUntil(lambda: bool(shown.facts.texts().get("Trained weights")), timeout=20_000)
    assert "859,520,964" in estimate_tip(shown)


def estimate_tip(shown: FitCard) -> str:
    return shown.facts._rows[0][0].toolTip()


def test_rows_and_sentence_say_where_numbers_come_from() -> None:
    from core.estimate.report import estimate

    found = estimate(made(model__family="sd15", hardware__device="cpu", hardware__processes=2), with_changes=False)
    rows = {what: (value, tip) for what, value, tip in estimate_rows(found, "EUR")}
    assert rows["Time"][0] == "—" and "was made here" in rows["Time"][1]
    assert "this is RAM" in sentence(found) and "2 GPUs" in sentence(found)


def test_it_is_no_wider_than_the_panel_of_a_small_laptop(qtbot: QtBot) -> None:
    """Wider, and the panel would cut off every number at its right."""
    from gui.pages.training import PANEL_WIDTH

    shown = FitCard()
    qtbot.addWidget(shown)
    shown.ask(made(model__family="sdxl", training__method="full"), None, None, None)
    qtbot.waitUntil(lambda: bool(shown.savings.text()), timeout=20_000)
    assert shown.minimumSizeHint().width() <= PANEL_WIDTH
